"""Runs that are submitted share connections: those of the journal, and that of the queue."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from graphorch import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.journal.postgres.store import PostgresStore
from graphorch.runs.stores import open_store
from graphorch.runs.work_queues import open_queue, require_database
from tests.workers.flow_file import Task, flow
from tests.workers.processes import prepare_database

_COUNT = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def count_connections(url: str) -> int:
    """Return how many connections to a database there are."""
    with psycopg.connect(url) as connection:
        row = connection.execute(_COUNT).fetchone()
        return row[0] if row is not None else 0


def test_submitted_runs_share_connections(database: str) -> None:
    """A hundred runs that are submitted at once need three connections, which close with them."""
    prepare_database(database)

    async def main() -> int:
        async with open_store(database):
            await asyncio.gather(*(flow.submit(Task(), durable=database) for _ in range(100)))
            return count_connections(database)

    assert asyncio.run(main()) == 3
    assert count_connections(database) == 0


def test_store_keeps_its_queue(database: str) -> None:
    """A store of the caller keeps the queue open from one submit to the next, until it closes."""
    prepare_database(database)

    async def main() -> None:
        store = await PostgresStore.open(database)
        try:
            run_ids = [await flow.submit(Task(), durable=store) for _ in range(3)]
            queues = [await open_queue(store) for _ in range(2)]
            assert queues[0].engine is queues[1].engine
            assert await queues[0].placed_runs.find(run_ids[0]) is not None
            assert count_connections(database) == 3
            await flow.send_stop(run_ids[0], durable=store, wait=False)
            assert len(await store.list_letters(run_ids[0])) == 1
        finally:
            await store.close()

    asyncio.run(main())
    assert count_connections(database) == 0


def test_first_users_open_one_store(database: str) -> None:
    """Runs that begin together wait for one store; an error of it is the error of all."""
    prepare_database(database)

    async def main(url: str) -> set[int]:
        together = asyncio.Barrier(5)

        async def use() -> int:
            async with open_store(url) as store:
                await together.wait()
                return id(store)

        found = await asyncio.gather(*(use() for _ in range(5)), return_exceptions=True)
        return {each if isinstance(each, int) else id(each) for each in found}

    assert len(asyncio.run(main(database))) == 1
    assert len(asyncio.run(main("postgresql://me@127.0.0.1:1/none"))) == 1


@pytest.mark.parametrize(
    "durable", [False, "runs.sqlite", MemoryStore()], ids=["memory", "file", "store"]
)
def test_other_journals_are_refused(durable: object) -> None:
    """A journal that no workers share takes no runs for them."""
    with pytest.raises(InputError, match="which share a PostgreSQL database"):
        require_database(durable, "submit()")  # pyright: ignore[reportArgumentType]
