"""Opening the queue of a database, as a process does that submits runs or sends them letters."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
from graphorch.distributed.work_queue import WorkQueue
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.store import Store


@asynccontextmanager
async def open_queue(url: str, store: Store) -> AsyncGenerator[WorkQueue]:
    """Open the queue beside a journal in the database of a URL, for as long as it is used.

    Raises `EngineError`.
    """
    assert isinstance(store, PostgresStore)  # a URL opens nothing else
    engine = await PgQueuerEngine.open(url)
    try:
        yield WorkQueue(PostgresPlacedRuns(store), engine)
    finally:
        await engine.close()
