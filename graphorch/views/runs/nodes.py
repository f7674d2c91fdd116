"""The nodes of a run, a row for each box of its picture, and the figures of the whole run.

Every model call is counted once, at the node that made it, so the sum of all rows is the figure of
the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from graphorch.trace.spans.model import Span, SpanStatus, Trace
from graphorch.views.runs.run_row import RunFigures
from graphorch.views.runs.usage import Usage, sum_usage

NodeStatus: TypeAlias = Literal[
    "done", "running", "waiting", "failed", "at_bound", "cancelled", "not_reached"
]
"""Status of a box of a picture. `failed` stands also where an error edge carried on."""

STATUS_OF_SPAN: Final[Mapping[SpanStatus, NodeStatus]] = {
    "ok": "done",
    "failed": "failed",
    "handled": "failed",
    "skipped": "not_reached",
    "cancelled": "cancelled",
    "waiting": "waiting",
    "running": "running",
    "lost": "cancelled",
}
"""Status of a box by that of the span of its activation."""

# The status of a box is the highest of its activations.
_RANK: Final[Mapping[NodeStatus, int]] = {
    "failed": 6,
    "waiting": 5,
    "running": 4,
    "at_bound": 3,
    "done": 2,
    "cancelled": 1,
    "not_reached": 0,
}


@dataclass(slots=True)
class NodeRow:
    """A node, or a tool of an agent, over all its activations in a run.

    `path` is without the numbers of map items: `crawl/read`, and `write/search` for a tool.
    `box` is the id of its box in a picture, which holds the tools of its agent. `kind` is that in
    the description of the flow (`node`, `agent`, `map`, `sub`, `ask`, `signal`, `timer`, `first`,
    `tool`), "" if that does not say. `visits` count activations, also those that were taken over
    from another run; of the others `errors` failed. `seconds` is the sum over them, `last_seq` the
    record of the latest outcome, 0 without one, and `error` the latest error. `usage` is that of
    its own model calls.
    """

    path: str
    box: str
    kind: str
    status: NodeStatus = "not_reached"
    visits: int = 0
    errors: int = 0
    questions: int = 0
    seconds: float = 0.0
    last_seq: int = 0
    error: str = ""
    usage: Usage = field(default_factory=Usage)


def measure_run(trace: Trace) -> RunFigures:
    """Return the figures of a run."""
    spans = [span for span in trace.spans if _is_counted(span)]
    return RunFigures(
        seconds=trace.seconds,
        visits=sum(span.kind == "node" for span in spans),
        errors=sum(_is_error(span) for span in spans),
        questions=sum(is_open_question(span) for span in trace.spans),
        budget=trace.budget,
        usage=sum_usage(trace.paid_calls),
    )


def measure_nodes(trace: Trace, last_seqs: Mapping[str, int]) -> list[NodeRow]:
    """Return a row for each node that the run came to, in the order in which it did.

    `last_seqs` has the record of the latest outcome by step.
    """
    rows: dict[str, NodeRow] = {}
    for span in trace.spans:
        if span.kind in ("run", "attempt", "request"):
            continue
        row = rows.get(span.step)
        if span.kind == "call":
            # Its activation came before it.
            if row is not None and span.is_paid_call:
                row.usage.add(span)
            continue
        if row is None:
            row = rows[span.step] = NodeRow(span.step, find_box(span), _find_kind(span))
            row.last_seq = last_seqs.get(span.step, 0)
        _add_activation(row, span)
    return list(rows.values())


def is_open_question(span: Span) -> bool:
    """Return whether a span is that of a question that waits for a person."""
    return span.kind == "ask" and span.status == "waiting" and span.seconds is None


def _add_activation(row: NodeRow, span: Span) -> None:
    """Add an activation, or the question at its gate, to the row of its node."""
    row.questions += is_open_question(span)
    # A call of a tool that was not made, or is of an older journal, is no activation.
    if not span.is_activation and span.kind != "tool":
        if is_open_question(span):
            row.status = _choose(row.status, "waiting")
        return
    row.kind = row.kind or _find_kind(span)
    row.seconds += span.seconds or 0.0
    if span.is_continued:
        return
    row.visits += span.status != "skipped"
    row.errors += _is_error(span) and not span.is_copy
    row.status = _choose(row.status, STATUS_OF_SPAN[span.status])
    if span.loop.endswith(", exhausted"):
        row.status = _choose(row.status, "at_bound")
    if span.error:
        row.error = f"{span.error}: {span.message}" if span.message else span.error


def _choose(status: NodeStatus, other: NodeStatus) -> NodeStatus:
    return max(status, other, key=lambda item: _RANK[item])


def _find_kind(span: Span) -> str:
    return "tool" if span.kind == "tool" else span.role


def find_box(span: Span) -> str:
    """Return the id of the box of an activation in a picture; that of its agent for a tool."""
    return span.step.removesuffix(f"/{span.node}") if span.kind == "tool" else span.step


def _is_counted(span: Span) -> bool:
    """Return whether a span counts in sums over runs: it was not taken over, and not continued."""
    return not span.is_copy and not span.is_continued


def _is_error(span: Span) -> bool:
    return span.kind in ("node", "tool") and span.status in ("failed", "handled")
