"""The queue of a database, as a process uses it that submits runs or sends them letters."""

from __future__ import annotations

from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.postgres.placed_runs import PostgresPlacedRuns
from graphorch.distributed.work_queue import WorkQueue
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.store import Store


async def open_queue(store: Store) -> WorkQueue:
    """Return the queue beside a journal. Its connection stays open until the store is closed.

    Raises `EngineError`.
    """
    assert isinstance(store, PostgresStore)  # a URL opens nothing else
    engine = store.keep(PgQueuerEngine, lambda: PgQueuerEngine.prepare(store.url))
    await engine.check()
    return WorkQueue(PostgresPlacedRuns(store), engine)
