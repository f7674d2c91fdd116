"""Journals of very many runs: copies of a run under other ids, written as rows in few commits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphorch.journal import codec, operations
from graphorch.journal.records import NewRun, RunLog
from graphorch.journal.store import TableStore
from graphorch.journal.tables import Tables

AT_ONCE = 2_000  # runs of one transaction


async def copy_many(
    store: TableStore, log: RunLog, count: int, *, begin: int = 0, **changes: Any
) -> None:
    """Copy a run `count` times as `many-0`, `many-1`, …, or from another number on.

    `changes` are those of `NewRun`.
    """
    head = log.head
    new = NewRun("", head.flow, head.fingerprint, head.format, status="running", tags=head.tags)
    new = replace(new, **changes)
    entries = [(record.kind, codec.dump(record.body)) for record in log.records]
    end = begin + count
    for first in range(begin, end, AT_ONCE):
        ids = [f"many-{number}" for number in range(first, min(end, first + AT_ONCE))]
        await store._runner.write(_build_copying(new, ids, entries, head.status))


def _build_copying(
    new: NewRun, ids: list[str], entries: list[operations.Entry], status: str
) -> Callable[[Tables], None]:
    def copy(tables: Tables) -> None:
        for run_id in ids:
            operations.create(tables, replace(new, run_id=run_id), os.urandom(16), None)
            lease = operations.claim(tables, run_id, "copier", 60.0, None)
            operations.append(tables, lease, 0, entries, status, (), None)
            operations.release(tables, lease)

    return copy
