"""Levels of a budget: which calls fit or wait, what is booked, and which alerts are sent."""

from __future__ import annotations

import asyncio
import math

import pytest

from graphorch.clock import Runtime
from graphorch.errors import InputError, InternalError
from graphorch.models.budgets.budget import Account, Alert, Amount, Budget, CapReached, CapRules
from graphorch.models.budgets.ledger import Persistence, Units
from graphorch.models.budgets.spend_store import MemorySpend
from graphorch.models.pricing.metering import CallMeter
from tests.models.fakes import Answer, FakeModel, Flat, Table, request_to
from tests.models.virtual import run


@pytest.mark.parametrize(
    "wrong", [{"usd": -1}, {"usd": math.nan}, {"usd": math.inf}, {"tokens": -5}, {"seconds": -0.1}]
)
def test_budget_refuses_negative_amounts(wrong: dict[str, float]) -> None:
    """Refuse amounts that are negative, infinite or not a number."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        Budget(**wrong)  # type: ignore[arg-type]


def test_account_refuses_empty_budget() -> None:
    """Refuse to open an account with a budget of zero."""
    with pytest.raises(InputError, match="budget of 'run' has usd=0"):
        Account("run", Budget(usd=0))


def test_call_counts_at_every_level() -> None:
    """Count a call at every level above and beside its account."""

    async def main(runtime: Runtime) -> None:
        tag, day = Account("tag"), Account("day")
        top = Account("run", beside=[day])
        node = top.open("node", beside=[tag])
        (await node.reserve(Amount(1.0, 100))).settle(Amount(0.25, 40))
        for account in (node, top, tag, day):
            assert account.spent == Amount(0.25, 40, 1)

    run(main)


def test_shared_level_counts_once() -> None:
    """Count a call once at a level that is reached in two ways."""

    async def main(runtime: Runtime) -> None:
        day = Account("day")
        node = Account("run", beside=[day]).open("node", beside=[day])
        (await node.reserve(Amount(1.0))).settle(Amount(1.0))
        assert day.spent.usd == 1.0

    run(main)


def test_oversized_call_fails_at_once() -> None:
    """Fail a call that can never fit at once, with its level and amounts."""

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
def test_budget_caps_tokens_and_calls(cap: Budget, worst: Amount, limit: str) -> None:
    """Apply the caps on tokens and calls."""

    async def main(runtime: Runtime) -> None:
        with pytest.raises(CapReached) as caught:
            await Account("run", cap).reserve(worst)
        assert caught.value.limit == limit

    run(main)


def test_call_waits_for_unsettled_calls() -> None:
    """Let a call wait for unsettled calls if it may fit afterwards."""

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


def test_waiting_call_fails_after_costly_one() -> None:
    """Fail a waiting call when the last reservation settles too high."""

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


def test_waiting_calls_keep_their_order() -> None:
    """Serve waiting calls in order, even if a later call is smaller."""

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


def test_full_level_spares_its_sibling() -> None:
    """Let calls of a sibling pass a level that has no room."""

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


def test_cancelled_waiter_lets_next_in() -> None:
    """Admit the next call when a waiting one is cancelled."""

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


def test_cancelled_grant_is_returned() -> None:
    """Return the reservation of a call that is cancelled as it is granted."""

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
def test_reservation_settles_exactly_once(again: str) -> None:
    """Refuse to settle a reservation twice."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        reservation = await account.reserve(Amount(0.5))
        reservation.settle(Amount(0.1))
        with pytest.raises(InternalError, match="settled twice"):
            getattr(reservation, again)()
        assert account.spent.usd == pytest.approx(0.1)

    run(main)


def test_bill_above_reservation_is_reported() -> None:
    """Book and report a bill that is higher than its reservation."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1.0))
        (await account.reserve(Amount(0.5))).settle(Amount(0.7))
        report = account.report()
        assert (report.spent.usd, report.overrun, report.ever_reserved) == pytest.approx(
            (0.7, 0.2, 0.5)
        )

    run(main)


def test_calls_fill_cap_exactly() -> None:
    """Let calls fill a cap exactly, although their floats do not add up."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=0.3))
        for _ in range(3):
            (await account.reserve(Amount(0.1))).settle(Amount(0.1))
        assert account.left == Budget(usd=0.0)
        with pytest.raises(CapReached):
            await account.reserve(Amount(1e-12))

    run(main)


