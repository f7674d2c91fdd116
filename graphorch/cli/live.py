"""What people see while a run runs, on standard error: a table that is kept up to date on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphorch.cli.progress import Progress, Row, dollars, spent
from graphorch.cli.safe import one_line, say
from graphorch.engine import events

if TYPE_CHECKING:
    from rich.console import RenderableType

_FRAMES_A_SECOND = 8
_STYLES = {
    "running": "bold blue",
    "done": "green",
    "failed": "bold red",
    "waiting": "yellow",
    "skipped": "dim",
    "cancelled": "dim",
}


def is_live() -> bool:
    """Whether standard error is a terminal on which lines can be rewritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


@contextmanager
def shown(progress: Progress) -> Generator[events.Observer]:
    """Show the run while it runs; hand the watcher to it."""
    with _table(progress) if is_live() else _lines(progress) as watcher:
        yield watcher


# ---- lines ---------------------------------------------------------------------------------------
@contextmanager
def _lines(progress: Progress) -> Generator[events.Observer]:
    def watch(event: events.RunEvent) -> None:
        progress.feed(event)
        told = line_of(event)
        if told:
            say(f"{progress.seconds:8.2f} s  {told}")

    yield watch


def line_of(event: events.RunEvent) -> str:
    """One line about an event, or nothing."""
    match event:
        case events.Started(path, attempt=attempt):
            return f"{one_line(path)} started{f', attempt {attempt}' if attempt > 1 else ''}"
        case events.ModelCalled(
            path,
            model=model,
            input_tokens=sent,
            output_tokens=got,
            usd=usd,
            usd_source=source,
            seconds=seconds,
            note=note,
        ):
            price = "price unknown" if source == "none" else f"${usd:.4f}"
            remark = f"; {one_line(note, 200)}" if note else ""
            return f"{one_line(path)} asked {one_line(model)}: {sent + got:,} tokens, {price}, {seconds:.2f} s{remark}"
        case events.Committed(path, to=to, seconds=seconds):
            return f"{one_line(path)} done in {seconds:.2f} s → {one_line(', '.join(to)) or 'END'}"
        case events.Failed(path, attempt=attempt, error=error, retry_in=retry, handled=handled):
            then = (
                f"; again in {retry:.1f} s"
                if retry is not None
                else "; its error edge carries on"
                if handled
                else ""
            )
            return f"{one_line(path)} failed, attempt {attempt}: {one_line(error, 200)}{then}"
        case events.Skipped(path, reason=reason) | events.Cancelled(path, reason=reason):
            return f"{one_line(path)} {events.EVENT_NAMES[type(event)]}: {one_line(reason, 200)}"
        case events.QuestionAsked(path, question=question):
            return f"{one_line(path)} asks: {one_line(question, 200)}"
        case _:
            return ""


# ---- table ---------------------------------------------------------------------------------------
@contextmanager
def _table(progress: Progress) -> Generator[events.Observer]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)

    def picture() -> RenderableType:
        return table_of(progress, console.width, max(4, console.height - 3))

    with Live(
        console=console,
        get_renderable=picture,
        refresh_per_second=_FRAMES_A_SECOND,
        vertical_overflow="crop",
    ):
        yield progress.feed


def table_of(progress: Progress, width: int, height: int) -> RenderableType:
    """The run as a table of at most `height` rows; those that end first give way first."""
    from rich.table import Table
    from rich.text import Text

    rows = list(progress.rows.values())
    kept = visible(rows, height)
    table = Table(box=None, pad_edge=False, expand=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    if len(kept) < len(rows):
        table.add_row(Text("", "dim"), Text(f"… {len(rows) - len(kept)} more", "dim"))
    now = progress.clock()
    for row in kept:
        seconds = row.seconds + (now - row.began if row.status == "running" else 0.0)
        about = spent(row) or ""
        if row.status == "running" and row.tail:
            about = "… " + one_line(row.tail, max(20, width - 60))[-max(20, width - 60) :]
        name = one_line(row.path, max(20, width // 3)) + (
            f" ×{row.visits}" if row.visits > 1 else ""
        )
        table.add_row(
            Text(row.status, _STYLES[row.status]),
            Text(name),
            Text(f"{seconds:.1f} s"),
            Text(about, "dim"),
        )
    total = progress.total
    table.add_row(
        Text("total", "bold"),
        Text(""),
        Text(f"{progress.seconds:.1f} s"),
        Text(f"{total.tokens:,} tokens, {dollars(total)}", "bold"),
    )
    return table


def visible(rows: Sequence[Row], height: int) -> list[Row]:
    """The rows that fit: what runs first of all, then the latest of the others; in their order."""
    ranked = sorted(
        range(len(rows)),
        key=lambda index: (rows[index].status in ("running", "waiting", "failed"), index),
        reverse=True,
    )
    chosen = set(ranked[:height])
    return [row for index, row in enumerate(rows) if index in chosen]
