"""`graphorch timeline`: draw a run as bars over time; what ran at once is in parallel lanes."""

from __future__ import annotations

import time
from dataclasses import replace

from graphorch.cli.commands.analysis.timeline_text import format_timeline
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, write_or_print
from graphorch.cli.journals import find_stored_run, print_faults, query_store, require_journal
from graphorch.cli.shared_options import Db, Debug, Output, RunId, ThemeName
from graphorch.cli.terminal import find_width, print_output, sanitize_line
from graphorch.journal.store import Store
from graphorch.render.svg.theme import Theme
from graphorch.render.timeline import timeline as draw_bars
from graphorch.text import shorten_run_id
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.model import Trace
from graphorch.views.runs.timeline import build_bars, list_drawn


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
    bars = list_drawn(build_bars(trace, now))
    return draw_bars(bars, name=trace.flow, title=_describe_run(trace), theme=theme)


def describe_timeline(run: str, db: str, width: int) -> list[str]:
    """Return a run's timeline as lines of text. Raises `InputError` and `JournalError`."""
    now = time.time()
    trace = _read_trace(run, db)
    drawn = list_drawn(build_bars(trace, now))
    bars = [replace(bar, name=sanitize_line(bar.name)) for bar in drawn]
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