def test_seconds_end_account() -> None:
    """Refuse calls once the seconds of an account are over."""

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


def test_raising_alert_loses_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged; settling goes on, and other levels are announced."""

    async def main(runtime: Runtime) -> None:
        heard: list[Alert] = []

        def fail(alert: Alert) -> None:
            raise ConnectionError("webhook is down")

        day = Account(
            "day", Budget(usd=1), rules=CapRules(alert_shares=(0.1,), on_alert=heard.append)
        )
        run_rules = CapRules(alert_shares=(0.1, 0.2), on_alert=fail)
        account = Account("run", Budget(usd=1), rules=run_rules, beside=[day])
        meter = CallMeter(Table({"m": Flat(0.005)}))
        async with meter.open_call(request_to("m", max_tokens=10, payer=account)) as call:
            call.send()
            response = call.add_price(await FakeModel(Answer(tokens=40)).complete(call.request))
        assert response.usd == pytest.approx(account.spent.usd)
        assert account.report().reserved.usd == 0
        assert [alert.share for alert in heard] == [0.1]
        assert caplog.text.count("on_alert raised ConnectionError: webhook is down") == 2

    run(main)


def test_async_alert_is_refused() -> None:
    """A listener that nobody would await is refused."""

    async def listen(alert: Alert) -> None: ...

    with pytest.raises(InputError, match="on_alert is an async function"):
        CapRules(on_alert=listen)  # type: ignore[arg-type]


def test_alert_comes_once_per_share() -> None:
    """Send one alert for each share that is crossed."""

    async def main(runtime: Runtime) -> None:
        alerts: list[Alert] = []
        account = Account(
            "run",
            Budget(usd=1.0),
            rules=CapRules(alert_shares=(0.5, 0.8, 1.0), on_alert=alerts.append),
        )
        for usd in (0.4, 0.15, 0.1, 0.2, 0.15):
            (await account.open("node").reserve(Amount(usd))).settle(Amount(usd))
        assert [alert.share for alert in alerts] == [0.5, 0.8, 1.0]
        assert alerts[0] == Alert("run", "usd", 0.5, 0.55, 1.0)

    run(main)


def test_lower_levels_inherit_at_cap() -> None:
    """Inherit the behaviour at the cap from the level above."""

    async def main(runtime: Runtime) -> None:
        node = Account("run", rules=CapRules(at_cap="policy/cheap")).open("node", Budget(usd=1))
        with pytest.raises(CapReached) as caught:
            await node.reserve(Amount(2))
        assert caught.value.at_cap == "policy/cheap"

    run(main)


@pytest.mark.parametrize(
    "wrong", [{"at_cap": "stop"}, {"alert_shares": (0.0,)}, {"alert_shares": (1.5,)}]
)
def test_cap_rules_are_checked(wrong: dict[str, object]) -> None:
    """Refuse rules that make no sense."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        CapRules(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- levels that are kept


def test_new_day_starts_empty() -> None:
    """Start a new day with nothing spent, and alert again."""

    async def main(runtime: Runtime) -> None:
        today = ["2026-11-25"]
        alerts: list[Alert] = []
        rules = CapRules(alert_shares=(0.8,), on_alert=alerts.append)
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
        assert [alert.spent for alert in alerts] == pytest.approx([0.9, 0.85])

    run(main)


def test_store_remembers_earlier_alerts() -> None:
    """Do not repeat an alert of an earlier process."""

    async def main(runtime: Runtime) -> None:
        store, alerts = MemorySpend(), list[Alert]()
        store.add("day", (900_000_000_000, 0, 1))
        day = Account(
            "day",
            Budget(usd=1.0),
            rules=CapRules(alert_shares=(0.8, 0.95), on_alert=alerts.append),
            persistence=Persistence(store),
        )
        (await day.reserve(Amount(0.06))).settle(Amount(0.06))
        assert [alert.share for alert in alerts] == [0.95]

    run(main)


def test_overtaken_reservation_takes_nothing() -> None:
    """Take nothing if another process spends between the check and the reservation."""

    class Busy(MemorySpend):
        """A store where another process spends between our check and our reservation."""

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


def test_broken_store_leaves_nothing_reserved() -> None:
    """Leave nothing reserved if the store fails."""

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
