"""The levels of a budget: what fits, who waits, what is booked in the end, and what is said about it."""

from __future__ import annotations

import asyncio
import math

import pytest

from graphorch.clock import Runtime
from graphorch.errors import InputError, InternalError
from graphorch.models.budgets.budget import Account, Alert, Amount, Budget, CapReached, CapRules
from graphorch.models.budgets.ledger import Persistence, Units
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from tests.models.virtual import run


@pytest.mark.parametrize(
    "wrong", [{"usd": -1}, {"usd": math.nan}, {"usd": math.inf}, {"tokens": -5}, {"seconds": -0.1}]
)
def test_a_budget_below_zero_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Budget(**wrong)  # type: ignore[arg-type]


def test_an_account_does_not_open_with_nothing_in_it() -> None:
    with pytest.raises(InputError, match="budget of 'run' has usd=0"):
        Account("run", Budget(usd=0))


def test_a_call_counts_at_every_level_above_and_beside() -> None:
    async def main(runtime: Runtime) -> None:
        tag, day = Account("tag"), Account("day")
        top = Account("run", beside=[day])
        node = top.open("node", beside=[tag])
        (await node.reserve(Amount(1.0, 100))).settle(Amount(0.25, 40))
        for account in (node, top, tag, day):
            assert account.spent == Amount(0.25, 40, 1)

    run(main)


def test_a_level_that_is_reached_two_ways_counts_once() -> None:
    async def main(runtime: Runtime) -> None:
        day = Account("day")
        node = Account("run", beside=[day]).open("node", beside=[day])
        (await node.reserve(Amount(1.0))).settle(Amount(1.0))
        assert day.spent.usd == 1.0

    run(main)


def test_a_call_that_can_never_fit_fails_at_once_and_names_level_and_amounts() -> None:
    async def main(runtime: Runtime) -> None:
        node = Account("run", Budget(usd=10)).open("draft", Budget(usd=0.5))
        first = await node.reserve(Amount(0.2))
        first.settle(Amount(0.2))
        open_one = await node.reserve(Amount(0.1))
        with pytest.raises(
            CapReached, match=r"'draft' .* \$0\.400000, and \$0\.200000 of \$0\.500000"
        ) as caught:
            await node.reserve(Amount(0.4))
        assert (caught.value.level, caught.value.limit, caught.value.at_cap) == (
            "draft",
            "usd",
            "fail",
        )
        open_one.release()

    run(main)


@pytest.mark.parametrize(
    ("cap", "worst", "limit"),
    [(Budget(tokens=10), Amount(0, 11), "tokens"), (Budget(calls=1), Amount(calls=2), "calls")],
)
def test_tokens_and_calls_are_caps_too(cap: Budget, worst: Amount, limit: str) -> None:
    async def main(runtime: Runtime) -> None:
        with pytest.raises(CapReached) as caught:
            await Account("run", cap).reserve(worst)
        assert caught.value.limit == limit

    run(main)


def test_a_call_waits_while_others_are_unsettled_and_then_fits() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        first = await account.reserve(Amount(0.8))
        waiting = asyncio.create_task(account.reserve(Amount(0.8)))
        await runtime.sleep(5)
        assert not waiting.done()
        assert not account.fits(Amount(0.1))  # it would overtake
        first.settle(Amount(0.1))
        (await waiting).settle(Amount(0.8))
        assert account.spent.usd == pytest.approx(0.9)

    run(main)


def test_a_call_that_waited_fails_when_the_last_reservation_turned_out_dear() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        first = await account.reserve(Amount(0.8))
        waiting = asyncio.create_task(account.reserve(Amount(0.5)))
        await runtime.sleep(1)
        first.settle_worst()
        with pytest.raises(CapReached):
            await waiting
        assert account.report().estimated == pytest.approx(0.8)

    run(main)


def test_who_came_first_is_served_first_even_if_a_later_one_is_smaller() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        order: list[str] = []

        async def call(name: str, usd: float) -> None:
            reservation = await account.reserve(Amount(usd))
            order.append(name)
            await runtime.sleep(1)
            reservation.release()

        async with asyncio.TaskGroup() as group:
            for name, usd in (("first", 0.6), ("large", 0.9), ("small", 0.1)):
                group.create_task(call(name, usd))
                await asyncio.sleep(0)
        assert order == ["first", "large", "small"]

    run(main)


