"""The engine on PgQueuer's tables keeps the contract on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from graphorch.distributed.engine import Engine
from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.pgqueuer.setup import install_queue
from tests.contracts.engine_contract import Bench, Scenario, every_scenario, run
from tests.postgres.cluster import Cluster
from tests.postgres.fixtures import cluster, database

__all__ = ["cluster", "database"]


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[str]:
    """A database with the tables of the queue, for all tests of this file."""
    url = cluster.create_database()
    asyncio.run(install_queue(url))
    try:
        yield url
    finally:
        cluster.drop_database(url)


@pytest.fixture
def queue(shared: str) -> str:
    """An empty queue."""
    import psycopg

    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute("TRUNCATE graphorch.pgqueuer")
    return shared


@every_scenario
def test_contract(check: Scenario, queue: str) -> None:
    """The engine on PgQueuer's tables keeps the contract."""

    async def connect() -> Engine:
        return await PgQueuerEngine.open(queue, timeout=0.6)

    asyncio.run(run(check, Bench(connect, timeout=0.6, moment=0.15)))
