"""Follow a run by its records, whichever process drives it.

Rule 1: each record after a number comes once, in order: records are numbered without a gap.
Rule 2: a status that changes without a record (a process is gone) comes between them.
Rule 3: it ends with a run that nothing can continue, and goes on while a run waits or is at rest.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from graphorch.statuses import FINAL_STATUSES
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reading.run_lists import read_row
from graphorch.views.runs.moments import Moment
from graphorch.views.runs.run_events import RecordAdded, RunChanged

_AT_ONCE: Final = 500  # records between two looks
_PAUSE: Final = 0.05  # seconds between two looks while records come
_LONGEST_WAIT: Final = 1.0  # for an announcement: a status may change without one


async def follow_run(
    reader: JournalReader, run_id: str, after: int
) -> AsyncGenerator[RecordAdded | RunChanged]:
    """Yield the records of a run after a number as they come, and its status when it changes.

    Raises `RunNotFound`, `WrongKey`, `JournalDamaged`.
    """
    woken = asyncio.Event()
    leave = reader.store.watch_records(run_id, woken.set)
    try:
        known: object = None
        while True:
            woken.clear()
            async with reader.open_run(run_id) as run:
                added = _list_added(run, after)
                after = added[-1].seq if added else after
                is_read = after >= run.seq
                head, trace = run.head, run.trace
                is_final = head.is_erased or head.status in FINAL_STATUSES
            for event in added:
                yield event
            state = (head.status, head.is_under_way, head.is_erased)
            if is_read and state != known:
                known = state
                yield RunChanged(run_id, await read_row(reader, head, trace), is_final)
                if is_final:
                    return
            await asyncio.sleep(_PAUSE if added else 0)
            if is_read:
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), _LONGEST_WAIT)
    finally:
        leave()


def _list_added(run: OpenRun, after: int) -> list[RecordAdded]:
    records = run.records[after : after + _AT_ONCE]
    if not records:
        return []
    moments: defaultdict[int, list[Moment]] = defaultdict(list)
    for moment in run.moments.list_moments(after, _AT_ONCE).moments:
        moments[moment.seq].append(moment)
    return [
        RecordAdded(run.head.run_id, record.seq, record.kind, moments.get(record.seq, []))
        for record in records
    ]
