"""Laws that hold for the views of any journal: sums agree, and reading on is reading anew."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from graphorch.journal.records import Record, RunHead, RunQuery
from graphorch.journal.store import Store
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import sum_calls
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reading.run_lists import list_runs, read_row
from graphorch.views.runs.nodes import measure_nodes
from graphorch.views.runs.run_row import RunFigures
from graphorch.views.runs.timeline import build_timeline
from graphorch.views.runs.usage import Usage
from graphorch.views.statistics.figures import FigureRow, Grouping
from graphorch.views.statistics.statistics import FigureQuery, read_figures, read_heat

MICRODOLLAR = 1e-6
NOW = 2e9
GROUPINGS: tuple[Grouping, ...] = ("agent", "model", "tag", "node", "flow")


def near(figures: RunFigures | Usage) -> Any:
    """Return figures to compare with: dollars to a part of a microdollar, counts exactly."""
    fields = asdict(figures)
    fields.update(fields.pop("usage", {}))
    return {
        name: pytest.approx(value, abs=MICRODOLLAR / 100) if isinstance(value, float) else value
        for name, value in fields.items()
    }


async def check_sums(store: Store) -> int:
    """Check that list, page, nodes and statistics of every run agree; return how many runs."""
    reader = JournalReader(store)
    listed = await list_runs(reader, RunQuery(limit=200))
    for row in listed.runs:
        assert row.figures is not None, row.fault
        async with reader.open_run(row.run_id) as run:
            page = await read_row(reader, run.head, run.trace)
            nodes = measure_nodes(run.trace, run.moments.last_seqs)
            told = sum_calls(run.trace)
        assert page.figures is not None
        expected = near(row.figures)
        assert near(page.figures) == expected
        assert (page.status, page.reason, page.due) == (row.status, row.reason, row.due)
        usage = Usage()
        for node in nodes:
            for name, value in asdict(node.usage).items():
                setattr(usage, name, getattr(usage, name) + value)
        assert near(usage) == near(row.figures.usage)
        assert {name: getattr(usage, name) for name in told} == pytest.approx(told)
        assert sum(node.errors for node in nodes) == row.figures.errors
        assert sum(node.questions for node in nodes) == row.figures.questions
    await check_statistics(store, [(row.run_id, row.figures) for row in listed.runs])
    await check_figures(reader, [row.figures for row in listed.runs if row.figures is not None])
    reader.close()
    return len(listed.runs)


async def check_statistics(store: Store, runs: list[tuple[str, RunFigures | None]]) -> None:
    """Check that the figures of runs are those of the statistics."""
    with SpanIndex.open(store) as index:
        await index.catch_up(store)
        for run_id, figures in runs:
            assert figures is not None
            selection, usage = Selection(where={"run": run_id}), figures.usage
            [summed] = statistics.runs(index, ["run"], selection)
            assert summed.usd == pytest.approx(usage.usd, abs=MICRODOLLAR / 100)
            assert summed.booked_usd == pytest.approx(usage.booked_usd, abs=MICRODOLLAR / 100)
            assert (summed.calls, summed.unpriced) == (usage.calls, usage.unpriced)
            assert summed.tokens == usage.input_tokens + usage.output_tokens
            steps = list(statistics.steps(index, ["run"], selection))
            tools = list(statistics.tools(index, ["run"], selection))
            errors = sum(row.failed + row.handled for row in steps)
            errors += sum(row.failed + row.errors_read for row in tools)
            assert (sum(row.visits for row in steps), errors) == (figures.visits, figures.errors)


async def check_figures(reader: JournalReader, runs: list[RunFigures]) -> None:
    """Check that the figures of groups, of times and of the heat map are those of the runs."""
    usd, unpriced = sum(run.usage.usd for run in runs), sum(run.usage.unpriced for run in runs)
    counts = (sum(run.visits for run in runs), sum(run.errors for run in runs))
    counts += (sum(run.usage.calls for run in runs),)
    for by in GROUPINGS:
        figures = await read_figures(reader, by, FigureQuery())
        assert count(figures.total) == counts
        parts = [figures.rows, [time.figures for time in figures.times]]
        for rows in [[figures.total], *(parts if by != "tag" or figures.tag else parts[1:])]:
            assert sum(row.usd or 0.0 for row in rows) == pytest.approx(usd, abs=MICRODOLLAR / 100)
            assert sum(row.unpriced for row in rows) == unpriced
            assert by in ("agent", "model", "tag") or sum_counts(rows) == counts
        assert figures.total.of_runs is None or figures.total.of_runs.runs == len(runs)
    heat = await read_heat(reader, FigureQuery())
    cells = [cell for row in heat.rows for cell in row.cells]
    assert sum(cell.usd or 0.0 for cell in cells) == pytest.approx(usd, abs=MICRODOLLAR / 100)
    assert sum(cell.errors for cell in cells) == counts[1]


def count(row: FigureRow) -> tuple[int, int, int]:
    """Return activations, errors and calls of a group."""
    visits = row.steps.visits if row.steps else 0
    return visits, row.errors, row.calls.calls if row.calls else 0


def sum_counts(rows: list[FigureRow]) -> tuple[int, ...]:
    """Return activations, errors and calls of groups."""
    return tuple(sum(column) for column in zip(*map(count, rows), strict=True))


async def check_reading_on(store: Store, run_id: str) -> None:
    """Check that a run which is read record by record is what it is when it is read at once."""
    log = await store.load(run_id)
    fresh = OpenRun(log.head)
    fresh.take(log.head, log.records)
    growing = OpenRun(begin(log.head, log.records[0]))
    bars: dict[str, Any] = {}
    seen = 0
    for record in log.records:
        is_last = record.seq == log.records[-1].seq
        growing.take(log.head if is_last else begin(log.head, record), [record])
        assert growing.trace.seq == record.seq
        growing.read_conversation()
        timeline = build_timeline(growing.trace, NOW, seen, growing.last_seqs)
        bars |= {bar.id: bar for bar in timeline.bars}
        seen = timeline.seq
    # Bars that came or changed after the last look are all bars.
    assert bars == {bar.id: bar for bar in build_timeline(fresh.trace, NOW).bars}
    assert {span.id: span for span in growing.trace.spans} == {
        span.id: span for span in fresh.trace.spans
    }
    assert growing.trace == replace(fresh.trace, spans=growing.trace.spans)
    assert growing.moments.list_moments(0, 10**6) == fresh.moments.list_moments(0, 10**6)
    assert growing.steps.list_rows() == fresh.steps.list_rows()
    nodes = [measure_nodes(run.trace, run.moments.last_seqs) for run in (growing, fresh)]
    assert nodes[0] == nodes[1]
    # Page by page, what came after a record is what was not there before.
    found: dict[int, Any] = {}
    after: int | None = 0
    while after is not None:
        page = fresh.moments.list_moments(after, 3)
        found |= {moment.seq: moment for moment in page.moments}
        after = page.next
    assert found == {each.seq: each for each in fresh.moments.list_moments(0, 10**6).moments}


def begin(head: RunHead, record: Record) -> RunHead:
    """Return the head of a run as it was once a record was written."""
    status = record.body["status"] if record.kind == "ended" else "running"
    return replace(head, status=status, is_under_way=status == "running", last_seq=record.seq)
