"""Journals of runs in a PostgreSQL database, named by its URL."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from graphorch import Graph, RunFailed, node
from graphorch.journal.errors import StoreNotOpened
from graphorch.journal.postgres.setup import initialize
from graphorch.runs.stores import open_store


class Number(BaseModel):
    n: int = 0


class Sum(BaseModel):
    m: int = 0


class State(Number, Sum):
    pass


def test_users_of_url_share_store(database: str) -> None:
    """Runs of one process use one store for a URL, until the last of them ends."""
    initialize(database)

    async def main() -> None:
        async with open_store(database) as first:
            async with open_store(database) as second:
                assert second is first
            assert (await first.list_runs()).runs == ()
        async with open_store(database) as third:
            assert third is not first

    asyncio.run(main())


def test_database_without_tables_is_refused(database: str) -> None:
    """A database without tables is not changed, and the error names the command that makes them."""

    async def main() -> None:
        async with open_store(database):
            pass

    for _ in range(2):
        with pytest.raises(StoreNotOpened, match=r"has no tables .* Run `graphorch db init --db "):
            asyncio.run(main())


def test_run_continues_in_database(database: str) -> None:
    """A run that fails is resumed from the database, and what it committed runs no more."""
    initialize(database)
    calls: list[str] = []

    @node
    def first(number: Number) -> Sum:
        calls.append("first")
        return Sum(m=number.n + 1)

    @node
    def second(total: Sum) -> Number:
        calls.append("second")
        if calls.count("second") == 1:
            raise RuntimeError("once")
        return Number(n=total.m + 1)

    flow = Graph("counting", State, input=Number, output=Number).chain(first, second).build()

    async def main() -> None:
        with pytest.raises(RunFailed) as caught:
            await flow.run(Number(n=1), durable=database)
        result = await flow.resume(caught.value.run_id, durable=database)
        assert result.output == Number(n=3)
        await flow.replay(caught.value.run_id, durable=database)

    asyncio.run(main())
    assert calls == ["first", "second", "second"]
