"""The index of a database on a server: a file of the user, made again whenever it does not fit."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from graphorch.trace.analysis import statistics
from graphorch.trace.spans.index import CatchUp, SpanIndex
from graphorch.trace.spans.redaction import Redaction
from tests.postgres.cluster import Cluster
from tests.postgres.databases import empty_tables
from tests.trace.running import ran


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Iterator[str]:
    """A database with the tables of graphorch, for all tests of this module."""
    url = cluster.create_database()
    initialize(url)
    yield url
    cluster.drop_database(url)


@pytest.fixture
def url(database: str, folder: Path) -> str:
    """The database without runs."""
    empty_tables(database)
    return database


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of files that can be made again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "graphorch"


async def add(url: str, *run_ids: str) -> None:
    """Run a flow once for each id."""
    store = await PostgresStore.open(url)
    for run_id in run_ids:
        await ran(run_id, store=store)
    await store.close()


async def count(url: str, *, key: str | None = None) -> tuple[CatchUp, int]:
    """Open the index as a new process does, and return what it read, and the runs in it."""
    store = await PostgresStore.open(url, key=key)
    try:
        with SpanIndex.open(store) as index:
            progress = await index.catch_up(store)
            return progress, sum(row.runs for row in statistics.runs(index))
    finally:
        await store.close()


def list_files(folder: Path) -> list[Path]:
    return list(folder.glob("*"))


def test_index_of_database_is_kept(url: str, folder: Path) -> None:
    """Each time only new runs are read, and the file is for its owner only."""

    async def main() -> None:
        await add(url, "a", "b")
        first, runs = await count(url)
        assert (first.runs, runs) == (2, 2)
        await add(url, "c")
        second, runs = await count(url)
        assert (second.runs, runs) == (1, 3)
        assert (await count(url))[0].runs == 0

    asyncio.run(main())
    (file,) = list_files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_missing_index_is_made_again(url: str, folder: Path) -> None:
    """A file that was deleted, or is something else, costs reading everything again."""

    async def main() -> None:
        await add(url, "a")
        for spoil in (Path.unlink, lambda path: path.write_text("not a database" * 100)):
            await count(url)
            for file in list_files(folder):
                spoil(file)
            assert [(progress.runs, runs) for progress, runs in [await count(url)]] == [(1, 1)]

    asyncio.run(main())


def test_index_of_new_tables_is_new(cluster: Cluster, folder: Path) -> None:
    """Runs of a database that was made anew are not taken for those of the one before."""
    url = cluster.create_database()

    async def main() -> None:
        for _ in range(2):
            initialize(url)
            await add(url, "a")
            progress, runs = await count(url)
            assert (progress.runs, runs) == (1, 1)
            with psycopg.connect(url) as connection:
                connection.execute("DROP SCHEMA graphorch CASCADE")

    asyncio.run(main())
    cluster.drop_database(url)


def test_deleted_runs_leave_index(url: str, folder: Path) -> None:
    """What was erased or pruned in the database goes with the next look, and ids may come back."""

    async def main() -> None:
        await add(url, "a", "b", "c")
        await count(url)
        store = await PostgresStore.open(url)
        await store.erase("a")
        await store.prune(before=1e12, statuses=["succeeded"])
        await store.close()
        assert (await count(url))[1] == 0
        await add(url, "c")
        progress, runs = await count(url)
        assert (progress.runs, runs) == (1, 1)

    asyncio.run(main())


def test_run_of_same_id_is_read_again(url: str, folder: Path) -> None:
    """A run that was deleted and made anew since the last look is another run."""

    async def main() -> None:
        await add(url, "a")
        await count(url)
        store = await PostgresStore.open(url)
        await store.prune(before=1e12, statuses=["succeeded"])
        await store.close()
        await add(url, "a")
        assert (await count(url))[0].runs == 1

    asyncio.run(main())


def test_index_is_not_kept_where_it_must_not(url: str, folder: Path) -> None:
    """Neither with a key, nor with rules of the caller's own, nor without a folder for it."""

    async def main() -> None:
        await add(url, "a")
        for _ in range(2):
            assert (await count(url, key="k" * 32))[0].runs == 1
        store = await PostgresStore.open(url)
        with SpanIndex.open(store, redaction=Redaction()) as index:
            assert (await index.catch_up(store)).runs == 1
        await store.close()
        assert not list_files(folder)
        folder.parent.joinpath("graphorch").write_text("a file where the folder would be")
        for _ in range(2):
            assert (await count(url))[0].runs == 1

    asyncio.run(main())
