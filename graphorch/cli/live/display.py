"""Display of a run while it runs, on standard error: a live table on a terminal, else lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from graphorch.cli.live.progress import (
    NodeProgress,
    Progress,
    describe_outcome,
    format_items,
    format_usage,
)
from graphorch.cli.terminal import print_status, sanitize, sanitize_line
from graphorch.core.tree import EventWait
from graphorch.engine import events
from graphorch.text import format_cost, format_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

_REFRESHES_PER_SECOND = 8
_STYLES = {
    "running": "bold blue",
    "done": "green",
    "failed": "bold red",
    "waiting": "yellow",
    "skipped": "dim",
    "cancelled": "dim",
}
_STATUSES_SHOWN_FIRST = ("running", "waiting", "failed")
_STATUSES_WITH_REASON = frozenset({"failed", "waiting", "skipped", "cancelled", "done"})


def is_live() -> bool:
    """Return whether standard error is a terminal on which lines can be rewritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def show_progress(progress: Progress) -> AbstractContextManager[events.Observer]:
    """Show a run inside of a `with` block; the observer that it yields takes the events."""
    return _show_table(progress) if is_live() else _show_lines(progress)


# ---- lines ---------------------------------------------------------------------------------------
@contextmanager
def _show_lines(progress: Progress) -> Generator[events.Observer]:
    def observe(event: events.RunEvent) -> None:
        progress.feed(event)
        line = format_event(event)
        if line:
            print_status(f"{progress.seconds:8.2f} s  {line}")

    yield observe


def format_event(event: events.RunEvent) -> str:
    """Return a line about an event, or nothing if it is not worth one."""
    match event:
        case events.Started(path, attempt=attempt):
            again = f", attempt {attempt}" if attempt > 1 else ""
            return f"{sanitize_line(path)} started{again}"
        case events.ModelCalled():
            return _format_call(event)
        case events.Committed(path, seconds=seconds, tool=tool) if tool:
            outcome = describe_outcome(event)
            # Where a person answered in its place, the time is not that of the call.
            is_decided = event.update.get("outcome") in ("refused", "answered")
            took = "" if is_decided else f" in {format_seconds(seconds)}"
            return f"{sanitize_line(path)} {outcome}{took}"
        case events.Committed(path, to=to, seconds=seconds):
            targets = sanitize_line(", ".join(to)) or "END"
            return f"{sanitize_line(path)} done in {format_seconds(seconds)} → {targets}"
        case events.Failed():
            return _format_failure(event)
        case events.Skipped(path, reason=reason) | events.Cancelled(path, reason=reason):
            name = events.EVENT_NAMES[type(event)]
            return f"{sanitize_line(path)} {name}: {sanitize_line(reason, 200)}"
        case events.QuestionAsked(path, question=question):
            return f"{sanitize_line(path)} asks: {sanitize_line(question, 200)}"
        case events.WaitBegan(path, signal=signal, key=key, due=due):
            what = EventWait(signal, key, due).describe()
            return f"{sanitize_line(path)} waits for {sanitize_line(what, 400)}"
        case _:
            return ""


def _format_call(event: events.ModelCalled) -> str:
    tokens = event.input_tokens + event.output_tokens
    price = format_cost(event.usd, int(event.usd_source == "none"))
    remark = f"; {sanitize_line(event.note, 200)}" if event.note else ""
    if event.error:
        remark += f"; no answer: {sanitize_line(event.error, 200)}"
    return (
        f"{sanitize_line(event.path)} asked {sanitize_line(event.model)}: "
        f"{tokens:,} tokens, {price}, {format_seconds(event.seconds)}{remark}"
    )


def _format_failure(event: events.Failed) -> str:
    what_follows = ""
    if event.retry_in is not None:
        what_follows = f"; retry in {event.retry_in:.1f} s"
    elif event.handled:
        what_follows = "; its error edge takes over"
    error = sanitize_line(event.error, 200)
    return f"{sanitize_line(event.path)} failed, attempt {event.attempt}: {error}{what_follows}"


# ---- table ---------------------------------------------------------------------------------------
@contextmanager
def _show_table(progress: Progress) -> Generator[events.Observer]:
    # only a terminal needs rich, and importing it takes a while
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)

    def render() -> RenderableType:
        return build_table(progress, console.width, max(4, console.height - 3))

    with Live(
        console=console,
        get_renderable=render,
        refresh_per_second=_REFRESHES_PER_SECOND,
        vertical_overflow="crop",
    ):
        yield progress.feed


def build_table(progress: Progress, width: int, height: int) -> RenderableType:
    """Return the run as a table of at most `height` nodes, and a row with the sums."""
    from rich.table import Table
    from rich.text import Text

    rows = list(progress.rows.values())
    shown = select_rows(rows, height)
    table = Table(box=None, pad_edge=False, expand=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    if len(shown) < len(rows):
        table.add_row(Text("", "dim"), Text(f"… {len(rows) - len(shown)} more", "dim"))
    now = progress.clock()
    for row in shown:
        table.add_row(
            Text(row.status, _STYLES[row.status]),
            Text(_format_name(row, width)),
            Text(f"{_count_seconds(row, now):.1f} s"),
            Text(_format_remark(row, width, now), "dim"),
        )
    total = progress.total
    table.add_row(
        Text("total", "bold"),
        Text(""),
        Text(f"{progress.seconds:.1f} s"),
        Text(f"{total.tokens:,} tokens, {format_cost(total.usd, total.unpriced)}", "bold"),
    )
    return table


def _format_name(row: NodeProgress, width: int) -> str:
    name = sanitize_line(row.name, max(20, width // 3))
    if row.tool:
        name = f"  {name}"
    return f"{name} ×{row.visits}" if row.visits > 1 else name


def _count_seconds(row: NodeProgress, now: float) -> float:
    return row.seconds + (now - row.began) if row.status == "running" else row.seconds


def _format_remark(row: NodeProgress, width: int, now: float) -> str:
    """Return what a node is at, and what it used.

    A map counts its items, a running node shows the end of the answer that it receives, and one
    that failed, waits or was stopped says why.
    """
    space = max(20, width - 60)
    parts: list[str] = []
    if row.items is not None:
        parts.append(format_items(row.items, now))
    elif row.status == "running" and row.tail:
        return "… " + sanitize(" ".join(row.tail.split()))[-space:]
    if row.remark and row.status in _STATUSES_WITH_REASON:
        parts.append(sanitize_line(row.remark, space))
    return ", ".join(filter(None, [*parts, format_usage(row)]))


def select_rows(rows: Sequence[NodeProgress], height: int) -> list[NodeProgress]:
    """Return the rows that fit, in their order.

    Nodes that run, wait or failed come first, then the latest of the others.
    """

    def rank(index: int) -> tuple[bool, int]:
        return rows[index].status in _STATUSES_SHOWN_FIRST, index

    # choose by rank, but keep the order in which the nodes were met
    ranked = sorted(range(len(rows)), key=rank, reverse=True)
    chosen = set(ranked[:height])
    return [row for index, row in enumerate(rows) if index in chosen]
