"""The queue by which runs of a journal are left to workers, if the journal has one."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from graphorch.errors import InputError
from graphorch.runs.stores import resolve_address

if TYPE_CHECKING:
    from graphorch.distributed.work_queue import WorkQueue
    from graphorch.journal.postgres.store import PostgresStore
    from graphorch.journal.store import Store
    from graphorch.runs.stores import Durable

_STORE = "graphorch.journal.postgres.store"  # needs a driver, and is loaded if a store is one


def find_database(durable: Durable) -> str:
    """Return the URL of a journal that workers may share; empty for any other journal."""
    if isinstance(durable, bool | str | Path):
        address = None if durable is False else resolve_address(durable)
        return address.text if address is not None and address.is_database else ""
    return durable.url if _is_database(durable) else ""


def require_database(durable: Durable, call: str) -> str:
    """Return the URL of a journal that workers share. Raises `InputError` for any other."""
    url = find_database(durable)
    if not url:
        got = "memory" if durable is False else f"{durable!r:.80}"
        raise InputError(
            f"{call} leaves a run to workers, which share a PostgreSQL database, got {got}. Write "
            'durable="postgresql://user@host/database", or run the flow in this process: '
            "flow.run(…)."
        )
    return url


async def open_queue(store: Store) -> WorkQueue:
    """Return the queue beside a journal in a database, closed with it. Raises `EngineError`."""
    from graphorch.distributed.postgres.opening import open_queue

    return await open_queue(store)


async def find_placed(store: Store, run_ids: Collection[str]) -> frozenset[str]:
    """Return those of some runs that are left to workers; none in a journal without workers."""
    if not run_ids or not _is_database(store):
        return frozenset()
    from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns

    return await PostgresPlacedRuns(store).find_many(run_ids)


def _is_database(store: Store) -> TypeGuard[PostgresStore]:
    if _STORE not in sys.modules:
        return False
    from graphorch.journal.postgres.store import PostgresStore

    return isinstance(store, PostgresStore)
