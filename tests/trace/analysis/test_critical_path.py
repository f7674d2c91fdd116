"""Critical paths: the longest way through a run, slack, gains, and limits of concurrency."""

from __future__ import annotations

import asyncio

import pytest

from graphorch import Graph, RunFailed, agent, node, tool
from graphorch.engine.replay import rebuild
from graphorch.engine.report import RunReport
from graphorch.errors import InputError
from graphorch.graph.approval import ToolApproval
from graphorch.journal.memory import MemoryStore
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response
from graphorch.models.offline.client import OfflineClient
from graphorch.testing import run_virtual
from graphorch.trace.analysis.critical_path import (
    collect_work,
    find_critical_path,
)
from tests.scenarios.flows import Ledger, State, says, up
from tests.trace.acting import SECOND_SEND, SEND, desk, wait_for_people
from tests.trace.flows import Order, Reply, Shop, shop
from tests.trace.running import ran, rebuild_run


def test_slack_and_gain_of_faster_node() -> None:
    """Slack and the gain of a faster node are computed."""

    async def main() -> None:
        graph = Graph("d", State)
        graph.chain(up("a"), [says("fast"), says("slow")], says("end"))
        flow, store = graph.build(), MemoryStore()
        await flow.run(State(), run_id="one", durable=store, resources=Ledger())
        run = await rebuild_run(store, flow)
        lasts = {"a": 1.0, "fast": 2.0, "slow": 5.0, "end": 1.0}
        for item in run.history:
            item.started_at, item.ended_at = 10.0, 10.0 + lasts.get(item.step.name, 0.0)
        critical = find_critical_path(run, 9.0)
        assert [path for path, _ in critical.path] == ["a", "slow", "end"]
        rows = {row.step: (row.slack, row.twice_as_fast) for row in critical.steps}
        assert rows == {"a": (0.0, 6.5), "slow": (0.0, 4.5), "end": (0.0, 6.5), "fast": (3.0, 7.0)}

    asyncio.run(main())


def test_unfinished_run_has_no_path() -> None:
    """A run of which nothing is finished has no critical path."""

    @node
    def idle(state: State) -> None: ...

    flow = Graph("idle", State).chain(idle).build()
    with pytest.raises(InputError, match="Nothing of run one is finished"):
        find_critical_path(rebuild(flow.plan, "one", []).run, 0.0)


def test_subflow_work_lies_inside() -> None:
    """A sub-flow has no work of its own, and waits for what is inside of it."""

    async def main() -> None:
        items = collect_work(await rebuild_run(await ran(), shop())).items
        by_path = {item.path: item for item in items}
        stock = by_path["fulfilment/stock"]
        assert stock.seconds == by_path["fulfilment"].seconds == 0
        assert "fulfilment/stock/count" in {items[number].path for number in stock.after}
        look = by_path["fulfilment/stock/look"]
        assert [items[number].path for number in look.after] == ["fulfilment/check"]

    asyncio.run(main())


class Slow:
    """A model that takes a second for each answer, and asks for one round of calls."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        await asyncio.sleep(1)
        return await OfflineClient().complete(request, on_text)


def test_time_of_agent_is_that_of_its_models_and_tools() -> None:
    """The path leads through the questions to the model and the tools that decided the time."""

    @tool(effect="pure")
    async def look(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "seen"

    @tool
    async def send(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "sent"

    @agent(output=Reply, tools=[look, send])
    def ask(order: Order) -> str:
        calls = [("look", 3), ("look", 1), ("send", 2), ("look", 4)]
        lines = "\n".join(f'{name} {{"seconds": {seconds}}}' for name, seconds in calls)
        return f'Look.\nSteps:\n{lines}\n\nlook {{"seconds": 5}}'

    flow = Graph("desk", Shop, input=Order, output=Reply).chain(ask).build()
    result = run_virtual(flow.run(Order(), client=Slow()))
    critical = find_critical_path(result.record.run, result.seconds)
    assert [(path, round(seconds, 2)) for path, seconds in critical.path] == [
        ("ask", 1),
        ("ask/r1/look#0", 3),
        ("ask/r1/send#2", 2),
        ("ask/r1/look#3", 4),
        ("ask", 1),
        ("ask/r2/look#0", 5),
        ("ask", 1),
    ]
    assert critical.seconds == pytest.approx(result.seconds, abs=0.01)
    steps = {row.step: (row.visits, round(row.seconds, 2)) for row in critical.steps}
    assert steps == {"ask": (1, 3), "ask/look": (4, 13), "ask/send": (1, 2)}


def test_time_of_people_is_not_that_of_calls() -> None:
    """Calls that a person approved or refused count only the time in which they ran."""

    async def main() -> None:
        store = await wait_for_people()
        await asyncio.sleep(0.3)
        for place in (SEND, SECOND_SEND):
            decision = ToolApproval(approved=place == SEND)
            await desk().answer("one", place, decision, durable=store, client=OfflineClient())
        critical = find_critical_path(await rebuild_run(store, desk()), 1.0)
        assert critical.busy < 0.3

    asyncio.run(main())


def test_time_of_delegation_is_that_of_its_flow() -> None:
    """A flow that is called as a tool takes the time of what is inside of it."""

    @tool(effect="pure")
    async def look(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "seen"

    @agent(output=Reply, tools=[look])
    def dig(order: Order) -> str:
        return 'Dig.\nSteps:\nlook {"seconds": 3}'

    research = Graph("research", Shop, input=Order, output=Reply).chain(dig).build()

    @agent(output=Reply, tools=[research.as_tool(), look])
    def ask(order: Order) -> str:
        return 'Ask.\nSteps:\nresearch {"order": "x"}\nlook {"seconds": 1}'

    flow = Graph("desk", Shop, input=Order, output=Reply).chain(ask).build()
    result = run_virtual(flow.run(Order(), client=Slow()))
    critical = find_critical_path(result.record.run, result.seconds)
    assert [(path, round(seconds, 2)) for path, seconds in critical.path] == [
        ("ask", 1),
        ("ask/r1/research#0/dig", 1),
        ("ask/r1/research#0/dig/r1/look#0", 3),
        ("ask/r1/research#0/dig", 1),
        ("ask", 1),
    ]
    steps = {row.step: round(row.seconds, 2) for row in critical.steps}
    assert steps == {"ask": 2, "ask/research/dig": 2, "ask/research/dig/look": 3, "ask/look": 1}


def test_interrupted_delegation_has_a_path() -> None:
    """A run that stops inside of a flow that is called as a tool has a path up to there."""

    @node
    async def broken(order: Order) -> Reply:
        await asyncio.sleep(1)
        raise OSError("gone")

    inner = Graph("inner", Shop, input=Order, output=Reply).chain(plain, broken).build()

    @agent(output=Reply, tools=[inner.as_tool()])
    def ask(order: Order) -> str:
        return 'Ask.\nSteps:\ninner {"order": "x"}'

    flow = Graph("desk", Shop, input=Order, output=Reply).chain(ask).build()
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(Order(), client=Slow()))
    report = caught.value.run
    assert isinstance(report, RunReport)
    critical = find_critical_path(report.run, 3.0)
    assert "ask/r1/inner#0/plain" in {path for path, _ in critical.path}


@node
async def plain(order: Order) -> Order:
    await asyncio.sleep(1)
    return Order(order="planned")
