"""Reasons for what happened in a run, and for what did not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, add, node
from graphorch.errors import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.trace.analysis.critical_path import (
    find_critical_path,
)
from graphorch.trace.analysis.explain import (
    Reasons,
    explain_absence,
    explain_activation,
    explain_run,
    find_activations,
)
from graphorch.trace.spans.redaction import Redaction
from tests.scenarios.flows import FLOWS, Ledger, State, to_the_end
from tests.trace.acting import SECOND_SEND, SEND, act, desk, wait_for_people
from tests.trace.flows import Model, shop
from tests.trace.running import conversation, ran, rebuild_run, trace

PLAIN = Redaction(values=())


async def reasons(amount: int, where: str = "") -> Reasons:
    store = await ran(amount=amount)
    run, talk = await rebuild_run(store, shop()), await conversation(store)
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


class Item(BaseModel):
    item: str = ""


class Notes(BaseModel):
    notes: Annotated[list[str], add] = []


class Work(Item, Notes): ...


@node
async def ask_twice(ctx: Context, item: Item) -> Notes:
    for _ in range(2):
        await ctx.complete("how deep?", model="m")
    return Notes(notes=[item.item])


def list_items(item: Item) -> list[Item]:
    return [Item(item=str(number)) for number in range(6)]


def test_equal_costs_are_one_line() -> None:
    """Twelve calls that cost the same are one line of their node, and not twelve."""

    async def main() -> tuple[Reasons, Reasons]:
        graph = Graph("many", Work, input=Item, output=Notes)
        graph.chain(graph.map("each", ask_twice, over=list_items, gather=join, max_items=9))
        flow, store = graph.build(), MemoryStore()
        await flow.run(Item(), run_id="one", durable=store, client=Model())
        run, talk = await rebuild_run(store, flow), await conversation(store)
        first = find_activations(run, "each[0]/ask_twice")[0]
        return (
            explain_run(run, talk.trace, PLAIN),
            explain_activation(first, talk.trace, talk.turns, PLAIN),
        )

    whole, first = asyncio.run(main())
    tokens = "1,200 + 240 tokens"
    assert whole.cost == [
        f"each/ask_twice: 12 calls, $0.150000, {tokens}",
        f"in all: $0.150000, {tokens}",
    ]
    assert first.cost == [
        "2 × m: $0.012500 (reported by the endpoint) for 100 + 20 tokens, 10 of them cached",
        "in all: $0.025000, 200 + 40 tokens",
    ]


def join(results: list[Notes]) -> Notes:
    return Notes(notes=[note for result in results for note in result.notes])


def test_unknown_node_is_explained() -> None:
    """An unknown node is an error that helps."""
    with pytest.raises(InputError, match=r"no node 'cuont'\. Did you mean"):
        asyncio.run(reasons(3, "cuont"))
    with pytest.raises(InputError, match="'plan' ran 1 time"):
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
        absence = explain_absence(await rebuild_run(store, flow, until=half), "end")
        assert "waits for" in absence.because[0]
        assert any(f"'{path}'" in absence.because[0] for path in late - {"end"})

    asyncio.run(main())


def test_rounds_and_joins_have_reasons() -> None:
    """Rounds of a loop and joins are explained."""

    async def main() -> None:
        flow, store = FLOWS["loop_with_join"](), MemoryStore()
        await to_the_end(flow, "one", True, durable=store, resources=Ledger())
        run, talk = await rebuild_run(store, flow), await conversation(store)
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
            run = await rebuild_run(store, flow, until=until)
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


@pytest.mark.parametrize(
    "where, status, because, did",
    [
        ("write/r1/search#0", "done", "called it, in round r1", "returned in"),
        ("write/r1/search#1", "done", "called it, in round r1", "the model was told: Error: "),
        ("note", "done", "called it, in round r1", "returned in"),
        (SEND, "done", "it needs the approval", "changed its arguments to"),
        (SECOND_SEND, "done", "it acts, so it runs after", "The reason: not to bob"),
        ("write", "done", "the flow begins with it", "called search 3 times, note 1 time, send 2"),
    ],
)
def test_tool_calls_have_reasons(where: str, status: str, because: str, did: str) -> None:
    """A call of a tool names its agent and its round, and what became of it."""

    async def main() -> None:
        store = await act()
        run = await rebuild_run(store, desk())
        kept = await conversation(store)
        (activation,) = find_activations(run, where)
        reasons = explain_activation(activation, kept.trace, kept.turns, Redaction())
        assert reasons.status == status
        assert because in "\n".join(reasons.because)
        assert did in "\n".join(reasons.did)

    asyncio.run(main())


@pytest.mark.parametrize(
    "where, status, because",
    [
        ("write/r2/search#2", "called, and not begun", "calls before it have not ended"),
        ("file", "was not called", "no model that 'write' asked called this tool"),
    ],
)
def test_calls_that_were_not_made_have_reasons(where: str, status: str, because: str) -> None:
    """A call that waits for others, and a tool that no model called, are explained."""

    async def main() -> None:
        run = await rebuild_run(await wait_for_people(), desk())
        assert find_activations(run, where) == []
        reasons = explain_absence(run, where)
        assert (reasons.status, because in reasons.because[0]) == (status, True)
        (agent,) = find_activations(run, "write")
        kept = explain_activation(agent, (await trace(await wait_for_people())), [], Redaction())
        assert kept.status == "waiting until people decide about its calls of tools"

    asyncio.run(main())