def test_a_level_without_room_does_not_hold_up_calls_of_its_sibling() -> None:
    async def main(runtime: Runtime) -> None:
        top = Account("run", Budget(usd=10))
        left, right = top.open("left", Budget(usd=1)), top.open("right", Budget(usd=1))
        held = await left.reserve(Amount(1))
        waiting = asyncio.create_task(left.reserve(Amount(1)))
        await asyncio.sleep(0)
        (await right.reserve(Amount(1))).release()
        held.release()
        (await waiting).release()

    run(main)


def test_cancelling_who_waits_lets_the_next_one_in() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        held = await account.reserve(Amount(0.5))
        large = asyncio.create_task(account.reserve(Amount(1.0)))
        small = asyncio.create_task(account.reserve(Amount(0.5)))
        await asyncio.sleep(0)
        large.cancel()
        (await small).release()
        held.release()
        assert account.left == Budget(usd=1.0)

    run(main)


def test_cancelling_in_the_moment_of_the_grant_gives_the_money_back() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        held = await account.reserve(Amount(1.0))
        waiting = asyncio.create_task(account.reserve(Amount(1.0)))
        await asyncio.sleep(0)
        held.release()  # grants, and before the task runs again:
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert account.left == Budget(usd=1.0)

    run(main)


@pytest.mark.parametrize("again", ["settle_worst", "release"])
def test_a_reservation_is_settled_exactly_once(again: str) -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        reservation = await account.reserve(Amount(0.5))
        reservation.settle(Amount(0.1))
        with pytest.raises(InternalError, match="settled twice"):
            getattr(reservation, again)()
        assert account.spent.usd == pytest.approx(0.1)

    run(main)


def test_a_bill_above_its_reservation_is_booked_and_reported() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        (await account.reserve(Amount(0.5))).settle(Amount(0.7))
        report = account.report()
        assert (report.spent.usd, report.overrun, report.ever_reserved) == pytest.approx(
            (0.7, 0.2, 0.5)
        )

    run(main)


def test_calls_that_fill_the_cap_exactly_fit_although_floats_do_not_add_up() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=0.3))
        for _ in range(3):
            (await account.reserve(Amount(0.1))).settle(Amount(0.1))
        assert account.left == Budget(usd=0.0)
        with pytest.raises(CapReached):
            await account.reserve(Amount(1e-12))

    run(main)


def test_seconds_end_an_account() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(seconds=10), clock=runtime.clock).open("node")
        await runtime.sleep(4)
        assert account.left == Budget(seconds=6.0)
        await runtime.sleep(6)
        with pytest.raises(
            CapReached, match="time of 'run' is over: its budget gave it 10 s"
        ) as caught:
            await account.reserve(Amount())
        assert caught.value.limit == "seconds"

    run(main)


def test_alerts_come_once_for_each_share_that_is_crossed() -> None:
    async def main(runtime: Runtime) -> None:
        told: list[Alert] = []
        account = Account(
            "run",
            Budget(usd=1.0),
            rules=CapRules(alert_shares=(0.5, 0.8, 1.0), on_alert=told.append),
        )
        for usd in (0.4, 0.15, 0.1, 0.2, 0.15):
            (await account.open("node").reserve(Amount(usd))).settle(Amount(usd))
        assert [alert.share for alert in told] == [0.5, 0.8, 1.0]
        assert told[0] == Alert("run", "usd", 0.5, 0.55, 1.0)

    run(main)


def test_what_happens_at_the_cap_is_inherited_by_the_levels_below() -> None:
    async def main(runtime: Runtime) -> None:
        node = Account("run", rules=CapRules(at_cap="policy/cheap")).open("node", Budget(usd=1))
        with pytest.raises(CapReached) as caught:
            await node.reserve(Amount(2))
        assert caught.value.at_cap == "policy/cheap"

    run(main)


