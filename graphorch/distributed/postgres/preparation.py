"""All tables of a database: those of the journal and of workers, and the queue of jobs.

Both are made one after the other. A process that ends in between leaves a database that is not
ready, and the same call completes it.
"""

from __future__ import annotations

import asyncio

from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.pgqueuer.setup import install_queue
from graphorch.journal.postgres import setup
from graphorch.journal.postgres.store import PostgresStore


async def initialize_database(url: str) -> bool:
    """Make the tables that are missing; return whether the journal's were.

    Raises `StoreNotOpened` and its kinds, also for tables of an earlier version, and `EngineError`.
    """
    is_new = await asyncio.to_thread(setup.initialize, url)
    await install_queue(url)
    return is_new


async def upgrade_database(url: str) -> int:
    """Bring the tables to this version; return the version that the journal's had.

    Raises `StoreNotOpened` and its kinds, also if there are no tables, and `EngineError`.
    """
    version = await asyncio.to_thread(setup.upgrade, url)
    await install_queue(url)
    return version


async def check_database(url: str) -> None:
    """Raise `StoreNotOpened` or `EngineError` unless the tables are those of this version."""
    await (await PostgresStore.open(url)).close()
    await (await PgQueuerEngine.open(url)).close()
