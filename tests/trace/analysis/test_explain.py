"""Reasons for what happened in a run, and for what did not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphorch import Graph, node
from graphorch.engine.replay import rebuild
from graphorch.errors import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from graphorch.trace.analysis.critical_path import (
    WorkItem,
    compute_finishes,
    find_critical_path,
    simulate,
)
from graphorch.trace.analysis.explain import (
    Reasons,
    explain_absence,
    explain_activation,
    explain_run,
    find_activations,
)
from graphorch.trace.spans.redaction import Redaction
from tests.scenarios.flows import FLOWS, Ledger, State, says, to_the_end, up
from tests.trace.flows import AnyFlow, shop
from tests.trace.running import conversation, ran

PLAIN = Redaction(values=())


async def rebuilt(
    store: Store, flow: AnyFlow, run_id: str = "one", until: int | None = None
) -> Any:
    log = await store.load(run_id)
    return rebuild(flow.plan, run_id, log.records, until=until).run


async def reasons(amount: int, where: str = "") -> Reasons:
    store = await ran(amount=amount)
    run, talk = await rebuilt(store, shop()), await conversation(store)
    if not where:
        return explain_run(run, talk.trace, PLAIN)
    activations = find_activations(run, where)
    return (
        explain_activation(activations[0], talk.trace, talk.turns, PLAIN)
        if activations
        else explain_absence(run, where)
    )


def test_explain_run_finds_deep_fault() -> None:
    """The run points at the fault three levels deep."""
    explained = asyncio.run(reasons(12))
    fault = (
        "'fulfilment/stock/count' failed in attempt 1: ValueError: only 9 on the shelf, 12 wanted"
    )
    assert explained.because == [f"{fault}, which took 'fulfilment/stock' and 'fulfilment' with it"]


def test_absence_by_other_route() -> None:
    """A route that went elsewhere is the reason."""
    assert asyncio.run(reasons(3, "reorder")).because == [
        "after 'fulfilment/stock/look' its route went to count (label here), not here"
    ]


def test_absence_behind_failure() -> None:
    """A node behind a failure did not run because of it."""
    explained = asyncio.run(reasons(12, "answer"))
    assert explained.status == "did not run"
    assert explained.because[0].startswith("'fulfilment' failed: InnerFailed")


def test_activation_by_route() -> None:
    """A node ran because its route chose it."""
    explained = asyncio.run(reasons(3, "count"))
    assert explained.because == ["the route after 'fulfilment/stock/look' chose it (label here)"]
    assert explained.did[-1] == "went on to END"


def test_model_and_cost_have_reasons() -> None:
    explained = asyncio.run(reasons(3, "plan"))
    assert explained.model == [
        "'openai/gpt-5' was asked: the node or the run names it, and no policy chose"
    ]
    assert explained.cost == [
        "openai/gpt-5: $0.012500 (reported by the endpoint) for 100 + 20 tokens, 10 of them cached"
    ]


def test_unknown_node_is_explained() -> None:
    """An unknown node is an error that helps."""
    with pytest.raises(InputError, match=r"no node 'cuont'\. Did you mean"):
        asyncio.run(reasons(3, "cuont"))
    with pytest.raises(InputError, match="'plan' ran 1 times"):
        asyncio.run(reasons(3, "plan#2"))


def test_join_names_its_blockers() -> None:
    """A join names the nodes that it waits for."""

    async def main() -> None:
        flow, store = FLOWS["diamond"](), MemoryStore()
        await flow.run(State(), run_id="one", durable=store, resources=Ledger())
        records = (await store.load("one")).records
        # whichever came first
        half = next(
            record.seq
            for record in records
            if record.kind == "commit" and record.body["path"] in ("b", "c")
        )
        late = {
            record.body["path"]
            for record in records
            if record.kind == "commit" and record.seq > half
        }
        absence = explain_absence(await rebuilt(store, flow, until=half), "end")
        assert "waits for" in absence.because[0]
        assert any(f"'{path}'" in absence.because[0] for path in late - {"end"})

    asyncio.run(main())


def test_rounds_and_joins_have_reasons() -> None:
    """Rounds of a loop and joins are explained."""

    async def main() -> None:
        flow, store = FLOWS["loop_with_join"](), MemoryStore()
        await to_the_end(flow, "one", True, durable=store, resources=Ledger())
        run, talk = await rebuilt(store, flow), await conversation(store)
        second = explain_activation(
            find_activations(run, "header#2")[0], talk.trace, talk.turns, PLAIN
        )
        assert second.because == [
            "'last' went back to it: the loop 'last → header' held and had room",
            "round 2 of the loop back to 'header'",
        ]
        joined = explain_activation(find_activations(run, "last")[0], talk.trace, talk.turns, PLAIN)
        assert joined.because[-1].startswith("it joins")

    asyncio.run(main())


@pytest.mark.parametrize("name", list(FLOWS))
def test_every_node_has_a_reason(name: str) -> None:
    """And the critical path of what is finished is never longer than all of its work."""

    async def main() -> None:
        flow, store = FLOWS[name](), MemoryStore()
        await to_the_end(flow, "one", True, durable=store, resources=Ledger())
        talk = await conversation(store)
        for until in range(1, len((await store.load("one")).records) + 1, 3):
            run = await rebuilt(store, flow, until=until)
            for step in flow.plan.steps[:-1]:
                activations = find_activations(run, step.name)
                explanations = [
                    explain_activation(activation, talk.trace, talk.turns, PLAIN)
                    for activation in activations
                ] or [explain_absence(run, step.name)]
                assert all(item.because for item in explanations), (until, step.name)
            explain_run(run, talk.trace, PLAIN)
            if any(item.ended_at for item in run.history):
                path = find_critical_path(run, 1.0)
                assert path.seconds <= path.busy + 1e-9
                assert path.with_limit[1] == pytest.approx(path.busy)

    asyncio.run(main())


def work(*rows: tuple[float, tuple[int, ...]]) -> list[WorkItem]:
    return [WorkItem(f"w{number}", seconds, after) for number, (seconds, after) in enumerate(rows)]


def test_critical_path_of_diamond() -> None:
    """The critical path of a diamond is its longer side."""
    diamond = work((1, ()), (5, (0,)), (2, (0,)), (1, (1, 2)))
    assert max(compute_finishes(diamond)) == 7
    assert [simulate(diamond, limit) for limit in (1, 2, 4)] == [9, 7, 7]


def test_limit_of_two_halves_time() -> None:
    """A limit of two on four equal items takes half of the sum."""
    four = work(*[(3.0, ()) for _ in range(4)])
    assert [simulate(four, limit) for limit in (1, 2, 4, 8)] == [12, 6, 3, 3]


def test_slack_and_gain_of_faster_node() -> None:
    """Slack and the gain of a faster node are computed."""

    async def main() -> None:
        graph = Graph("d", State)
        graph.chain(up("a"), [says("fast"), says("slow")], says("end"))
        flow, store = graph.build(), MemoryStore()
        await flow.run(State(), run_id="one", durable=store, resources=Ledger())
        run = await rebuilt(store, flow)
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
