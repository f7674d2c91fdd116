"""Signals, timers and firsts in runs: sent, kept, refused, late, crashed, replayed and resumed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from graphorch import InputError, Limits
from graphorch.core.tree import Status
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.testing import run_virtual
from tests.scenarios.events.shop import (
    Order,
    Orders,
    Payment,
    Verdict,
    asking_flow,
    begin,
    first_flow,
    held_flow,
    loop_flow,
    map_flow,
    paid_flow,
    timer_flow,
)

DAY = 86_400.0


def clock() -> float:
    """Return the time of the event loop, which is virtual, as seconds since the epoch."""
    return 1_900_000_000.0 + asyncio.get_running_loop().time()


# ---- signals -------------------------------------------------------------------------------------
def test_signal_resumes_run() -> None:
    """A signal to a run at rest is given to what waits for it, and the run goes on."""

    async def check() -> None:
        for durable in (False, MemoryStore()):
            flow = paid_flow()
            result = await flow.run(Order(), run_id="r", durable=durable)
            assert result.status == "waiting"
            result = await flow.send("r", "paid", Payment(amount=3), durable=durable)
            assert result.output.done == ["shipped for 3"]

    asyncio.run(check())


def test_signal_is_kept_until_waited_for() -> None:
    """A signal that comes before its node is kept, and found when the node is reached."""

    async def check() -> None:
        flow, store = loop_flow(3), MemoryStore()
        await begin(flow, store)
        for amount in (3, 2):
            result = await flow.send("r", "paid", Payment(amount=amount), durable=store)
            assert result.status == "waiting"
        result = await flow.send("r", "paid", Payment(amount=0), durable=store)
        assert result.output.done == ["shipped for 3", "shipped for 2", "shipped for 0"]
        assert (await flow.replay("r", durable=store)).output == result.output

    asyncio.run(check())


def test_signal_with_key_reaches_its_item() -> None:
    """Each item of a map waits for the signal with its own key."""

    async def check() -> None:
        flow, store = map_flow(), MemoryStore()
        orders = Orders(orders=[Order(order="tea"), Order(order="jam")])
        await flow.run(orders, run_id="r", durable=store)
        await flow.send("r", "paid", Payment(amount=2), key="jam", durable=store)
        with pytest.raises(InputError, match=r"'each\[1\]/paid' has got it already"):
            await flow.send("r", "paid", Payment(amount=9), key="jam", durable=store)
        result = await flow.send("r", "paid", Payment(amount=1), key="tea", durable=store)
        assert result.output.receipts == ["shipped for 1", "shipped for 2"]

    asyncio.run(check())


def test_signal_of_same_id_counts_once() -> None:
    """A signal that is sent again with the id of the first one changes nothing."""

    async def check() -> None:
        flow, store = loop_flow(3), MemoryStore()
        await begin(flow, store)
        for _ in range(3):
            await flow.send("r", "paid", Payment(amount=1), id="event-1", durable=store)
        result = await flow.send("r", "paid", Payment(amount=0), durable=store)
        assert result.output.done == ["shipped for 1", "shipped for 0"]

    asyncio.run(check())


@pytest.mark.parametrize(
    ("signal", "value", "key", "message"),
    [
        ("payd", Payment(), "", "declares no signal 'payd'. Did you mean 'paid'?"),
        ("paid", Order(), "", "Signal 'paid' carries a Payment, got Order"),
        ("paid", Payment(), "x" * 300, "which is not a key"),
    ],
    ids=["unknown", "wrong type", "long key"],
)
def test_wrong_signal_is_refused(signal: str, value: Any, key: str, message: str) -> None:
    """A signal that the flow does not declare, or of another type, is one clear message."""

    async def check() -> None:
        flow, store = paid_flow(), MemoryStore()
        await begin(flow, store)
        before = (await store.load("r")).records
        with pytest.raises(InputError) as caught:
            await flow.send("r", signal, value, key=key, durable=store)
        assert message in str(caught.value)
        assert (await store.load("r")).records == before

    asyncio.run(check())


def test_signal_beyond_what_is_kept_is_refused() -> None:
    """As many signals are kept as their node says; the next one is refused with the reason."""

    async def check() -> None:
        flow, store = held_flow(keep=2), MemoryStore()
        await flow.run(Order(), run_id="r", durable=store)
        for _ in range(2):
            await flow.send("r", "paid", Payment(), durable=store)
        with pytest.raises(InputError, match=r"2 such signals are kept already \(keep=2\)"):
            await flow.send("r", "paid", Payment(), durable=store)
        flow = held_flow(keep=0)
        await flow.run(Order(), run_id="s", durable=store)
        with pytest.raises(InputError, match="is not waited for yet, and none is kept before"):
            await flow.send("s", "paid", Payment(), durable=store)

    asyncio.run(check())


def test_late_signal_is_refused_with_reason() -> None:
    """A signal whose node was withdrawn, or got it already, is refused with what happened."""

    async def check() -> None:
        flow, store = first_flow(), MemoryStore()
        await begin(flow, store)
        result = await flow.answer("r", "approve", Verdict(approved=True), durable=store)
        assert result.output.done == ["shipped, approved: True"]
        with pytest.raises(InputError, match="Run r is succeeded: there is nothing left to signal"):
            await flow.send("r", "paid", Payment(), durable=store)
        flow = held_flow(first=True)
        await flow.run(Order(), run_id="s", durable=store)
        await flow.send("s", "paid", Payment(amount=1), durable=store)
        with pytest.raises(InputError, match="'paid' has got it already"):
            await flow.send("s", "paid", Payment(amount=2), durable=store)
        await flow.run(Order(), run_id="t", durable=store)
        await flow.answer("t", "approve", Verdict(approved=True), durable=store)
        with pytest.raises(InputError, match=r"'paid' was withdrawn \('approve' came first\)"):
            await flow.send("t", "paid", Payment(amount=2), durable=store)

    asyncio.run(check())


# ---- timers --------------------------------------------------------------------------------------
def test_close_timer_is_waited_for() -> None:
    """A run that only waits for a close timer stays under way until it fires."""

    async def check() -> None:
        for durable in (False, MemoryStore()):
            result = await timer_flow(50.0).run(Order(), durable=durable)
            assert result.output.done == ["reminded of tea"]

    run_virtual(check())


def test_far_timer_lets_run_rest() -> None:
    """A run that waits for a far timer returns, and goes on when it is resumed after its time."""

    async def check() -> None:
        flow, store = timer_flow(3 * DAY), MemoryStore()
        result = await begin(flow, store, clock)
        assert result.status == "waiting"
        assert (await flow.resume("r", durable=store, clock=clock)).status == "waiting"
        await asyncio.sleep(3 * DAY)
        result = await flow.resume("r", durable=store, clock=clock)
        assert result.output.done == ["reminded of tea"]

    run_virtual(check())


def test_patience_is_a_limit() -> None:
    """`Limits.waiting` says how far away a timer may be for which a run stays under way."""

    async def check() -> None:
        flow = timer_flow(3 * DAY)
        result = await flow.run(Order(), limits=Limits(waiting=None))
        assert result.status == "succeeded"
        result = await timer_flow(5.0).run(Order(), limits=Limits(waiting=0))
        assert result.status == "waiting"

    run_virtual(check())


def test_expired_signal_takes_error_edge() -> None:
    """A signal that does not come in time fails as `Expired`, which an error edge takes."""

    async def check() -> None:
        flow, store = paid_flow(expires=DAY), MemoryStore()
        await begin(flow, store, clock)
        await asyncio.sleep(DAY)
        result = await flow.resume("r", durable=store, clock=clock)
        assert result.output.done == ["reminded of tea"]

    run_virtual(check())


def test_timer_survives_its_process(tmp_path: Path) -> None:
    """The time of a timer is recorded when the wait begins, and not computed again."""

    async def check() -> None:
        flow, path = timer_flow(3 * DAY), tmp_path / "runs.sqlite"
        await begin(flow, path, clock)
        await asyncio.sleep(2 * DAY)
        assert (await flow.resume("r", durable=path, clock=clock)).status == "waiting"
        store = await SqliteStore.open(path)
        records = (await store.load("r")).records
        await store.close()
        [waiting] = [each for each in records if each.kind == "waiting"]
        assert records[-1].body["due"] == waiting.body["due"]
        await asyncio.sleep(DAY)
        assert (await flow.resume("r", durable=path, clock=clock)).status == "succeeded"

    run_virtual(check())


# ---- the first of several ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("event", "done"),
    [
        ("approve", "shipped, approved: True"),
        ("paid", "shipped for 7"),
        ("later", "reminded of tea"),
    ],
)
def test_first_event_decides(event: str, done: str) -> None:
    """Whichever event comes first, the run goes on with what follows it, and with nothing else."""

    async def check() -> None:
        flow, store = first_flow(), MemoryStore()
        result = await begin(flow, store, clock)
        assert result.status == "waiting"
        if event == "approve":
            result = await flow.answer(
                "r", "approve", Verdict(approved=True), durable=store, clock=clock
            )
        elif event == "paid":
            result = await flow.send("r", "paid", Payment(amount=7), durable=store, clock=clock)
        else:
            await asyncio.sleep(3 * DAY)
            result = await flow.resume("r", durable=store, clock=clock)
        assert result.output.done == [done]
        over = {each.path: each.status for each in result.record.run.history}
        others = {"approve", "paid", "later"} - {event}
        assert {path for path in over if over[path] is Status.CANCELLED} == others
        assert (await flow.replay("r", durable=store)).output == result.output

    run_virtual(check())


# ---- replay and resume after every record --------------------------------------------------------
def test_every_prefix_replays() -> None:
    """After each record the run is what it was then, and resuming it ends alike."""

    async def check() -> None:
        flow, store = first_flow(), MemoryStore()
        await begin(flow, store, clock)
        result = await flow.send("r", "paid", Payment(amount=7), durable=store, clock=clock)
        records = (await store.load("r")).records
        for seq in range(1, len(records) + 1):
            replayed = rebuild(flow.plan, "r", records, until=seq)
            again = rebuild(flow.plan, "r", records[:seq])
            assert replayed.run.status == again.run.status
        whole = rebuild(flow.plan, "r", records)
        ids = [each.id for each in whole.run.history]
        assert ids == [each.id for each in result.record.run.history]

    asyncio.run(check())


def test_time_of_question_fires_beside_work() -> None:
    """A question whose time is over fails at once, while another node works."""

    async def check() -> None:
        result = await asking_flow().run(Order(), clock=clock)
        assert result.output.done == ["worked", "reminded of tea"]
        [expired] = [each for each in result.record.run.history if each.path == "approve"]
        [worked] = [each for each in result.record.run.history if each.path == "work"]
        assert expired.ended_at - expired.started_at == pytest.approx(0.2, abs=0.01)
        assert worked.ended_at - worked.started_at == pytest.approx(1.0, abs=0.01)

    run_virtual(check())
