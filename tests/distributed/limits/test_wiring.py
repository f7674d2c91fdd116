"""Runs in a database count at its limits; all others stay as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from graphorch import RunFailed
from graphorch.distributed.limits.shared_limits import PostgresLimits
from graphorch.journal.errors import StoreClosed
from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from graphorch.models.budgets.budget import CapReached
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router
from graphorch.runs.clients import open_shared_limits, share_router
from graphorch.runs.stores import find_database
from tests.distributed.limits.spender import FLOW, Topic
from tests.forks import run_in_fork
from tests.models.config.files import trust_config, write_config
from tests.models.servers import completion, replies, serve

CONFIG = """
[endpoints.main]
base_url = "{url}"
free = true

[budgets.day]
calls = {calls}
"""
URL = "postgresql://user@127.0.0.1:1/nowhere"


def read_calls(database: str) -> int | None:
    """Return the calls that the database counts for the day."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT calls FROM graphorch.spending").fetchone()
    return None if row is None else int(row[0])


def test_run_counts_in_database(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day of a run in a database is counted there, by URL and by store; others are not."""
    initialize(database)
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with serve(replies(completion("fine"))) as server:
            trust_config(write_config(tmp_path, CONFIG.format(url=server.url, calls=3)))
            await FLOW.run(Topic())
            await FLOW.run(Topic(), durable=str(tmp_path / "runs.sqlite"))
            assert read_calls(database) is None
            first = await FLOW.run(Topic(), durable=database)
            store = await PostgresStore.open(database)
            await FLOW.run(Topic(), durable=store)
            await store.close()
            assert read_calls(database) == 2
            assert (await FLOW.replay(first.run_id, durable=database)).output.draft == "fine"
            assert read_calls(database) == 2

    asyncio.run(main())


def test_refused_run_goes_on_under_larger_cap(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that the cap of the day refused is resumed once the cap is larger, and counts once."""
    initialize(database)
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with serve(replies(completion("fine"))) as server:
            trust_config(write_config(tmp_path, CONFIG.format(url=server.url, calls=1)))
            await FLOW.run(Topic(), durable=database)
            with pytest.raises(RunFailed) as caught:
                await FLOW.run(Topic(), durable=database)
            assert caught.value.subgroup(CapReached) is not None
            assert read_calls(database) == 1
            trust_config(write_config(tmp_path, CONFIG.format(url=server.url, calls=2)))
            await FLOW.resume(caught.value.run_id, durable=database)
            assert read_calls(database) == 2

    asyncio.run(main())


def test_own_router_is_left_alone(database: str) -> None:
    """A client that the caller passes counts where it did."""
    initialize(database)

    async def main() -> None:
        async with serve(replies(completion("fine"))) as server:
            tables = {
                "endpoints": {"main": {"base_url": server.url, "free": True}},
                "budgets": {"day": {"calls": 5}},
            }
            client = share_router(Router(parse_config(tables)))
            await FLOW.run(Topic(), durable=database, client=client)
        assert read_calls(database) is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("durable", "found"), [(False, ""), ("runs.sqlite", ""), (URL, URL), (object(), "")],
    ids=["memory", "file", "url", "other"],
)  # fmt: skip
def test_limits_are_those_of_database(durable: object, found: str) -> None:
    """Only a journal in a database has limits that processes share."""
    assert find_database(durable) == found  # pyright: ignore[reportArgumentType]
    assert (open_shared_limits(durable) is None) == (not found)  # pyright: ignore[reportArgumentType]


def test_default_journal_may_be_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default journal is a database if GRAPHORCH_DB names it."""
    monkeypatch.setenv("GRAPHORCH_DB", URL)
    assert find_database(True) == URL


def test_fork_opens_its_own_limits() -> None:
    """A fork cannot use the connection of its parent, and is told so."""
    limits = PostgresLimits(URL)

    def use() -> bool:
        with pytest.raises(StoreClosed, match="is a fork"):
            limits.rates.pause("m", 0.0)
        return True

    assert run_in_fork(use)
