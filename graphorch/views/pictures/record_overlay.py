"""What a run did, as its records alone tell it, as marks on a picture of its flow."""

from __future__ import annotations

from collections.abc import Iterable

from graphorch.journal.errors import JournalDamaged
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import Record
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.plan_picture import box_id
from graphorch.text import truncate
from graphorch.trace.spans.flow_map import FlowMap
from graphorch.trace.spans.model import Trace
from graphorch.views.runs.nodes import NodeRow, measure_nodes

_LONGEST_NOTE = 40  # characters in a box


def build_record_overlay(trace: Trace, flow: FlowMap, records: Iterable[Record]) -> Overlay:
    """Return the marks of the nodes that a run came to, and the lines that it took."""
    rows = measure_nodes(trace, {})
    marks = {row.box: _build_mark(row) for row in rows if row.path == row.box}
    title = trace.status
    if trace.reason not in ("", trace.status):
        title += f" · {trace.reason}"
    return Overlay(marks, frozenset(_list_lines(trace.run_id, flow, records)), title)


def _build_mark(row: NodeRow) -> Mark:
    note = truncate(row.error, _LONGEST_NOTE) if row.status == "failed" else ""
    return Mark(
        status=row.status,
        visits=row.visits,
        seconds=row.seconds,
        tokens=row.usage.input_tokens + row.usage.output_tokens,
        usd=row.usage.usd,
        unpriced=row.usage.unpriced,
        note=note,
        failed=row.errors,
        hint=row.error,
    )


def _list_lines(run_id: str, flow: FlowMap, records: Iterable[Record]) -> Iterable[str]:
    """Yield the ids of the lines that were taken; a late result led nowhere."""
    for record in records:
        if record.kind not in ("commit", "routed") or record.is_erased:
            continue
        try:
            body = read_body(run_id, record)
        except JournalDamaged:
            continue  # it is among the faults of the run
        route = body if record.kind == "routed" else body.get("route")
        if body.get("late") or (route is None and flow.has_route(body["path"])):
            continue
        loop, exhausted, edges = -1, -1, list[int]()
        if route is not None:
            loop, exhausted, edges = route["loop"], route["exhausted"], route["edges"]
        above = box_id(body["path"]).rpartition("/")[0]
        for number in flow.list_lines(body["path"], loop, exhausted, edges):
            yield f"{above}/{number}" if above else str(number)