@pytest.mark.parametrize(
    "wrong", [{"at_cap": "stop"}, {"alert_shares": (0.0,)}, {"alert_shares": (1.5,)}]
)
def test_rules_without_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        CapRules(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- levels that are kept


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path):
    """Two openings of one place, as by two processes."""
    if request.param == "memory":
        store = MemorySpend()
        yield store, store
    else:
        first, second = SqliteSpend(tmp_path / "spend.db"), SqliteSpend(tmp_path / "spend.db")
        yield first, second
        first.close()
        second.close()


def test_a_day_goes_on_where_an_earlier_process_ended(stores) -> None:
    async def main(runtime: Runtime) -> None:
        first = Account("day", Budget(usd=1.0), persistence=Persistence(stores[0]))
        (await first.reserve(Amount(0.9))).settle(Amount(0.7))
        second = Account("day", Budget(usd=1.0), persistence=Persistence(stores[1]))
        assert second.left.usd == pytest.approx(0.3)
        with pytest.raises(CapReached):
            await second.reserve(Amount(0.4))

    run(main)


def test_two_processes_at_the_same_time_do_not_exceed_the_cap_together(stores) -> None:
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


def test_what_a_crashed_process_had_reserved_stays_counted(stores) -> None:
    async def main(runtime: Runtime) -> None:
        await Account("day", Budget(usd=1.0), persistence=Persistence(stores[0])).reserve(
            Amount(0.7)
        )
        assert Account(
            "day", Budget(usd=1.0), persistence=Persistence(stores[1])
        ).left.usd == pytest.approx(0.3)

    run(main)


def test_a_new_day_starts_from_nothing_and_alerts_again() -> None:
    async def main(runtime: Runtime) -> None:
        today = ["2026-11-25"]
        told: list[Alert] = []
        rules = CapRules(alert_shares=(0.8,), on_alert=told.append)
        day = Account(
            "day",
            Budget(usd=1.0),
            rules=rules,
            persistence=Persistence(MemorySpend(), lambda: today[0]),
        )
        (await day.reserve(Amount(0.9))).settle(Amount(0.9))
        over_midnight = await day.reserve(Amount(0.1))
        today[0] = "2026-11-26"
        (await day.reserve(Amount(0.85))).settle(Amount(0.85))
        over_midnight.settle(Amount(0.1))
        assert day.spent.usd == pytest.approx(0.85)  # the call over midnight is the old day's
        assert [alert.spent for alert in told] == pytest.approx([0.9, 0.85])

    run(main)


def test_an_alert_of_an_earlier_process_is_not_repeated() -> None:
    async def main(runtime: Runtime) -> None:
        store, told = MemorySpend(), list[Alert]()
        store.add("day", (900_000_000_000, 0, 1))
        day = Account(
            "day",
            Budget(usd=1.0),
            rules=CapRules(alert_shares=(0.8, 0.95), on_alert=told.append),
            persistence=Persistence(store),
        )
        (await day.reserve(Amount(0.06))).settle(Amount(0.06))
        assert [alert.share for alert in told] == [0.95]

    run(main)


def test_a_call_that_another_process_overtakes_in_the_last_moment_takes_nothing() -> None:
    class Busy(MemorySpend):
        """Somebody else spends between our look and our reservation."""

        def add(self, key: str, units: Units) -> Units:
            if units[2] > 0:
                super().add(key, (800_000_000_000, 0, 1))
            return super().add(key, units)

    async def main(runtime: Runtime) -> None:
        store = Busy()
        top = Account("run", Budget(usd=1.0))
        day = Account("day", Budget(usd=1.0), beside=[top], persistence=Persistence(store))
        with pytest.raises(CapReached):
            await day.reserve(Amount(0.5))
        assert store.add("day", (0, 0, 0)) == (800_000_000_000, 0, 1)
        assert top.left == Budget(usd=1.0)

    run(main)


def test_a_store_that_breaks_leaves_nothing_reserved() -> None:
    class Broken:
        def add(self, key: str, units: Units) -> Units:
            if units != (0, 0, 0):
                raise OSError("disk full")
            return units

    async def main(runtime: Runtime) -> None:
        top = Account("run", Budget(usd=1.0))
        day = Account("day", beside=[top], persistence=Persistence(Broken()))
        with pytest.raises(OSError, match="disk full"):
            await day.reserve(Amount(0.5))
        assert top.left == Budget(usd=1.0)

    run(main)
