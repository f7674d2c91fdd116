"""Reads the figures of many runs out of a journal: a table by group, their course, a heat map.

What takes long is done on another thread, and the rows beside the journal are asked for in several
turns, so that the list of runs need not wait for all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from graphorch.trace.analysis.group_sums import find_bounds, list_tag_names
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace_context import PARENT
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.statistics.figures import (
    MOST_ROWS,
    Bucket,
    FigureRow,
    Figures,
    Grouping,
    HeatCell,
    HeatMap,
    HeatRow,
    LeftOut,
    TimeFigures,
)
from graphorch.views.statistics.group_figures import measure_all, measure_groups
from graphorch.views.statistics.index_reading import catch_up
from graphorch.views.statistics.time_buckets import choose_bucket, read_bucket

T = TypeVar("T")

_WORDS: Final[dict[Grouping, tuple[str, ...]]] = {
    "agent": ("agent",),
    "model": ("model",),
    "node": ("flow", "step"),
    "flow": ("flow",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureQuery:
    """Which runs are counted: those of a flow and with a tag, in a window of time.

    `since` ≤ beginning < `until`, in seconds since 1970, of each activation and call; of whole runs
    it is their own beginning. Days and hours are those of a zone `utc_offset` seconds east of UTC.
    """

    since: float | None = None
    until: float | None = None
    flow: str = ""
    tag: tuple[str, str] | None = None
    utc_offset: int = 0

    def build_selection(self) -> Selection:
        """Return the query in the words of the statistics."""
        where: dict[str, str] = {}
        if self.flow:
            where["flow"] = self.flow
        if self.tag is not None:
            where[f"tag:{self.tag[0]}"] = self.tag[1]
        return Selection(self.since, self.until, where, float(self.utc_offset))


async def read_figures(
    reader: JournalReader, by: Grouping, query: FigureQuery, *, tag: str = ""
) -> Figures:
    """Return the figures of the runs in a journal.

    `tag` is the name of the tag to group by, by default the one of most runs. Raises `JournalError`
    if the journal cannot be read; runs that cannot be are named.
    """
    left_out = await catch_up(reader, query.since)
    selection = query.build_selection()
    names = await _ask(reader, "tags", list_tag_names)
    names = [name for name in names if name != PARENT]  # another value in each run
    chosen = (tag or next(iter(names), "")) if by == "tag" else ""
    words = (f"tag:{chosen}",) if chosen else _WORDS.get(by, ())
    with_runs = by in ("flow", "tag")
    rows: list[FigureRow] = []
    if words:
        rows = await _ask(
            reader,
            (words, query),
            lambda index: measure_groups(index, words, selection, with_runs=with_runs),
        )
    total = await _ask(
        reader, ("total", query), lambda index: measure_all(index, selection, with_runs=True)
    )
    bucket, times = await _ask(
        reader, ("times", query), lambda index: _measure_times(index, query, selection)
    )
    return Figures(
        by=by,
        tag=chosen,
        tags=names,
        rows=rows[:MOST_ROWS],
        more=max(0, len(rows) - MOST_ROWS),
        total=total,
        bucket=bucket,
        times=times,
        left_out=left_out,
    )


async def read_heat(reader: JournalReader, query: FigureQuery) -> HeatMap:
    """Return the figures of each node over time. Raises `JournalError` as `read_figures` does."""
    left_out = await catch_up(reader, query.since)
    selection = query.build_selection()

    def measure(index: SpanIndex) -> tuple[Bucket, list[FigureRow]]:
        bucket = _choose_bucket(index, query, selection)
        return bucket, measure_groups(index, ("flow", "step", bucket), selection)

    bucket, rows = await _ask(reader, ("heat", query), measure)
    return _build_heat(rows, bucket, query.utc_offset, left_out)


async def _ask(reader: JournalReader, name: Hashable, question: Callable[[SpanIndex], T]) -> T:
    """Return the answer of a question to the rows beside the journal, found on another thread.

    `name` tells it from other questions: asked again while the rows are the same, it is known.
    """
    async with reader.open_index() as index:
        return await asyncio.to_thread(reader.answers.find, index, name, question)


# ---- over time -----------------------------------------------------------------------------------
def _choose_bucket(index: SpanIndex, query: FigureQuery, selection: Selection) -> Bucket:
    """Return the span of time that a window is divided by; an open one ends with the last span."""
    bounds = find_bounds(index, selection)
    if bounds is None:
        return "day"
    first, last = bounds
    since = query.since if query.since is not None else first
    return choose_bucket(since, query.until if query.until is not None else max(last, since))


def _measure_times(
    index: SpanIndex, query: FigureQuery, selection: Selection
) -> tuple[Bucket, list[TimeFigures]]:
    bucket = _choose_bucket(index, query, selection)
    rows = measure_groups(index, (bucket,), selection)
    times = [
        TimeFigures(*read_bucket(bucket, row.key[0], query.utc_offset), row)
        for row in sorted(rows, key=lambda row: row.key)
        if row.key[0]
    ]
    return bucket, times


def _build_heat(
    rows: Sequence[FigureRow], bucket: Bucket, utc_offset: float, left_out: LeftOut
) -> HeatMap:
    names = sorted({row.key[2] for row in rows if row.key[2]})
    columns = {name: column for column, name in enumerate(names)}
    by_node: dict[tuple[str, str], list[FigureRow]] = {}
    for row in rows:
        if row.key[2]:
            by_node.setdefault((row.key[0], row.key[1]), []).append(row)
    nodes = sorted(by_node, key=lambda node: (-sum(row.seconds for row in by_node[node]), node))
    return HeatMap(
        bucket=bucket,
        times=[read_bucket(bucket, name, utc_offset) for name in names],
        rows=[
            HeatRow(*node, _find_kind(by_node[node]), _build_cells(by_node[node], columns))
            for node in nodes[:MOST_ROWS]
        ],
        more=max(0, len(nodes) - MOST_ROWS),
        left_out=left_out,
    )


def _find_kind(rows: Sequence[FigureRow]) -> Literal["node", "tool"]:
    return "tool" if any(row.tools is not None for row in rows) else "node"


def _build_cells(rows: Sequence[FigureRow], columns: dict[str, int]) -> list[HeatCell]:
    cells = [_build_cell(columns[row.key[2]], row) for row in rows]
    return sorted(cells, key=lambda cell: cell.column)


def _build_cell(column: int, row: FigureRow) -> HeatCell:
    source = row.steps or row.tools
    visits = row.steps.visits if row.steps else row.tools.calls if row.tools else 0
    return HeatCell(
        column=column,
        visits=visits,
        errors=row.errors,
        seconds=row.seconds,
        usd=row.usd,
        unpriced=row.unpriced,
        calls=row.calls.calls if row.calls else 0,
        latency_p50=source.latency.p50 if source else None,
        newest_run=row.newest_run,
    )
