"""Notes in a PostgreSQL database keep the contract, also where connections are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from graphorch.distributed.postgres_results.adapter import PostgresResults
from graphorch.distributed.postgres_results.notes_table import NotesTable
from graphorch.distributed.results import Note, Results
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewRun
from tests.contracts.results_contract import CASES, RUN, Bench, Reader, note


def run(url: str, case: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a case with ports to one database."""

    async def connect() -> Results:
        return await PostgresResults.open(url)

    async def main() -> None:
        bench = Bench(connect)
        try:
            await case(bench)
        finally:
            await bench.close()

    asyncio.run(main())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_contract_holds_in_postgres(case: Callable[[Bench], Awaitable[None]], url: str) -> None:
    """Notes in a database keep what the port promises."""
    run(url, case)


def test_cut_connections_lose_nothing(url: str) -> None:
    """Notes arrive although the server has ended all connections in between."""

    async def case(bench: Bench) -> None:
        here, there, reader = await bench.open(), await bench.open(), Reader()
        await here.watch(RUN, reader)
        for number in range(3):
            assert await there.post(note(str(number), b"%d" % number))
            _cut_all(url)
        assert await reader.wait_for(3) == [b"0", b"1", b"2"]

    run(url, case)


def test_late_commit_is_found(url: str) -> None:
    """A note of a transaction that began earlier and commits later is not left out."""

    async def case(bench: Bench) -> None:
        here, there, reader = await bench.open(), await bench.open(), Reader()
        await here.watch(RUN, reader)
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO graphorch.notes (run_id, topic, key, body) VALUES (%s, %s, 'a', '')",
                (RUN, RUN),
            )
            await there.post(note("b"))
            await reader.wait_for(1)
            await asyncio.sleep(0.1)
        await reader.wait_for(2)
        assert [each.key for each in reader.notes] == ["b", "a"]

    run(url, case)


def test_erased_run_has_no_notes(url: str) -> None:
    """What a note says of a run is erased with the run."""

    async def main() -> None:
        store, results = await PostgresStore.open(url), await PostgresResults.open(url)
        for run_id in ("gone", "kept"):
            await store.create(NewRun(run_id, "flow", "print", 6))
            await results.post(Note(run_id, run_id, "a", b"a secret"))
        await store.erase("gone")
        for run_id, count in (("gone", 0), ("kept", 1)):
            reader = Reader()
            await results.watch(run_id, reader)
            assert len(reader.notes) == count
        await results.close()
        await store.close()

    asyncio.run(main())


def test_late_notes_of_run_at_rest_are_tidied(url: str) -> None:
    """What comes after a run was at rest goes minutes later; a run under way keeps its notes."""

    async def main() -> None:
        store, results = await PostgresStore.open(url), await PostgresResults.open(url)
        for run_id in ("over", "running"):
            await store.create(NewRun(run_id, "flow", "print", 6))
            await results.post(Note(run_id, run_id, "late", b""))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE graphorch.runs SET status = 'stopped' WHERE run_id = 'over'")
            connection.execute("UPDATE graphorch.notes SET posted_at = posted_at - 590")
            NotesTable(connection).drop_old()
            assert await results.has("over", "late")
            connection.execute("UPDATE graphorch.notes SET posted_at = posted_at - 11")
            NotesTable(connection).drop_old()
        assert [await results.has(run_id, "late") for run_id in ("over", "running")] == [
            False,
            True,
        ]
        await results.close()
        await store.close()

    asyncio.run(main())


def _cut_all(url: str) -> None:
    """End all other connections to a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
