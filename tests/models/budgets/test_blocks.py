"""Blocks of a cap that processes draw from a shared book, and spend."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from graphorch.models.budgets.blocks import IDLE_SECONDS, BlockSpend, BookEntry, compute_grant
from graphorch.models.budgets.budget import Account, Amount, Budget, CapReached
from graphorch.models.budgets.ledger import PICO, Caps, Persistence, Units
from tests.contracts.spend_contract import Scenario, Spender, every_spending_scenario, run
from tests.models.budgets.books import MemoryBook, Pages, run_at_once

CENT = PICO // 100


def enter_from(pages: Pages) -> Callable[[], Spender]:
    numbers = itertools.count()

    def enter() -> Spender:
        spend = BlockSpend(MemoryBook(pages, next(numbers)), run_at_once)

        async def leave() -> None:
            spend.return_all()

        return Spender(Persistence(spend, blocks=spend), leave)

    return enter


@every_spending_scenario
def test_contract(check: Scenario) -> None:
    """Blocks of a shared book keep the contract of a store of spending."""
    run(check, enter_from(Pages()))


class Process:
    """A process with a clock that the test sets."""

    def __init__(self, pages: Pages, number: int = 0) -> None:
        self.now = 0.0
        self.spend = BlockSpend(MemoryBook(pages, number), run_at_once, lambda: self.now)

    def open(self, budget: Budget, name: str = "day") -> Account:
        return Account(name, budget, persistence=Persistence(self.spend, blocks=self.spend))


@pytest.mark.parametrize(
    ("total", "need", "granted"),
    [
        (0, 1, 2),  # a fiftieth of the cap
        (0, 5, 5),  # at least the need
        (92, 1, 1),  # an eighth of what is left
        (99, 1, 1),
        (99, 2, None),
    ],
)
def test_grant_is_small_share(total: int, need: int, granted: int | None) -> None:
    """A block is a fiftieth of the cap, less near its end, and covers the need."""
    entry = BookEntry(total=(total * CENT, 0, 0))
    given = compute_grant(entry, (0, 0, 0), (need * CENT, 0, 0), (100 * CENT, None, None))
    assert given == (None if granted is None else (granted * CENT, 0, 0))


def test_block_is_spent_without_book() -> None:
    """A hundred small calls of a process take as few changes of the book as there are blocks."""

    async def main() -> None:
        pages = Pages()
        account = Process(pages).open(Budget(usd=1.0))
        for _ in range(100):
            (await account.reserve(Amount(0.001))).settle(Amount(0.001))
        assert pages.changes == 5  # two cents each

    asyncio.run(main())


def test_idle_block_comes_back() -> None:
    """What lies in hand idle goes back to the book, and is drawn again when it is needed."""

    async def main() -> None:
        pages = Pages()
        process = Process(pages)
        account = process.open(Budget(usd=1.0))
        await _spend(account, 0.001)
        assert pages.totals["day"][0] == 2 * CENT
        process.spend.tidy()
        assert pages.totals["day"][0] == 2 * CENT
        process.now += IDLE_SECONDS
        process.spend.tidy()
        assert pages.totals["day"] == (CENT // 10, 0, 1)
        assert not process.spend.needs_tidying
        await _spend(account, 0.001)

    asyncio.run(main())


def test_large_rest_comes_back() -> None:
    """After calls that cost far less than their worst case, at most two blocks stay in hand."""

    async def main() -> None:
        pages = Pages()
        process = Process(pages)
        account = process.open(Budget(usd=1.0))
        held = [await account.reserve(Amount(0.05)) for _ in range(10)]
        for reservation in held:
            reservation.settle(Amount(0.001))
        process.spend.tidy()
        assert process.spend.find_room("day")[0] <= 5 * CENT
        assert pages.totals["day"][0] <= 6 * CENT

    asyncio.run(main())


def test_killed_process_loses_little() -> None:
    """A process that is gone keeps what it spent and its block counted, and no more."""

    async def main() -> None:
        pages = Pages()
        await _spend(Process(pages, 1).open(Budget(usd=1.0)), 0.001)
        other = Process(pages, 2).open(Budget(usd=1.0))
        await _spend(other, 0.98)
        with pytest.raises(CapReached, match="set aside by 1 other process and not"):
            await other.reserve(Amount(0.01))

    asyncio.run(main())


def test_refusal_names_no_others_without_reason() -> None:
    """A refusal does not speak of other processes if they have used what they drew."""

    async def main() -> None:
        pages = Pages()
        first = Process(pages, 1)
        await _spend(first.open(Budget(usd=1.0)), 0.5)
        first.spend.return_all()
        with pytest.raises(CapReached) as caught:
            await Process(pages, 2).open(Budget(usd=1.0)).reserve(Amount(0.6))
        assert "Another" not in str(caught.value)

    asyncio.run(main())


def test_lost_acknowledgement_loses_nothing() -> None:
    """A grant whose acknowledgement got lost is found at the next look, and not made twice."""

    class Losing(MemoryBook):
        fails = 1

        def change(
            self, key: str, entry: BookEntry, granted: Units, used: Units, caps: Caps
        ) -> bool:
            super().change(key, entry, granted, used, caps)
            if self.fails:
                self.fails -= 1
                raise OSError("the connection broke")
            return True

    async def run_twice(function):
        try:
            return function()
        except OSError:
            return function()

    async def main() -> None:
        pages = Pages()
        spend = BlockSpend(Losing(pages, 1), run_twice)
        account = Account("day", Budget(usd=1.0), persistence=Persistence(spend, blocks=spend))
        await _spend(account, 0.1)
        assert pages.totals["day"][0] == 10 * CENT

    asyncio.run(main())


def test_day_goes_by_clock_of_book() -> None:
    """The date is that of the book, and goes on with the time that passes here."""

    async def main() -> None:
        process = Process(Pages())
        await process.spend.learn("day")
        assert process.spend.today() == "2026-01-01"
        process.now += 86_399
        assert process.spend.today() == "2026-01-01"
        process.now += 1
        assert process.spend.today() == "2026-01-02"

    asyncio.run(main())


def test_period_begins_anew() -> None:
    """A new period starts with nothing spent, and a call over its end belongs to the old one."""

    async def main() -> None:
        pages = Pages()
        process = Process(pages)
        persistence = Persistence(process.spend, process.spend.today, process.spend)
        account = Account("day", Budget(usd=1.0), persistence=persistence)
        over_midnight = await account.reserve(Amount(0.9))
        process.now += 86_400
        pages.now += 86_400
        await _spend(account, 0.1)
        over_midnight.settle(Amount(0.9))
        process.spend.return_all()
        assert {key: total[0] for key, total in pages.totals.items() if total[0]} == {
            "day 2026-01-01": 90 * CENT,
            "day 2026-01-02": 10 * CENT,
        }

    asyncio.run(main())


def test_cancelled_draw_takes_nothing() -> None:
    """A call that is cancelled while it draws reserves nothing, and leaves the block in hand."""

    async def main() -> None:
        pages = Pages()
        process = Process(pages)
        account = process.open(Budget(usd=1.0))
        await _spend(account, 0.001)
        call = asyncio.ensure_future(account.reserve(Amount(0.5)))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert account.level.reserved == (0, 0, 0)
        await _spend(account, 0.9)

    asyncio.run(main())


def test_unreturned_share_is_not_spent_twice() -> None:
    """A process whose share could not be struck out goes on with what it had used of it."""

    class Away(MemoryBook):
        def leave(self, key: str) -> None:
            raise OSError("the server is away")

    async def main() -> None:
        pages = Pages()
        spend = BlockSpend(Away(pages, 1), run_at_once)

        def open_account() -> Account:
            persistence = Persistence(spend, blocks=spend)
            return Account("day", Budget(usd=1.0), persistence=persistence)

        await _spend(open_account(), 0.7)
        with pytest.raises(OSError, match="away"):
            spend.return_all()
        account = open_account()
        with pytest.raises(CapReached):
            await account.reserve(Amount(0.4))
        await _spend(account, 0.3)
        assert pages.totals["day"][0] == 100 * CENT

    asyncio.run(main())


def test_late_settlement_comes_back() -> None:
    """What is settled after everything was returned goes back to the book, too."""

    async def main() -> None:
        pages = Pages()
        process = Process(pages)
        account = process.open(Budget(usd=1.0))
        held = await account.reserve(Amount(0.9))
        process.spend.return_all()
        assert pages.totals["day"][0] == 90 * CENT
        held.settle(Amount(0.2))
        process.spend.return_all()
        assert pages.totals["day"] == (20 * CENT, 0, 1)
        await _spend(process.open(Budget(usd=1.0)), 0.8)
        with pytest.raises(CapReached):
            await account.reserve(Amount(0.01))

    asyncio.run(main())


async def _spend(account: Account, usd: float) -> None:
    (await account.reserve(Amount(usd))).settle(Amount(usd))
