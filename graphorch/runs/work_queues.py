"""The queue by which runs of a journal are left to workers, if the journal has one."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from graphorch.errors import InputError
from graphorch.runs.stores import resolve_address

if TYPE_CHECKING:
    from graphorch.distributed.work_queue import WorkQueue
    from graphorch.journal.store import Store
    from graphorch.runs.stores import Durable

_STORE = "graphorch.journal.postgres.store"  # needs a driver, and is loaded if a store is one


def find_database(durable: Durable) -> str:
    """Return the URL of a journal that workers may share; empty for any other journal."""
    if durable is False or not isinstance(durable, bool | str | Path):
        return ""
    address = resolve_address(durable)
    return address.text if address.is_database else ""


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


@asynccontextmanager
async def open_queue(url: str, store: Store) -> AsyncGenerator[WorkQueue]:
    """Open the queue beside a journal in the database of a URL. Raises `EngineError`."""
    from graphorch.distributed.postgres.opening import open_queue

    async with open_queue(url, store) as queue:
        yield queue


async def find_placed(store: Store, run_ids: Collection[str]) -> frozenset[str]:
    """Return those of some runs that are left to workers; none in a journal without workers."""
    if not run_ids or _STORE not in sys.modules:
        return frozenset()
    from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
    from graphorch.journal.postgres.store import PostgresStore

    if not isinstance(store, PostgresStore):
        return frozenset()
    return await PostgresPlacedRuns(store).find_many(run_ids)
