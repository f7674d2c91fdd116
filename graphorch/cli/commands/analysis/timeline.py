"""`graphorch timeline`: draw a run as bars over time; what ran at once is in parallel lanes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from graphorch.cli.commands.analysis.timeline_text import format_timeline
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, write_or_print
from graphorch.cli.journals import find_stored_run, print_faults, query_store, require_journal
from graphorch.cli.shared_options import Db, Debug, Output, RunId, ThemeName
from graphorch.cli.terminal import find_width, print_output, sanitize_line
from graphorch.journal.store import Store
from graphorch.render.picture.overlay import format_seconds
from graphorch.render.svg.theme import Theme
from graphorch.render.timeline import Bar
from graphorch.render.timeline import timeline as draw_bars
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.text import plural, shorten_run_id
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.model import Span, SpanStatus, Trace

_BAR_STATUS: Mapping[SpanStatus, str] = {
    "ok": "done",
    "failed": "failed",
    "handled": "failed",
    "skipped": "not_reached",
    "cancelled": "not_reached",
    "waiting": "waiting",
    "running": "running",
    "lost": "failed",
}


def timeline(
    run: RunId = "last",
    theme: ThemeName = "auto",
    output: Output = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Draw the timeline of a run: as text on a terminal, as SVG into a file or a pipe.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with exit_on_error(debug=debug):
        if output:
            check_writable(output)
        width = None if output else find_width()
        if width is None:
            write_or_print(output, draw_timeline(run, theme, db))
        else:
            print_output("\n".join(describe_timeline(run, db, width)))


def draw_timeline(run: str, theme: Theme, db: str) -> str:
    """Return the SVG of a run's timeline. Raises `InputError` and `JournalError`."""
    now = time.time()
    trace = _read_trace(run, db)
    return draw_bars(
        build_bars(trace, now), name=trace.flow, title=_describe_run(trace), theme=theme
    )


def describe_timeline(run: str, db: str, width: int) -> list[str]:
    """Return a run's timeline as lines of text. Raises `InputError` and `JournalError`."""
    now = time.time()
    trace = _read_trace(run, db)
    bars = [replace(bar, name=sanitize_line(bar.name)) for bar in build_bars(trace, now)]
    return format_timeline(bars, sanitize_line(f"{trace.flow} · {_describe_run(trace)}"), width)


def _describe_run(trace: Trace) -> str:
    return f"run {shorten_run_id(trace.run_id)} · {trace.status}"


def _read_trace(run: str, db: str) -> Trace:

    async def read(store: Store) -> Trace:
        head = await find_stored_run(store, run)
        log = await store.load(head.run_id)
        return build_trace(log.head, log.records)

    trace = query_store(require_journal(db), read)
    print_faults(trace)
    return trace


def build_bars(trace: Trace, now: float) -> list[Bar]:
    """Return the activations of a run as bars, with their model calls as marks on them.

    A mark lies where a request was sent; a call whose requests are not known is one mark.
    """
    parents = {span.id: span.parent for span in trace.spans}
    marks: dict[str, list[tuple[float, float]]] = {}
    for span in trace.spans:
        if span.kind not in ("call", "request") or span.has_requests or span.seconds is None:
            continue
        begin = trace.elapsed(span.began)
        # A request lies in a call, a call in an attempt, and that in its activation.
        attempt = parents.get(span.parent, "") if span.kind == "request" else span.parent
        marks.setdefault(parents.get(attempt, ""), []).append((begin, begin + span.seconds))
    paths = {span.id: span.path for span in trace.spans}
    return [
        _build_bar(span, trace, now, marks.get(span.id, []), paths.get(span.parent, ""))
        for span in trace.spans
        if _has_bar(span) and span.began and not span.is_copy
    ]


def _has_bar(span: Span) -> bool:
    """Return whether a span is an activation, or the second copy of an attempt."""
    if span.kind == "attempt":
        return span.hedges > 0
    return span.kind == "ask" or span.is_activation


def _build_bar(
    span: Span, trace: Trace, now: float, marks: list[tuple[float, float]], outer: str
) -> Bar:
    """Return the bar of an activation, with its path inside of the bar around it, `outer`."""
    begin = trace.elapsed(span.began)
    if span.ended is not None:
        end = trace.elapsed(span.ended)
    else:
        # not finished: the bar reaches to now, or to the end of the run
        end_of_run = trace.elapsed(now) if trace.status == "running" else trace.seconds or 0.0
        end = max(begin, end_of_run)
    hints = [
        f"second copy of {span.path}" if span.hedges else span.path,
        TOOL_OUTCOMES.get(span.outcome, span.status),
        f"attempt {span.attempt}" if span.attempt > 1 else "",
        f"waited {format_seconds(span.held)} for its turn" if span.held else "",
        plural(len(marks), "model request") if marks else "",
        "" if span.error == span.outcome else span.error,
        "late: decided without it" if span.is_late else "",
        span.arguments[:200],
        span.message[:200],
    ]
    return Bar(
        span.id,
        span.parent,
        _name_bar(span, outer),
        begin,
        end,
        _BAR_STATUS[span.status],
        "\n".join(filter(None, hints)),
        TOOL_OUTCOMES.get(span.outcome, _remark(span)),
        tuple(marks),
    )


def _remark(span: Span) -> str:
    """Return in a word or two what is special about an activation: that it was held, or late."""
    held = f"held {format_seconds(span.held)}" if span.held else ""
    return ", ".join(filter(None, (held, "late" if span.is_late else "")))


def _name_bar(span: Span, outer: str) -> str:
    """Return the path of an activation inside of the bar around it, and of a copy its node."""
    if span.kind == "attempt":
        return f"{span.node} (second copy)"
    return span.path if span.level == 1 else span.path.removeprefix(outer).lstrip("/")
