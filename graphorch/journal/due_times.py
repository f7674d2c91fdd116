"""When runs at rest have to go on: the time that the last record of a run at rest holds.

A run that waits for a timer, or for a signal or an answer that it does not wait for forever, ends
with a record that says when. So no index is needed: a look at all waiting runs of a flow reads one
record of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphorch.journal.errors import JournalError
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import RunHead, RunQuery
from graphorch.journal.store import Store

_PAGE: Final = 500  # runs that are listed at a time


@dataclass(frozen=True, slots=True)
class DueRuns:
    """Waiting runs whose time has come, the earliest first.

    `unreadable` maps the runs that cannot be read to the reason. `next` is when the next one of the
    others is due, in seconds since the epoch; None is never.
    """

    runs: tuple[RunHead, ...]
    unreadable: Mapping[str, str]
    next: float | None


async def find_due_runs(store: Store, flow: str, now: float) -> DueRuns:
    """Return the waiting runs of a flow that something becomes of at `now`. Raises `JournalError`.

    Reads one record of each waiting run. Runs of formats before 6 do not say when they are due.
    """
    due: list[tuple[float, str, RunHead]] = []
    later: list[float] = []
    unreadable: dict[str, str] = {}
    query: RunQuery | None = RunQuery(status="waiting", flow=flow, limit=_PAGE)
    while query is not None:
        page = await store.list_runs(query)
        unreadable |= dict.fromkeys(page.damaged, "its head is not what was written")
        unreadable |= dict.fromkeys(page.refused, "it is protected by another key")
        for head in page.runs:
            try:
                at = await read_due(store, head)
            except JournalError as error:
                unreadable[head.run_id] = str(error)
                continue
            if at is not None and at <= now:
                due.append((at, head.run_id, head))
            elif at is not None:
                later.append(at)
        query = None
        if page.next is not None:
            query = RunQuery(status="waiting", flow=flow, limit=_PAGE, after=page.next)
    runs = tuple(head for _, _, head in sorted(due, key=lambda each: each[:2]))
    return DueRuns(runs, unreadable, min(later, default=None))


async def read_due(store: Store, head: RunHead) -> float | None:
    """Return when a run at rest is due, in seconds since the epoch; None is never.

    Reads its last record, if it waits. Raises `JournalError`.
    """
    if head.status != "waiting" or head.is_erased or not head.last_seq:
        return None
    log = await store.load(head.run_id, after_seq=head.last_seq - 1)
    last = log.records[-1]
    if log.head.is_erased or last.is_erased or last.kind != "ended":
        return None
    due: float | None = read_body(head.run_id, last).get("due")
    return due
