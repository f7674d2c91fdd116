"""The private server that tests use."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.postgres.cluster import Cluster


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


def test_server_starts_once() -> None:
    """No test file imports the fixture of the server, which would start a server of its own."""
    tests = Path(__file__).parents[1]
    importing = "from tests.postgres." + "fixtures import"
    files = [path for path in tests.rglob("*.py") if importing in path.read_text("utf-8")]
    assert files == [tests / "conftest.py"]
