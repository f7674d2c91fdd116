"""The timeline of a run: a bar for each activation, with its attempts and model calls on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from graphorch.render.picture.overlay import format_seconds
from graphorch.render.timeline import Bar
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.text import plural
from graphorch.trace.spans.model import Span, SpanStatus, Trace, sum_elapsed

MOST_BARS: Final = 20_000
"""Bars of a timeline that are sent."""

_NO_SEQS: Final[Mapping[str, int]] = {}
_STATUSES: Final[Mapping[SpanStatus, str]] = {
    "ok": "done",
    "failed": "failed",
    "handled": "failed",
    "skipped": "not_reached",
    "cancelled": "not_reached",
    "waiting": "waiting",
    "running": "running",
    "lost": "failed",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """An attempt, or a model request, on a bar; its times are as those of the bar."""

    begin: float
    end: float
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineBar:
    """A period of a run; `parent` is the id of the bar around it, "" at the top.

    `begin` and `end` are seconds of the run: those in which no process drove it do not count.
    `name` is the path inside of the bar around it. `kind` is that of the span: `node`, `flow`,
    `ask`, `wait`, `tool`, or `attempt` for the second copy of one. `status` is `done`, `running`,
    `waiting`, `failed` or `not_reached`. `is_open`: it has not ended, and reaches to now, or to the
    end of the run. `requests` are those to models; attempts are there where there were several.
    """

    id: str
    parent: str
    path: str
    step: str
    activation: str
    name: str
    kind: str
    begin: float
    end: float
    status: str
    is_open: bool
    hint: str
    remark: str
    requests: list[Segment]
    attempts: list[Segment]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All bars of a run; `seconds` is how long a process drove it, `began` in seconds since 1970.

    `seq` is the last record that was read, and `left_out` the number of bars beyond the limit.
    """

    bars: list[TimelineBar]
    seconds: float
    began: float
    seq: int
    left_out: int = 0


def build_timeline(
    trace: Trace, now: float, after: int = 0, last_seqs: Mapping[str, int] = _NO_SEQS
) -> Timeline:
    """Return the timeline of a run: at most 20,000 bars, of which none is left out silently.

    Only bars that are open, or of activations with records after number `after`: `last_seqs` has
    the last record of each activation.
    """
    bars = build_bars(trace, now, lambda span: last_seqs.get(span.activation, after + 1) > after)
    seconds = max(trace.seconds or 0.0, _RunClock(trace, now).end)
    left_out = max(0, len(bars) - MOST_BARS)
    return Timeline(bars[:MOST_BARS], seconds, trace.began, trace.seq, left_out)


class _RunClock:
    """The time of a run, which stands still in its pauses; `end` is now, or the end of the run."""

    def __init__(self, trace: Trace, now: float) -> None:
        self._engagements = trace.engagements
        self.end = self.read(now) if trace.status == "running" else trace.seconds or 0.0

    def read(self, at: float) -> float:
        """Return the seconds of the run at a time in seconds since 1970."""
        return sum_elapsed(self._engagements, at)


def build_bars(
    trace: Trace, now: float, is_wanted: Callable[[Span], bool] = lambda span: True
) -> list[TimelineBar]:
    """Return the activations of a run as bars, with their model calls as marks on them.

    A mark lies where a request was sent; a call whose requests are not known is one mark.
    """
    clock = _RunClock(trace, now)
    parents = {span.id: span.parent for span in trace.spans}
    requests: dict[str, list[Segment]] = {}
    attempts: dict[str, list[Segment]] = {}
    for span in trace.spans:
        if span.seconds is None:
            continue
        if span.kind == "attempt" and not span.hedges:
            attempts.setdefault(span.parent, []).append(_build_segment(span, clock))
        if span.kind not in ("call", "request") or span.has_requests:
            continue
        # A request lies in a call, a call in an attempt, and that in its activation.
        attempt = parents.get(span.parent, "") if span.kind == "request" else span.parent
        marks = requests.setdefault(parents.get(attempt, ""), [])
        marks.append(_build_segment(span, clock))
    paths = {span.id: span.path for span in trace.spans}
    return [
        _build_bar(
            span,
            clock,
            requests.get(span.id, []),
            attempts.get(span.id, []),
            paths.get(span.parent, ""),
        )
        for span in trace.spans
        if _has_bar(span)
        and span.began
        and not span.is_copy
        and (span.seconds is None or is_wanted(span))
    ]


def list_drawn(bars: Iterable[TimelineBar]) -> list[Bar]:
    """Return bars as a picture of them takes them."""
    return [
        Bar(
            bar.id,
            bar.parent,
            bar.name,
            bar.begin,
            bar.end,
            bar.status,
            bar.hint,
            bar.remark,
            tuple((request.begin, request.end) for request in bar.requests),
        )
        for bar in bars
    ]


def _build_segment(span: Span, clock: _RunClock) -> Segment:
    begin = clock.read(span.began)
    return Segment(begin, begin + (span.seconds or 0.0), _STATUSES[span.status])


def _has_bar(span: Span) -> bool:
    """Return whether a span is an activation, or the second copy of an attempt."""
    if span.kind == "attempt":
        return span.hedges > 0
    return span.kind == "ask" or span.is_activation


def _build_bar(
    span: Span,
    clock: _RunClock,
    requests: list[Segment],
    attempts: list[Segment],
    outer: str,
) -> TimelineBar:
    """Return the bar of an activation, with its path inside of the bar around it, `outer`."""
    begin = clock.read(span.began)
    # What has not ended reaches to now, or to the end of the run.
    end = max(begin, clock.end) if span.ended is None else clock.read(span.ended)
    hints = [
        f"second copy of {span.path}" if span.hedges else span.path,
        TOOL_OUTCOMES.get(span.outcome, span.status),
        f"attempt {span.attempt}" if span.attempt > 1 else "",
        f"waited {format_seconds(span.held)} for its turn" if span.held else "",
        plural(len(requests), "model request") if requests else "",
        "" if span.error == span.outcome else span.error,
        "late: decided without it" if span.is_late else "",
        span.arguments[:200],
        span.message[:200],
    ]
    return TimelineBar(
        id=span.id,
        parent=span.parent,
        path=span.path,
        step=span.step,
        activation=span.activation,
        name=_name_bar(span, outer),
        kind=span.kind,
        begin=begin,
        end=end,
        status=_STATUSES[span.status],
        is_open=span.ended is None,
        hint="\n".join(filter(None, hints)),
        remark=TOOL_OUTCOMES.get(span.outcome, _remark(span)),
        requests=requests,
        attempts=attempts if len(attempts) > 1 else [],
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
