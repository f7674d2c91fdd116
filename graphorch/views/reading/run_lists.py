"""Lists of runs with their figures, page by page.

The figures of a run at rest are sums over the rows beside the journal, which are brought up to date
for the runs of the page alone. Those of a run under way are of the spans that are kept of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphorch.errors import InputError
from graphorch.journal.due_times import read_due
from graphorch.journal.errors import JournalDamaged, JournalError
from graphorch.journal.records import Cursor, RunHead, RunPage, RunQuery
from graphorch.journal.validation import check_query
from graphorch.runs.work_queues import find_placed
from graphorch.trace.analysis.run_sums import RunSums, sum_runs
from graphorch.trace.spans.model import Trace
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.runs.nodes import measure_run
from graphorch.views.runs.run_row import (
    RunFigures,
    RunList,
    RunRow,
    UnreadableRun,
    find_state,
)
from graphorch.views.runs.usage import Usage

MOST_RUNS: Final = 200
"""Runs of one page."""

_UNDER_WAY: Final = "running"
_LEFT: Final = frozenset({"crashed", "queued"})  # states that a store knows as running


def format_cursor(cursor: Cursor) -> str:
    """Return the place after which the next page begins."""
    return f"{cursor[0]!r}:{cursor[1]}"


def parse_cursor(place: str) -> Cursor | None:
    """Return a place in the list; None for a text that is none."""
    created_at, _, run_id = place.partition(":")
    try:
        return float(created_at), run_id
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read about the runs of a page beside their heads, by id."""

    placed: frozenset[str]
    figures: Mapping[str, RunFigures]
    reasons: Mapping[str, str]
    faults: Mapping[str, str]
    due: Mapping[str, float]


async def list_runs(reader: JournalReader, query: RunQuery) -> RunList:
    """Return a page of runs, the newest first.

    The status of `query` is one of `RUN_STATES`. Raises `InputError` for a page of more than 200
    runs, and `InvalidName` for a filter that nothing can have.
    """
    if query.limit > MOST_RUNS:
        raise InputError(
            f"limit={query.limit}: a page holds at most {MOST_RUNS} runs. Ask for the next page "
            "with `cursor`."
        )
    check_query(query)
    page = await reader.store.list_runs(_ask_store(query))
    if query.status in (_UNDER_WAY, *_LEFT):
        page, placed = await _narrow(reader, page, query)
    else:
        placed = await _find_placed(reader, page.runs)
    read = await _read_runs(reader, page.runs, placed)
    return RunList(
        [_build_row(head, read) for head in page.runs],
        None if page.next is None else format_cursor(page.next),
        [
            *(
                UnreadableRun(run_id, "damaged", "Its head is not what was written.")
                for run_id in page.damaged
            ),
            *(
                UnreadableRun(run_id, "other key", "Set GRAPHORCH_JOURNAL_KEY to its key.")
                for run_id in page.refused
            ),
        ],
    )


async def read_rows(reader: JournalReader, heads: Sequence[RunHead]) -> list[RunRow]:
    """Return the rows of runs whose heads were read; the figures are those of their records now."""
    read = await _read_runs(reader, heads, await _find_placed(reader, heads))
    return [_build_row(head, read) for head in heads]


async def read_row(reader: JournalReader, head: RunHead, trace: Trace) -> RunRow:
    """Return the row of a run that has been read."""
    due = await _find_due(reader, head)
    read = _Read(
        await _find_placed(reader, [head]),
        {} if head.is_erased else {head.run_id: measure_run(trace)},
        {head.run_id: trace.reason},
        {},
        {} if due is None else {head.run_id: due},
    )
    return _build_row(head, read)


def _build_row(head: RunHead, read: _Read) -> RunRow:
    run_id = head.run_id
    state = find_state(head, is_placed=run_id in read.placed)
    reason = read.reasons.get(run_id, "")
    return RunRow(
        run_id=run_id,
        flow=head.flow,
        status=state,
        reason="" if reason in (state, head.status, "crashed") else reason,
        created_at=head.created_at,
        updated_at=head.updated_at,
        due=read.due.get(run_id),
        tags=head.tags,
        parent=head.parent,
        records=head.last_seq,
        is_under_way=head.is_under_way,
        is_keyed=head.is_keyed,
        fault=read.faults.get(run_id, ""),
        figures=read.figures.get(run_id),
    )


