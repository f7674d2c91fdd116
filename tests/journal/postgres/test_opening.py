"""What cannot be opened as a store is one clear error, which never shows a password."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from graphorch.errors import GraphorchError
from graphorch.journal.errors import NewerFormat, NotAJournal, StoreNotOpened, StoreReadOnly
from graphorch.journal.postgres import schema
from graphorch.journal.postgres.setup import initialize, refuse_server, upgrade
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewRun
from tests.postgres.cluster import Cluster
from tests.postgres.proxies import TransactionPooler, running

SECRET = "s3cret-word"


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def refuse(url: str, kind: type[GraphorchError] = StoreNotOpened) -> str:
    """Return the message of the error of opening a store."""
    with pytest.raises(kind) as caught:
        asyncio.run(PostgresStore.open(url))
    text = "".join(traceback.format_exception(caught.value))
    assert SECRET not in text
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_password(url: str) -> str:
    return url.replace("postgres@", f"reader:{SECRET}@")


def test_missing_database_is_named(cluster: Cluster) -> None:
    """A database that does not exist is named."""
    message = refuse(cluster.url("nothing").replace("postgres@", f"postgres:{SECRET}@"))
    assert 'database "nothing" does not exist' in message
    assert message.endswith("Create it, or correct the URL.")


@pytest.fixture
def password_needed(cluster: Cluster) -> Iterator[None]:
    """The server wants a password of the user `reader`."""
    file = Path(cluster.folder) / "data" / "pg_hba.conf"
    content = file.read_text()
    cluster.execute("CREATE ROLE reader LOGIN PASSWORD 'other'")
    file.write_text(f"host all reader 127.0.0.1/32 scram-sha-256\n{content}")
    cluster.execute("SELECT pg_reload_conf()")
    yield
    file.write_text(content)
    cluster.execute("SELECT pg_reload_conf()")
    cluster.execute("DROP ROLE reader")


@pytest.mark.usefixtures("password_needed")
def test_wrong_password_is_not_shown(database: str) -> None:
    """A wrong password is refused without being shown."""
    message = refuse(with_password(database))
    assert "Check the user and the password" in message


@pytest.mark.usefixtures("password_needed")
def test_password_comes_from_file(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passwords come from where libpq looks for them."""
    initialize(database)
    execute(database, "GRANT ALL ON SCHEMA graphorch TO reader")
    execute(database, "GRANT ALL ON ALL TABLES IN SCHEMA graphorch TO reader")
    file = tmp_path / "passwords"
    file.write_text("*:*:*:reader:other\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))

    async def main() -> None:
        store = await PostgresStore.open(database.replace("postgres@", "reader@"))
        assert (await store.list_runs()).runs == ()
        await store.close()

    asyncio.run(main())


def test_unreachable_server_is_refused() -> None:
    """A server that is not there is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    message = refuse(f"postgresql://me:{SECRET}@127.0.0.1:{port}/runs")
    assert "Start the server, or correct the host and the port." in message


def test_unknown_option_is_refused(database: str) -> None:
    """An option that libpq does not know is refused without repeating it."""
    message = refuse(f"{database}?pasword={SECRET}")
    assert "has options that libpq does not know" in message


def test_missing_tables_are_not_made(database: str) -> None:
    """Opening makes no tables; the error names the command that does."""
    assert "Run `graphorch db init --db postgresql://" in refuse(database)
    with pytest.raises(StoreNotOpened, match="graphorch db init"):
        upgrade(database)
    with psycopg.connect(database) as connection:
        query = "SELECT to_regnamespace('graphorch')"
        assert connection.execute(query).fetchone() == (None,)


def test_tables_of_other_versions_are_refused(database: str) -> None:
    """Tables of a later version are not touched, and those of an earlier one need an upgrade."""
    initialize(database)
    execute(database, f"UPDATE graphorch.schema_version SET version = {schema.VERSION + 1}")
    message = refuse(database, NewerFormat)
    assert "made by a later version of graphorch" in message
    with pytest.raises(NewerFormat):
        upgrade(database)
    execute(database, "DROP SCHEMA graphorch CASCADE")
    execute(database, "CREATE SCHEMA graphorch")
    assert "of another program" in refuse(database, NotAJournal)


def test_read_only_server_is_refused(cluster: Cluster, database: str) -> None:
    """A database that may only be read is refused."""
    initialize(database)
    name = database.rpartition("/")[2]
    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "Connect to the primary server" in refuse(database, StoreReadOnly)


def test_encoding_without_all_characters_is_refused(cluster: Cluster) -> None:
    """A database must hold every character."""
    cluster.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "has the encoding LATIN1" in refuse(cluster.url("latin"))
    cluster.execute("DROP DATABASE latin")


def test_old_server_is_refused() -> None:
    """A server before PostgreSQL 13 is refused with its version."""
    refuse_server(130_000, "13.0", "UTF8", False, place="x")
    with pytest.raises(StoreNotOpened, match=r"is PostgreSQL 12\.22, which is too old"):
        refuse_server(120_022, "12.22", "UTF8", False, place="x")


def test_pooler_in_transaction_mode_is_refused(database: str) -> None:
    """Two connections that share a process of the server are behind a pooler."""
    initialize(database)
    pooler = TransactionPooler(database)
    with running(pooler):
        assert "is behind a pooler in transaction mode" in refuse(pooler.url)


def test_store_shows_no_password(database: str) -> None:
    """What a store shows of its URL has no password."""
    initialize(database)

    async def main() -> None:
        store = await PostgresStore.open(database.replace("postgres@", f"postgres:{SECRET}@"))
        assert repr(store) == f"PostgresStore('{database}')"
        await store.close()

    asyncio.run(main())


def test_tables_are_made_once(database: str) -> None:
    """Two processes may make the tables at once, and again."""

    async def main() -> None:
        made = await asyncio.gather(*(asyncio.to_thread(initialize, database) for _ in range(4)))
        assert sorted(made) == [False, False, False, True]
        assert await asyncio.to_thread(upgrade, database) == schema.VERSION

    asyncio.run(main())


def test_tables_of_version_1_are_upgraded(database: str) -> None:
    """A database of the first version is refused with the way out, and used after an upgrade."""
    for statement in schema.MIGRATIONS[0]:
        execute(database, statement)
    execute(database, "UPDATE graphorch.schema_version SET version = 1")

    assert "has tables of version 1" in refuse(database)

    async def main() -> None:
        assert await asyncio.to_thread(upgrade, database) == 1  # the version that it had
        store = await PostgresStore.open(database)
        for run_id in ("run-1", "run-2"):
            await store.create(NewRun(run_id, "flow", "f", 6))
        one, two = [await store.claim(f"run-{number}", "me", ttl=60) for number in (1, 2)]
        assert await store.enter_regions(one, ["db"])
        assert not await store.enter_regions(two, ["db"])
        await store.leave_regions(one, ["db"])
        assert await store.enter_regions(two, ["db"])
        await store.close()

    asyncio.run(main())
