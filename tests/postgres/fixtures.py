"""Fixtures of tests that need PostgreSQL; `conftest.py` makes them known to all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from graphorch.journal.postgres.setup import initialize
from tests.postgres.cluster import Cluster, find_programs
from tests.postgres.databases import empty_tables


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL server, one for all tests of this process."""
    if find_programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # Not below the folder of pytest, which each of its processes closes to other users again.
    with TemporaryDirectory(prefix="graphorch-postgres-") as folder:
        started = Cluster.start(Path(folder) / "cluster")
        try:
            yield started
        finally:
            started.stop("immediate")


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """The URL of an empty database."""
    url = cluster.create_database()
    try:
        yield url
    finally:
        cluster.drop_database(url)


@pytest.fixture(scope="module")
def tables(cluster: Cluster) -> Iterator[str]:
    """The URL of a database with the tables of a journal, for all tests of a module."""
    url = cluster.create_database()
    initialize(url)
    try:
        yield url
    finally:
        cluster.drop_database(url)


@pytest.fixture
def url(tables: str) -> str:
    """The URL of that database, whose tables are empty."""
    empty_tables(tables)
    return tables
