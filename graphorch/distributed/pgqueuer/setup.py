"""Creates and upgrades the tables of the queue, also from two processes at once."""

from __future__ import annotations

import psycopg
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries

from graphorch.distributed.pgqueuer.connection import Server
from graphorch.distributed.pgqueuer.names import SCHEMA, make_settings

# PgQueuer locks its upgrade, but neither the creation of the schema nor what follows.
_LOCK = f"SELECT pg_advisory_lock(hashtext('{SCHEMA} queue'))"


async def install_queue(url: str) -> None:
    """Create the tables for jobs in the schema of the journal, or upgrade those that are there.

    It changes nothing where they are as they should be. A connection to the server itself is
    needed: a pooler may send statements to different servers' connections.

    Raises `EngineError` if the server refuses, `InputError` for what is not a URL.
    """
    server = Server(url)
    settings = make_settings()
    async with await server.connect() as connection:
        queries = Queries(
            PsycopgDriver(connection),
            qbe=QueryBuilderEnvironment(settings),
            qbq=QueryQueueBuilder(settings),
            qbs=QuerySchedulerBuilder(settings),
        )
        try:
            await connection.execute(_LOCK.encode())
            await queries.apply_upgrade()
            await queries.optimize_autovacuum()
        except (psycopg.Error, OSError) as error:
            raise server.explain(error) from error
