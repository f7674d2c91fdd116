"""Pictures of what runs did: heat maps, differences and timelines, drawn from the journal."""

from __future__ import annotations

import time
from dataclasses import dataclass

from graphorch.cli.files import check_writable, write_text
from graphorch.cli.finding import find
from graphorch.cli.journals import ask, existing, moment_of
from graphorch.cli.safe import result, say
from graphorch.errors import InputError
from graphorch.journal.store import Store
from graphorch.render.heat_map import Heat, Measure, difference_map, heat_map
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.theme import Theme
from graphorch.render.timeline import Bar
from graphorch.render.timeline import timeline as drawn_timeline
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.run_lookup import find_run
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, SpanStatus, Trace

_STATUSES: dict[SpanStatus, str] = {
    "ok": "done", "failed": "failed", "handled": "failed", "skipped": "not_reached", "cancelled": "not_reached", "waiting": "waiting",
    "running": "running", "lost": "failed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heated:
    """What a heat map is asked for."""

    measure: Measure
    run: str
    against: str
    since: str
    until: str
    theme: Theme


def heat_svg(reference: str, wanted: Heated, output: str, db: str) -> str:
    """The heat map, or the difference of two runs. Raises `InputError`, `JournalError`, `GraphError`."""
    if wanted.against and not wanted.run:
        raise InputError("--against compares with --run: name both.")
    if output:
        check_writable(output)
    begin = moment_of(wanted.since, "--since") if wanted.since else None
    end = moment_of(wanted.until, "--until") if wanted.until else None
    flow, journal = find(reference).flow, existing(db)
    picture = draw_plan(flow.plan)

    async def read(store: Store) -> str:
        runs = [
            (await find_run(store, text)).run_id for text in (wanted.run, wanted.against) if text
        ]
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            found = [
                heats(index, Selection(begin, end, {"flow": flow.name, "run": run_id}))
                for run_id in runs
            ]
            if not runs:
                everything = Selection(begin, end, {"flow": flow.name})
                count = sum(row.runs for row in statistics.runs(index, ["flow"], everything))
                return heat_map(
                    picture,
                    heats(index, everything),
                    wanted.measure,
                    title=f"{count:,} runs",
                    theme=wanted.theme,
                )
        if len(runs) == 1:
            return heat_map(
                picture, found[0], wanted.measure, title=f"run {runs[0][:12]}", theme=wanted.theme
            )
        changed = await _changed(store, runs)
        return difference_map(
            picture,
            found[1],
            found[0],
            changed=changed,
            title=f"{runs[0][:12]} against {runs[1][:12]}",
            theme=wanted.theme,
        )

    return ask(journal, read)


def timeline_svg(run: str, theme: Theme, output: str, db: str) -> str:
    """The timeline of a run. Raises `InputError` and `JournalError`."""
    if output:
        check_writable(output)

    async def read(store: Store) -> Trace:
        head = await find_run(store, run)
        log = await store.load(head.run_id)
        return build_trace(log.head, log.records, time.time())

    trace = ask(existing(db), read)
    return drawn_timeline(
        bars_of(trace, time.time()),
        name=trace.flow,
        title=f"run {trace.run_id[:12]} · {trace.status}",
        theme=theme,
    )


def write(svg: str, output: str) -> None:
    """To the file, or to standard output."""
    if output:
        write_text(output, svg)
        say(f"written to {output}")
    else:
        result(svg)


def heats(index: SpanIndex, selection: Selection) -> dict[str, Heat]:
    """The figures of every step in a selection."""
    spent = {row.key[0]: row.usd for row in statistics.calls(index, ["step"], selection)}
    return {
        row.key[0]: Heat(
            row.visits - row.skipped - row.cancelled,
            spent.get(row.key[0], 0.0),
            row.latency.p50,
            row.latency.p95,
            row.error_rate,
        )
        for row in statistics.steps(index, ["step"], selection)
    }


def bars_of(trace: Trace, now: float) -> list[Bar]:
    """The activations of a run as bars, their model calls as marks on them."""
    calls: dict[str, list[tuple[float, float]]] = {}
    nodes = {
        span.id: span for span in trace.spans if span.kind in ("node", "flow", "ask") and span.began
    }
    attempts = {span.id: span.parent for span in trace.spans if span.kind == "attempt"}
    for span in trace.spans:
        if span.kind == "call" and span.seconds is not None:
            calls.setdefault(attempts.get(span.parent, ""), []).append(
                (span.began - trace.began, span.began - trace.began + span.seconds)
            )
    return [_bar(span, trace, now, calls.get(span.id, [])) for span in nodes.values()]


def _bar(span: Span, trace: Trace, now: float, marks: list[tuple[float, float]]) -> Bar:
    begin = max(0.0, span.began - trace.began)
    last = now - trace.began if trace.status == "running" else (trace.seconds or 0.0)
    end = begin + span.seconds if span.seconds is not None else max(begin, last)
    tried = f"attempt {span.attempt}" if span.attempt > 1 else ""
    hint = "\n".join(
        part
        for part in (
            span.path,
            span.status,
            tried,
            f"{len(marks)} model calls" if marks else "",
            span.error,
            span.message[:200],
        )
        if part
    )
    return Bar(
        span.id,
        span.parent,
        span.path if span.parent == trace.spans[0].id else span.node,
        begin,
        end,
        _STATUSES[span.status],
        hint,
        tuple(marks),
    )


async def _changed(store: Store, runs: list[str]) -> frozenset[str]:
    """The steps whose results differ between two runs."""
    from graphorch.trace.conversation.builder import build_conversation
    from graphorch.trace.spans.model import strip_index

    written: list[dict[str, list[str]]] = []
    for run_id in runs:
        log = await store.load(run_id)
        found: dict[str, list[str]] = {}
        for turn in build_conversation(log.head, log.records, time.time()).turns:
            if turn.kind in ("writes", "answers"):
                found.setdefault(strip_index(turn.path), []).append(turn.text)
        written.append({path: sorted(texts) for path, texts in found.items()})
    item, other = written
    return frozenset(
        path for path in item.keys() | other.keys() if item.get(path) != other.get(path)
    )
