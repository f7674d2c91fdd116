"""Gates that expire: beside work, at rest, in maps, loops and quorums, killed, replayed, forked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch import (
    START,
    Approval,
    Expired,
    Failure,
    Graph,
    GraphError,
    NodeError,
    QuestionEvent,
    Retry,
    RunFailed,
    node,
)
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.events.shop import Done, Order, ShopFlow, State, Verdict, work
from tests.scenarios.events.test_event_runs import clock

DAY = 86_400.0
YES = Approval(approved=True)
Gate = Literal["before", "after"]
GATES: Any = pytest.mark.parametrize("gate", ["before", "after"])


@node
async def give_up(failure: Failure, order: Order) -> Done:
    return Done(done=[f"{failure.error} of {order.order}"])


def write_verdict(order: Order) -> Verdict:
    return Verdict(approved=order.order == "tea")


def gated_flow(gate: Gate = "before", expires: float | None = DAY, **options: Any) -> ShopFlow:
    """Build a flow with a gate that gives up when its time is over."""
    given: Any = {"expires": expires} if expires else {}
    act: Any = node(name="act", gate=gate, **given, **options)
    graph = Graph("gated", State, input=Order, output=Done)
    graph.chain(START, checked := act(write_verdict), settle)
    return graph.on_error(checked, give_up, when=Expired).build()


@node
async def settle(verdict: Verdict) -> Done:
    return Done(done=[f"acted: {verdict.approved}"])


# ---- time ----------------------------------------------------------------------------------------
@GATES
def test_gate_expires_while_run_works(gate: Gate) -> None:
    """A gate whose time is over fails its node at once, while another node works."""
    act = node(name="act", gate=gate, expires=0.2)(write_verdict)
    graph = Graph("gated", State, input=Order, output=Done)
    graph.chain(START, [act, work])
    flow = graph.on_error(act, give_up, when=Expired).build()

    async def check() -> None:
        result = await flow.run(Order(), clock=clock)
        assert result.output.done == ["worked", "Expired of tea"]
        [expired] = [each for each in result.record.run.history if each.path == "act"]
        assert "not answered within 0.2 s: May" in str(expired.failure)

    run_virtual(check())


@GATES
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_answer_in_time_opens_gate(gate: Gate, isolation: Any) -> None:
    """An answer that comes in time opens the gate, wherever its node runs."""
    flow, store = gated_flow(gate, isolation=isolation), MemoryStore()

    async def check() -> None:
        waiting = await flow.run(Order(), run_id="r", durable=store)
        assert waiting.due == waiting.questions[0].expires
        result = await flow.answer("r", "act", YES, durable=store)
        assert result.output.done == ["acted: True"]
        assert (await flow.replay("r", durable=store)).output == result.output

    asyncio.run(check())


@GATES
@pytest.mark.parametrize("by", ["resume", "late answer"])
def test_gate_expires_in_next_process(gate: Gate, by: str, tmp_path: Path) -> None:
    """A gate of a run at rest has expired for the process that finds it, and replays as such."""
    now, path = [1_000.0], str(tmp_path / "j.sqlite")

    async def check() -> None:
        options: Any = {"durable": path, "clock": lambda: now[0]}
        await gated_flow(gate).run(Order(), run_id="r", **options)
        now[0] += DAY + 1
        flow = gated_flow(gate)
        if by == "resume":
            result = await flow.resume("r", **options)
        else:
            result = await flow.answer("r", "act", YES, **options)
        assert result.output.done == ["Expired of tea"]
        assert (await flow.replay("r", durable=path)).output == result.output

    asyncio.run(check())


@GATES
def test_expiry_is_no_failed_attempt(gate: Gate) -> None:
    """A node is not retried for a person who did not answer, and a resume asks once more."""
    flow, store, now = gated_without_edge(gate, retry=Retry(3)), MemoryStore(), [1_000.0]
    options: Any = {"durable": store, "clock": lambda: now[0]}

    async def check() -> None:
        await flow.run(Order(), run_id="r", **options)
        now[0] += DAY
        with pytest.raises(RunFailed) as caught:
            await flow.resume("r", **options)
        (error,) = caught.value.exceptions
        assert isinstance(error, NodeError)
        assert isinstance(error.__cause__, Expired)
        with pytest.raises(Expired, match="its time is over"):
            await flow.answer("r", "act", YES, **options)
        again = await flow.resume("r", **options)
        assert again.questions[0].expires == now[0] + DAY
        done = await flow.answer("r", "act", YES, **options)
        assert done.output.done == ["acted: True"]

    run_virtual(check())


def gated_without_edge(gate: Gate, **options: Any) -> ShopFlow:
    act = node(name="act", gate=gate, expires=DAY, **options)(write_verdict)
    return Graph("gated", State, input=Order, output=Done).chain(START, act, settle).build()


def test_open_gate_keeps_its_time() -> None:
    """A gate that asked before its flow had a time, or has none now, keeps what it had."""
    now = [1_000.0]

    async def check(first: float | None, then: float | None) -> list[str]:
        options: Any = {"durable": MemoryStore(), "clock": lambda: now[0]}
        await gated_flow(expires=first).run(Order(), run_id="r", **options)
        now[0] += 2 * DAY
        result = await gated_flow(expires=then).answer("r", "act", YES, **options)
        return result.output.done

    assert run_virtual(check(None, DAY)) == ["acted: True"]
    assert run_virtual(check(DAY, None)) == ["Expired of tea"]


def test_expiry_without_gate_is_refused() -> None:
    """A time for an answer without a gate that asks is a mistake of the graph."""
    lost = node(name="lost", expires=3.0)(write_verdict)
    with pytest.raises(GraphError, match=r"expires=3 means nothing: without a gate"):
        Graph("g", State, input=Order, output=Done).chain(START, lost, settle).build()
    with pytest.raises(GraphError, match=r"expires=0 is not possible"):
        node(gate="before", expires=0)(write_verdict)


# ---- crossings -----------------------------------------------------------------------------------
def test_killed_run_expires_once() -> None:
    """Killed after each record and resumed after that time, a run ends alike and replays."""
    flow, store, now = gated_flow("after"), MemoryStore(), [1_000.0]

    async def check() -> None:
        options: Any = {"clock": lambda: now[0]}
        await flow.run(Order(), run_id="r", durable=store, **options)
        now[0] += DAY
        whole = await flow.resume("r", durable=store, **options)
        log = await store.load("r")
        for seq in range(1, len(log.records) + 1):
            rebuild(flow.plan, "r", log.records[:seq])
            copy = MemoryStore(clock=lambda: now[0])
            await copy_run(log.head, log.records[:seq], copy)
            result = await flow.resume("r", durable=copy, **options)
            if result.status == "waiting":  # the question was not stored, and is asked anew
                now[0] += DAY
                result = await flow.resume("r", durable=copy, **options)
            assert result.output == whole.output
            kinds = [record.kind for record in (await copy.load("r")).records]
            assert kinds.count("failed") == 1

    run_virtual(check())


def test_fork_asks_with_new_time() -> None:
    """A rerun from the gate asks again, with a time of its own."""
    flow, store, now = gated_flow(), MemoryStore(), [1_000.0]
    options: Any = {"durable": store, "clock": lambda: now[0]}

    async def check() -> None:
        await flow.run(Order(), run_id="r", **options)
        now[0] += DAY
        await flow.resume("r", **options)
        again = await flow.rerun("r", start="act", **options)
        assert again.result.questions[0].expires == now[0] + DAY

    run_virtual(check())


class Orders(Done):
    orders: list[Order] = []


def collect(results: list[Done]) -> Done:
    return Done(done=[line for done in results for line in done.done])


def list_orders(orders: Orders) -> Sequence[Order]:
    return orders.orders


def test_gates_of_items_expire_alone() -> None:
    """In a map each item has its own time, and the others go on."""
    graph = Graph("many", Orders, input=Orders, output=Done)
    each = graph.map("each", gated_flow(), over=list_orders, gather=collect, max_items=3)
    flow, now = graph.chain(START, each).build(), [1_000.0]
    options: Any = {"durable": MemoryStore(), "clock": lambda: now[0]}

    async def check() -> None:
        orders = Orders(orders=[Order(order="tea"), Order(order="jam")])
        await flow.run(orders, run_id="r", **options)
        await flow.answer("r", "each[1]/act", YES, **options)
        now[0] += DAY
        result = await flow.resume("r", **options)
        assert result.output.done == ["Expired of tea", "acted: False"]

    run_virtual(check())


def test_gate_in_loop_has_time_per_round() -> None:
    """Each round of a loop asks with a time of its own."""
    act = node(name="act", gate="before", expires=DAY)(write_verdict)
    graph = Graph("rounds", State, input=Order, output=Done)
    graph.chain(START, act, settle).on_error(act, give_up, when=Expired)
    graph.loop(settle, back_to=act, while_=lambda s: len(s.done) < 3, max_iterations=3)
    flow, now = graph.build(), [1_000.0]
    options: Any = {"durable": MemoryStore(), "clock": lambda: now[0]}

    async def check() -> None:
        await flow.run(Order(), run_id="r", **options)
        now[0] += DAY - 1
        second = await flow.answer("r", "act", YES, **options)
        assert second.questions[0].expires == now[0] + DAY
        now[0] += DAY
        result = await flow.resume("r", **options)
        assert result.output.done == ["acted: True", "Expired of tea"]

    run_virtual(check())


def test_quorum_withdraws_gate() -> None:
    """A gate that a decision withdrew does not expire any more."""
    act = node(name="act", gate="before", expires=DAY)(write_verdict)
    graph = Graph("race", State, input=Order, output=Done)
    graph.chain(START, [act, work], give_thanks)
    flow = graph.join(give_thanks, need=1).build()

    async def check() -> None:
        result = await flow.run(Order(), clock=clock)
        assert result.output.done == ["worked", "thanks"]

    run_virtual(check())


@node
async def give_thanks(order: Order) -> Done:
    return Done(done=["thanks"])


def test_cancelled_run_expires_nothing() -> None:
    """A run that is cancelled while a person is asked stays cancelled."""
    flow, store = gated_flow(), MemoryStore()

    async def check() -> None:
        await flow.run(Order(), run_id="r", durable=store)
        await flow.cancel("r", durable=store)
        assert (await store.read_head("r")).status == "cancelled"
        assert [record.kind for record in (await store.load("r")).records].count("failed") == 0

    asyncio.run(check())


@GATES
def test_letter_in_time_opens_gate(gate: Gate, tmp_path: Path) -> None:
    """An answer that was stored in time opens the gate, however late it is taken in."""
    flow, path = gated_flow(gate, 0.3), str(tmp_path / "j.sqlite")

    async def check() -> None:
        await flow.run(Order(), run_id="r", durable=path)
        await flow.send_answer("r", "act", YES, wait=False, durable=path)
        await asyncio.sleep(0.4)
        result = await flow.resume("r", durable=path)
        assert result.output.done == ["acted: True"]

    asyncio.run(check())


def test_hook_hears_that_gate_expired() -> None:
    """A hook is told until when an answer counts, and that its time was over."""
    heard: list[QuestionEvent] = []

    async def check() -> None:
        flow, options = gated_flow(expires=0.1), {"clock": clock, "on_question": heard.append}
        waiting = await flow.run(Order(), **options)
        await asyncio.sleep(1.0)
        await flow.resume(waiting.run_id, **options)

    run_virtual(check())
    assert [event.kind for event in heard] == ["opened", "expired"]
    assert heard[0].expires == pytest.approx(heard[0].at + 0.1)


def test_session_lets_gate_expire() -> None:
    """A person in a session lets the time of a gate come."""
    with gated_flow().debug(Order()) as session:
        session.run_until()
        step = session.skip_wait()
        assert step is not None
        assert (step.path, step.kind, type(step.failure)) == ("act", "handled", Expired)
        session.run_until()
        assert session.result.output.done == ["Expired of tea"]
