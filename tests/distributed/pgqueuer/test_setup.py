"""The tables of the queue are made and upgraded by processes that may do so at the same time."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import psycopg
import pytest

from graphorch.distributed.errors import EngineNotReady
from graphorch.distributed.pgqueuer.adapter import PgQueuerEngine
from graphorch.distributed.pgqueuer.names import make_settings
from graphorch.distributed.pgqueuer.setup import install_queue
from tests.postgres.cluster import Cluster


def list_tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE tablename ~ 'pgqueuer'"
        return sorted(name for (name,) in connection.execute(query))


def test_installs_side_by_side(database: str) -> None:
    """Processes that install the queue at the same time, and later again, have one queue."""

    async def main() -> None:
        await asyncio.gather(*(install_queue(database) for _ in range(4)))
        tables = list_tables(database)
        await install_queue(database)
        assert list_tables(database) == tables
        engine = await PgQueuerEngine.open(database)
        assert list(await engine.read_health()) == []
        await engine.close()

    asyncio.run(main())
    assert all(name.startswith("graphorch.pgqueuer") for name in list_tables(database))


def test_install_mends_half_made_queue(database: str) -> None:
    """An installation that was interrupted, or of an earlier version, is completed."""
    asyncio.run(install_queue(database))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE graphorch.pgqueuer DROP COLUMN headers")
        connection.execute("DROP TABLE graphorch.pgqueuer_log")
    with pytest.raises(EngineNotReady, match="another version"):
        asyncio.run(open_and_close(database))
    asyncio.run(install_queue(database))
    asyncio.run(open_and_close(database))


async def open_and_close(url: str) -> None:
    await (await PgQueuerEngine.open(url)).close()


def test_settings_ignore_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """PgQueuer's environment variables rename none of the tables."""
    before = make_settings()
    for name in ("PREFIX", "SCHEMA", "CHANNEL", "QUEUE_TABLE", "DURABILITY"):
        monkeypatch.setenv(f"PGQUEUER_{name}", "volatile" if name == "DURABILITY" else "other")
        monkeypatch.setenv(name, "volatile" if name == "DURABILITY" else "other")
    assert make_settings() == before


def test_missing_rights_are_named(cluster: Cluster, database: str) -> None:
    """A user who may not make tables is told so."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS weak")
        connection.execute("CREATE ROLE weak LOGIN")
        connection.execute("CREATE SCHEMA graphorch")
    url = database.replace("postgres@", "weak@")
    with pytest.raises(EngineNotReady, match=r"permission denied.*may write the schema graphorch"):
        asyncio.run(install_queue(url))


def test_missing_package_is_named() -> None:
    """Without PgQueuer, an error names what to install."""
    code = (
        "import sys; sys.modules['pgqueuer'] = None\n"
        "from graphorch.distributed.errors import EngineNotReady\n"
        "try:\n    import graphorch.distributed.pgqueuer.adapter\n"
        "except EngineNotReady as error:\n    print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'graphorch[postgres]'" in ended.stdout
