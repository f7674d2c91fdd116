"""Fixtures of tests that need PostgreSQL: import them where they are used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.cluster import Cluster, find_programs


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running PostgreSQL server, one for all tests of this process."""
    if find_programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    started = Cluster.start(tmp_path_factory.mktemp("postgres"))
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