# ---- running, crashed and queued -----------------------------------------------------------------
def _ask_store(query: RunQuery) -> RunQuery:
    """Return a query in the words of the store, for which crashed and queued runs are running."""
    return replace(query, status=_UNDER_WAY) if query.status in _LEFT else query


async def _narrow(
    reader: JournalReader, page: RunPage, query: RunQuery
) -> tuple[RunPage, frozenset[str]]:
    """Return a page of those runs whose state is the one of the query.

    Of the runs that a store knows as running there are few, unless very many processes died.
    """
    heads: list[RunHead] = []
    unreadable = replace(page, runs=(), next=None)
    placed = frozenset[str]()
    while True:
        found = await _find_placed(reader, page.runs)
        placed |= found
        for number, head in enumerate(page.runs, 1):
            if find_state(head, is_placed=head.run_id in found) != query.status:
                continue
            heads.append(head)
            if len(heads) == query.limit:
                has_more = page.next is not None or number < len(page.runs)
                cursor = (head.created_at, head.run_id) if has_more else None
                return replace(unreadable, runs=tuple(heads), next=cursor), placed
        if page.next is None:
            return replace(unreadable, runs=tuple(heads)), placed
        page = await reader.store.list_runs(replace(_ask_store(query), after=page.next))
        unreadable = replace(
            unreadable,
            damaged=(*unreadable.damaged, *page.damaged),
            refused=(*unreadable.refused, *page.refused),
        )


async def _find_placed(reader: JournalReader, heads: Sequence[RunHead]) -> frozenset[str]:
    idle = [head.run_id for head in heads if head.status == "running" and not head.is_under_way]
    return await find_placed(reader.store, idle)


async def _find_due(reader: JournalReader, head: RunHead) -> float | None:
    with contextlib.suppress(JournalDamaged):  # the head of a damaged run is listed
        return await read_due(reader.store, head)
    return None


# ---- figures -------------------------------------------------------------------------------------
async def _read_runs(
    reader: JournalReader, heads: Sequence[RunHead], placed: frozenset[str]
) -> _Read:
    whole = [head for head in heads if not head.is_erased]
    resting = [head for head in whole if not head.is_under_way]
    figures, reasons, faults = await _sum_resting(reader, resting)
    for head in whole:
        if head.is_under_way:
            try:
                async with reader.open_run(head.run_id) as run:
                    figures[head.run_id] = measure_run(run.trace)
            except JournalError as error:
                faults[head.run_id] = str(error)
    due = {head.run_id: at for head in heads if (at := await _find_due(reader, head)) is not None}
    return _Read(placed, figures, reasons, faults, due)


async def _sum_resting(
    reader: JournalReader, heads: Sequence[RunHead]
) -> tuple[dict[str, RunFigures], dict[str, str], dict[str, str]]:
    """Return figures, reasons and faults of runs at rest, by id."""
    if not heads:
        return {}, {}, {}
    async with reader.open_index() as index:
        progress = await index.catch_up_runs(reader.store, heads)
        sums = sum_runs(index, [head.run_id for head in heads])
    for run_id in progress.damaged:
        sums.pop(run_id, None)  # it may have been read when it was still whole
    figures = {run_id: _build_figures(found) for run_id, found in sums.items()}
    return figures, {run_id: found.reason for run_id, found in sums.items()}, progress.damaged


def _build_figures(sums: RunSums) -> RunFigures:
    usage = Usage(
        sums.calls,
        sums.input_tokens,
        sums.output_tokens,
        sums.estimated,
        sums.usd,
        sums.unpriced,
        sums.booked_usd,
    )
    return RunFigures(
        seconds=sums.seconds,
        visits=sums.visits,
        errors=sums.errors,
        questions=sums.questions,
        budget=sums.budget,
        usage=usage,
    )
