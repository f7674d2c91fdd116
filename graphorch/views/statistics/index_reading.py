"""Brings the rows beside a journal up to date, without keeping others from them meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator

from graphorch.journal.records import RunPage, RunQuery
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.runs.run_row import UnreadableRun
from graphorch.views.statistics.figures import LeftOut

_PAGE = 200  # runs after which others get their turn
_SKEW = 3_600.0  # seconds by which clocks of a journal and of its runs may differ


async def catch_up(reader: JournalReader, since: float | None = None) -> LeftOut:
    """Read what changed since the last time, page by page; return what cannot be counted.

    Runs in which nothing happened after `since` are not read if they were not before. Raises
    `JournalError` if the journal itself cannot be read.
    """
    damaged: dict[str, str] = {}
    refused: list[str] = []
    erased = 0
    seen: set[str] = set()
    async with reader.open_index() as index:
        known = index.find_known()
    async for page in _list_pages(reader):
        damaged |= dict.fromkeys(page.damaged, "Its head is not what was written.")
        refused += page.refused
        erased += sum(head.is_erased for head in page.runs)
        seen |= {head.run_id for head in page.runs if not head.is_erased}
        wanted = [head for head in page.runs if since is None or head.updated_at + _SKEW >= since]
        async with reader.open_index() as index:
            damaged |= (await index.catch_up_runs(reader.store, wanted, known)).damaged
    # A run that is left out now may have been read when it was still whole.
    async with reader.open_index() as index:
        index.drop(sorted((known.keys() - seen) | damaged.keys()))
    return LeftOut(
        unreadable=[
            *(UnreadableRun(run_id, "damaged", text) for run_id, text in damaged.items()),
            *(
                UnreadableRun(run_id, "other key", "Set GRAPHORCH_JOURNAL_KEY to its key.")
                for run_id in refused
            ),
        ],
        erased=erased,
    )


async def _list_pages(reader: JournalReader) -> AsyncIterator[RunPage]:
    query: RunQuery | None = RunQuery(limit=_PAGE)
    while query is not None:
        page = await reader.store.list_runs(query)
        yield page
        query = RunQuery(limit=_PAGE, after=page.next) if page.next is not None else None
