"""Fixtures of tests that need PostgreSQL: import them where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.postgres.cluster import Cluster, find_programs


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
