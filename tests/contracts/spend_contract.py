"""Contract of what keeps spending beyond a process, as checks that run on any of them.

The tests of a store parametrize a test with `every_spending_scenario`. Each process of a check has
the store opened for itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from graphorch.models.budgets.budget import (
    Account,
    Alert,
    Amount,
    Budget,
    CapReached,
    CapRules,
)
from graphorch.models.budgets.ledger import Persistence


@dataclass(frozen=True)
class Spender:
    """A process that spends; `leave` ends it in order, without it the process is just gone."""

    persistence: Persistence
    leave: Callable[[], Awaitable[None]]

    def open(
        self, budget: Budget, name: str = "day", *, period: str = "", rules: CapRules | None = None
    ) -> Account:
        """Open the account of a level that is kept."""
        persistence = replace(self.persistence, period=lambda: period)
        return Account(name, budget, rules=rules, persistence=persistence)


@dataclass
class SpendBench:
    """Store under test: `enter` opens it for another process."""

    enter: Callable[[], Spender]
    spenders: list[Spender] = field(default_factory=list[Spender])

    def begin(self) -> Spender:
        """Return a new process."""
        self.spenders.append(self.enter())
        return self.spenders[-1]


Scenario = Callable[[SpendBench], Awaitable[None]]
SCENARIOS: list[Scenario] = []


def scenario(check: Scenario) -> Scenario:
    """Add a check to the contract."""
    SCENARIOS.append(check)
    return check


def every_spending_scenario(test: Callable[..., None]) -> Callable[..., None]:
    """Parametrize the test of a store with the whole contract."""
    return pytest.mark.parametrize("check", SCENARIOS, ids=lambda check: check.__name__)(test)


def run(check: Scenario, enter: Callable[[], Spender]) -> None:
    """Run a check on a fresh store."""

    async def checked() -> None:
        bench = SpendBench(enter)
        try:
            async with asyncio.timeout(30):
                await check(bench)
        finally:
            for spender in bench.spenders:
                await spender.leave()

    asyncio.run(checked())


async def spend(account: Account, usd: float, cost: float | None = None) -> None:
    """Reserve, and settle at the cost."""
    (await account.reserve(Amount(usd))).settle(Amount(usd if cost is None else cost))


async def find_left(account: Account) -> float:
    """Return the dollars that are left, as the next call finds them."""
    (await account.reserve(Amount(0.0, calls=0))).release()
    left = account.left.usd
    assert left is not None
    return left


@scenario
async def period_continues_in_next_process(bench: SpendBench) -> None:
    """A cap goes on where an earlier process ended."""
    first = bench.begin()
    await spend(first.open(Budget(usd=1.0)), 0.9, 0.7)
    await first.leave()
    account = bench.begin().open(Budget(usd=1.0))
    with pytest.raises(CapReached, match=r"\$0\.400000, and \$0\.300000 of \$1\.000000 are left"):
        await account.reserve(Amount(0.4))
    assert await find_left(account) == pytest.approx(0.3)
    await spend(account, 0.3)


@scenario
async def processes_share_cap(bench: SpendBench) -> None:
    """What a process has reserved has no room in another one, and comes back when it is settled."""
    first, second = bench.begin(), bench.begin()
    held = await first.open(Budget(usd=1.0)).reserve(Amount(0.7))
    account = second.open(Budget(usd=1.0))
    with pytest.raises(CapReached):
        await account.reserve(Amount(0.4))
    held.settle(Amount(0.1))
    await first.leave()
    await spend(account, 0.9)
    with pytest.raises(CapReached):
        await account.reserve(Amount(0.01))


@scenario
async def lost_process_stays_counted(bench: SpendBench) -> None:
    """The reservation of a process that is gone stays counted."""
    await bench.begin().open(Budget(usd=1.0)).reserve(Amount(0.7))
    account = bench.begin().open(Budget(usd=1.0))
    with pytest.raises(CapReached):
        await account.reserve(Amount(0.4))
    await spend(account, 0.2)


@scenario
async def levels_are_kept_apart(bench: SpendBench) -> None:
    """Another tag, and another period, has a cap of its own."""
    spender = bench.begin()
    for name, period in [
        ("day", "2026-11-25"),
        ("day", "2026-11-26"),
        ("tag a", ""),
        ("tag b", ""),
    ]:
        account = spender.open(Budget(usd=1.0), name, period=period)
        await spend(account, 1.0)
        with pytest.raises(CapReached):
            await account.reserve(Amount(0.1))


@scenario
async def every_unit_is_capped(bench: SpendBench) -> None:
    """Caps on tokens and calls hold across processes as that on dollars does."""
    first, second = bench.begin(), bench.begin()
    for name, budget in [("tag a", Budget(tokens=100)), ("tag b", Budget(calls=3))]:
        account = first.open(budget, name)
        for _ in range(2):
            (await account.reserve(Amount(0.0, 30))).settle(Amount(0.0, 30))
    await first.leave()
    tokens, calls = second.open(Budget(tokens=100), "tag a"), second.open(Budget(calls=3), "tag b")
    with pytest.raises(CapReached, match="41 tokens, and 40 tokens of 100 tokens are left"):
        await tokens.reserve(Amount(0.0, 41))
    (await tokens.reserve(Amount(0.0, 40))).settle(Amount(0.0, 40))
    (await calls.reserve(Amount())).settle(Amount())
    with pytest.raises(CapReached) as caught:
        await calls.reserve(Amount())
    assert caught.value.limit == "calls"


@scenario
async def cap_is_used_up_exactly(bench: SpendBench) -> None:
    """Processes that come one after the other use a cap up to its last cent."""
    for _ in range(10):
        spender = bench.begin()
        account = spender.open(Budget(usd=1.0))
        for _ in range(5):
            await spend(account, 0.02)
        await spender.leave()
    with pytest.raises(CapReached, match=r"\$0\.000000 of \$1\.000000 are left"):
        await bench.begin().open(Budget(usd=1.0)).reserve(Amount(0.01))


@scenario
async def bill_above_reservation_counts_for_all(bench: SpendBench) -> None:
    """A bill that is higher than what was reserved is spent, also for the others."""
    first = bench.begin()
    await spend(first.open(Budget(usd=1.0)), 0.1, 0.6)
    await first.leave()
    account = bench.begin().open(Budget(usd=1.0))
    with pytest.raises(CapReached, match=r"\$0\.400000 of"):
        await account.reserve(Amount(0.5))


@scenario
async def refusal_takes_nothing(bench: SpendBench) -> None:
    """A call that is refused at one level takes nothing of another one."""
    spender = bench.begin()
    day = spender.open(Budget(usd=1.0))
    run = Account("run", Budget(usd=0.1), beside=[day])
    with pytest.raises(CapReached, match="'run'"):
        await run.reserve(Amount(0.5))
    assert day.level.reserved == (0, 0, 0)
    await spend(day, 1.0)


@scenario
async def earlier_alerts_are_not_repeated(bench: SpendBench) -> None:
    """A share that an earlier process crossed was for that process to announce."""
    first = bench.begin()
    await spend(first.open(Budget(usd=1.0)), 0.9)
    await first.leave()
    alerts = list[Alert]()
    rules = CapRules(alert_shares=(0.8, 0.95), on_alert=alerts.append)
    await spend(bench.begin().open(Budget(usd=1.0), rules=rules), 0.06)
    assert [alert.share for alert in alerts] == [0.95]


@scenario
async def waiting_call_is_served(bench: SpendBench) -> None:
    """A call waits for one of its own process, and takes what that one leaves."""
    account = bench.begin().open(Budget(usd=1.0))
    first = await account.reserve(Amount(0.8))
    waiting = asyncio.create_task(account.reserve(Amount(0.8)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    first.settle(Amount(0.1))
    (await waiting).settle(Amount(0.8))
    with pytest.raises(CapReached):
        await account.reserve(Amount(0.2))


@scenario
async def cap_holds_among_many(bench: SpendBench) -> None:
    """Eight processes with calls at once never spend more than the cap."""
    chance = random.Random(7)
    charged = [0.0]

    async def call(account: Account, worst: float) -> None:
        await asyncio.sleep(chance.random() / 200)
        try:
            reservation = await account.reserve(Amount(worst))
        except CapReached:
            return
        cost = worst * chance.random()
        charged[0] += cost
        assert charged[0] <= 1.0
        await asyncio.sleep(chance.random() / 200)
        reservation.settle(Amount(cost))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            account = bench.begin().open(Budget(usd=1.0))
            for _ in range(25):
                group.create_task(call(account, 0.03 * chance.random()))
    assert 0.2 < charged[0] <= 1.0  # refused calls do not come back, so chance leaves some
