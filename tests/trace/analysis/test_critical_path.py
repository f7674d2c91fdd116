"""Critical paths: the longest way through a run, slack, gains, and limits of concurrency."""

from __future__ import annotations

import asyncio

import pytest

from graphorch import Graph, node
from graphorch.engine.replay import rebuild
from graphorch.errors import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.trace.analysis.critical_path import (
    collect_work,
    find_critical_path,
)
from tests.scenarios.flows import Ledger, State, says, up
from tests.trace.flows import shop
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
