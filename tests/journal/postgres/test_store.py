"""The store in a PostgreSQL database keeps the contract, and what only a server can get wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.store import Store
from tests.contracts.store_contract import FakeClock, Scenario, every_scenario, run
from tests.postgres.cluster import Cluster
from tests.postgres.databases import DatabaseClock, empty_tables


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database with the tables of graphorch, for all tests of this module."""
    url = cluster.create_database()
    initialize(url)
    yield url
    cluster.drop_database(url)


@pytest.fixture
def clock(url: str) -> Iterator[DatabaseClock]:
    """The clock of the database, which has no runs yet."""
    empty_tables(url)
    clock = DatabaseClock(url)
    yield clock
    clock.close()


@every_scenario
def test_contract(check: Scenario, url: str, clock: DatabaseClock) -> None:
    """The store in a PostgreSQL database keeps the contract."""

    async def make(_: FakeClock) -> Store:
        return await PostgresStore.open(url)

    run(check, make, clock)
