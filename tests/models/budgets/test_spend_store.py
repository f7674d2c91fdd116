"""Stores of spending that several processes share."""

from __future__ import annotations

import pytest

from graphorch.clock import Runtime
from graphorch.models.budgets.budget import Account, Amount, Budget, CapReached
from graphorch.models.budgets.ledger import Persistence
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from tests.models.virtual import run


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path):
    """Open one store twice, as two processes would."""
    if request.param == "memory":
        store = MemorySpend()
        yield store, store
    else:
        first, second = SqliteSpend(tmp_path / "spend.db"), SqliteSpend(tmp_path / "spend.db")
        yield first, second
        first.close()
        second.close()


def test_store_continues_the_day(stores) -> None:
    """Continue a day where an earlier process ended."""

    async def main(runtime: Runtime) -> None:
        first = Account("day", Budget(usd=1.0), persistence=Persistence(stores[0]))
        (await first.reserve(Amount(0.9))).settle(Amount(0.7))
        second = Account("day", Budget(usd=1.0), persistence=Persistence(stores[1]))
        assert second.left.usd == pytest.approx(0.3)
        with pytest.raises(CapReached):
            await second.reserve(Amount(0.4))

    run(main)


def test_store_bounds_concurrent_processes(stores) -> None:
    """Hold a cap that two processes share."""

    async def main(runtime: Runtime) -> None:
        first = Account("day", Budget(usd=1.0), persistence=Persistence(stores[0]))
        second = Account("day", Budget(usd=1.0), persistence=Persistence(stores[1]))
        held = await first.reserve(Amount(0.7))
        with pytest.raises(CapReached):
            await second.reserve(Amount(0.4))
        held.settle(Amount(0.1))
        (await second.reserve(Amount(0.4))).settle(Amount(0.4))
        assert stores[0].add("day", (0, 0, 0)) == (500_000_000_000, 0, 2)

    run(main)


def test_store_keeps_crashed_reservations(stores) -> None:
    """Keep counting the reservation of a process that crashed."""

    async def main(runtime: Runtime) -> None:
        await Account("day", Budget(usd=1.0), persistence=Persistence(stores[0])).reserve(
            Amount(0.7)
        )
        assert Account(
            "day", Budget(usd=1.0), persistence=Persistence(stores[1])
        ).left.usd == pytest.approx(0.3)

    run(main)
