"""Opening the queue of a database, as a process does that submits runs or sends them letters."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.postgres.database import Database
from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
from graphorch.distributed.work_queue import WorkQueue


@asynccontextmanager
async def open_queue(url: str) -> AsyncGenerator[WorkQueue]:
    """Open the queue of a database for as long as it is used.

    Raises `StoreNotOpened` and `EngineError`.
    """
    database = await Database.open(url)
    try:
        engine = await PgQueuerEngine.open(url)
        try:
            yield WorkQueue(PostgresPlacedRuns(database), engine)
        finally:
            await engine.close()
    finally:
        await database.close()
