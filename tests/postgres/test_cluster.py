"""The private server that tests use."""

from __future__ import annotations

import psycopg
import pytest

from tests.postgres.cluster import Cluster
from tests.postgres.fixtures import cluster, database

__all__ = ["cluster", "database"]


def test_database_is_empty(database: str) -> None:
    """Each test has an empty database of its own."""
    with psycopg.connect(database) as connection:
        query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        assert connection.execute(query).fetchone() == (0,)


def test_crash_ends_connections(cluster: Cluster, database: str) -> None:
    """A restart cuts every connection, and the server is there again."""
    with psycopg.connect(database, autocommit=True) as connection:
        cluster.restart()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
