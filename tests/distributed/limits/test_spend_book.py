"""Caps that the processes of a database share."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from graphorch.distributed.limits.shared_limits import PostgresLimits
from graphorch.errors import JournalError
from graphorch.journal.errors import StoreUnavailable
from graphorch.models.budgets.blocks import IDLE_SECONDS, NO_CAPS
from graphorch.models.budgets.budget import Account, Amount, Budget
from graphorch.models.budgets.ledger import Persistence
from tests.contracts.spend_contract import Scenario, Spender, every_spending_scenario, run
from tests.postgres.cluster import Cluster


def open_account(limits: PostgresLimits, name: str = "day") -> Account:
    persistence = Persistence(limits.spending, blocks=limits.spending)
    return Account(name, Budget(usd=1.0), persistence=persistence)


@every_spending_scenario
def test_contract(check: Scenario, url: str) -> None:
    """Spending in a database keeps the contract."""

    def enter() -> Spender:
        limits = PostgresLimits(url)
        return Spender(Persistence(limits.spending, blocks=limits.spending), limits.aclose)

    run(check, enter)


def test_calls_ask_for_blocks_only(url: str) -> None:
    """A hundred small calls take five blocks, of two statements each, and nothing else."""

    async def main() -> None:
        limits = PostgresLimits(url)
        account = open_account(limits)
        (await account.reserve(Amount(0.0001))).settle(Amount(0.0001))
        before = limits.statements
        for _ in range(100):
            (await account.reserve(Amount(0.0009))).settle(Amount(0.0009))
        assert limits.statements - before <= 10
        await limits.aclose()

    asyncio.run(main())


def test_unused_limits_connect_to_nothing() -> None:
    """Limits that are not asked for need no server."""
    asyncio.run(PostgresLimits("postgresql://nobody@127.0.0.1:1/nowhere").aclose())


def test_block_outlives_server(cluster: Cluster, url: str) -> None:
    """What is in hand is spent while the server is away; then calls wait for it."""

    async def main() -> None:
        limits = PostgresLimits(url, patience=0.5)
        account = open_account(limits)
        await account.reserve(Amount(0.001))
        with cluster.away():
            for _ in range(19):
                await account.reserve(Amount(0.001))
            with pytest.raises(JournalError, match=r"shared limits in .* could not be asked"):
                await account.reserve(Amount(0.001))
            assert account.spent.calls == 0
        await account.reserve(Amount(0.001))
        await limits.aclose()

    asyncio.run(main())


def test_call_waits_for_server(cluster: Cluster, url: str) -> None:
    """A call that needs a block while the server restarts gets it when the server is back."""

    async def main() -> None:
        limits = PostgresLimits(url)
        account = open_account(limits)
        await account.reserve(Amount(0.1))
        with cluster.away():
            waiting = asyncio.ensure_future(account.reserve(Amount(0.1)))
            await asyncio.sleep(0.3)
            assert not waiting.done()
        await waiting
        await limits.aclose()

    asyncio.run(main())


def test_late_statement_changes_nothing(url: str) -> None:
    """A change whose connection was lost, and that comes through late, is not made twice."""

    async def main() -> None:
        limits = PostgresLimits(url)
        account = open_account(limits)
        (await account.reserve(Amount(0.5))).settle(Amount(0.1))
        entry = await limits._thread.run(lambda: limits.spending._book.read("day"))
        await limits.aclose()  # returns 0.4, and reports it

        def change_late() -> bool:
            return limits.spending._book.change("day", entry, (0, 0, 0), (0, 0, 0), NO_CAPS)

        assert not await limits._thread.run(change_late)
        await limits.aclose()
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT usd FROM graphorch.spending").fetchone()
        assert row == (100_000_000_000,)

    asyncio.run(main())


def test_closing_meets_next_calls(url: str) -> None:
    """Calls that begin while the last run ends count as all others do."""

    async def main() -> None:
        limits = PostgresLimits(url)
        for _ in range(10):
            account = open_account(limits)
            (await account.reserve(Amount(0.02))).settle(Amount(0.02))
            closing = asyncio.ensure_future(limits.aclose())
            await asyncio.sleep(0)
            (await account.reserve(Amount(0.03))).settle(Amount(0.03))
            await closing
        await limits.aclose()
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT usd, calls FROM graphorch.spending").fetchone()
        assert row == (500_000_000_000, 20)

    asyncio.run(main())


def test_idle_limits_send_nothing(url: str) -> None:
    """Once everything is returned, no statement is sent any more."""
    assert IDLE_SECONDS >= 1

    async def main() -> None:
        limits = PostgresLimits(url)
        account = open_account(limits)
        (await account.reserve(Amount(0.5))).settle(Amount(0.1))
        await limits._thread.run(limits.spending.return_all)
        before = limits.statements
        await asyncio.sleep(1.2)
        assert limits.statements == before
        await limits.aclose()

    asyncio.run(main())


def test_missing_tables_are_named(cluster: Cluster) -> None:
    """A database without the tables is named, at once and with what to do."""

    async def main() -> None:
        limits = PostgresLimits(cluster.url())
        with pytest.raises(JournalError, match="graphorch db init") as caught:
            await open_account(limits).reserve(Amount(0.1))
        assert not isinstance(caught.value, StoreUnavailable)
        await limits.aclose()

    asyncio.run(main())
