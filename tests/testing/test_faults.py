"""Faults on demand: the n-th call fails before or after it did its work, and the flow around it stays the same graph."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, NodeError, RunFailed, agent, node
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.memory import MemoryStore
from graphorch.testing import FailNth, Injected, ScriptedModel, around_nodes, run_virtual, when
from tests.scenarios.flows import FLOWS, Ledger, State, to_the_end


class Text(BaseModel):
    text: str = ""


@agent(output=Text)
def ask(text: Text) -> str:
    return "Say something"


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_with_something_around_its_nodes_is_the_same_graph(name: str) -> None:
    flow = FLOWS[name]()
    paths: list[str] = []

    async def note(ctx: Context[Any], call: Any) -> Any:
        paths.append(ctx.path)
        return await call()

    ledger, other = Ledger(), Ledger()
    twin = around_nodes(flow, note)
    assert compute_fingerprint(twin.plan) == compute_fingerprint(flow.plan)
    plain = run_virtual(to_the_end(flow, "r", True, resources=ledger))
    noted = run_virtual(to_the_end(twin, "r", True, resources=other))
    assert noted.state == plain.state
    assert sorted(other.entries) == sorted(ledger.entries)
    assert paths == [line.split()[0] for line in other.entries]


def test_the_n_th_node_call_fails_and_says_so() -> None:
    fault = FailNth(2)
    with pytest.raises(RunFailed) as caught:
        run_virtual(fault.nodes(FLOWS["chain"]()).run(State(), resources=Ledger()))
    (error,) = caught.value.exceptions
    assert isinstance(error, NodeError)
    assert isinstance(error.__cause__, Injected)
    assert (error.node, fault.calls, fault.has_fired) == ("b", 2, True)


def test_a_lost_result_is_one_whose_work_was_done() -> None:
    ledgers: list[list[str]] = []
    for when_ in ("before", "after"):
        ledger = Ledger()
        with pytest.raises(RunFailed):
            run_virtual(
                FailNth(1, when=when_).nodes(FLOWS["chain"]()).run(State(), resources=ledger)
            )
        ledgers.append(ledger.entries)
    assert [len(entries) for entries in ledgers] == [0, 1]


def test_zero_counts_and_lets_everything_pass() -> None:
    fault = FailNth(0)
    run_virtual(fault.nodes(FLOWS["chain"]()).run(State(), resources=Ledger()))
    assert (fault.calls, fault.has_fired) == (4, False)


def test_the_n_th_model_call_fails_with_an_error_that_may_be_retried() -> None:
    flow = Graph("g", Text).chain(ask).build()
    model = ScriptedModel(when("Say", "fine", repeats=True))
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(Text(), client=FailNth(1).model(model)))
    assert "call 1 of a model was made to fail" in str(caught.value)
    assert run_virtual(flow.run(Text(), client=FailNth(2).model(model))).output.text == "fine"


def test_an_agent_under_a_twin_still_asks_its_model() -> None:
    flow = Graph("g", Text).chain(ask.with_model("vendor/model")).build()
    with ScriptedModel("fine") as model:
        run_virtual(FailNth(0).nodes(flow).run(Text(), client=model))
    assert model.requests[0].model == "vendor/model"
    assert FailNth(0).nodes(flow).plan.steps[0].node.model == "vendor/model"


def test_the_error_is_the_caller_s_own_if_there_is_one() -> None:
    flow = FailNth(1, KeyError("mine")).nodes(FLOWS["chain"]())
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(State(), resources=Ledger()))
    assert isinstance(caught.value.exceptions[0].__cause__, KeyError)


def test_a_run_that_failed_under_a_twin_is_resumed_by_the_flow_itself() -> None:
    flow, ledger = FLOWS["chain"](), Ledger()

    async def main() -> Any:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await FailNth(3).nodes(flow).run(State(), run_id="r", durable=store, resources=ledger)
        return await flow.resume("r", durable=store, resources=ledger)

    assert run_virtual(main()).state.n == 3
    assert [line.split()[0] for line in ledger.entries] == ["a", "b", "c", "d"]


@node
def sync(text: Text) -> Text:
    asyncio.get_running_loop()  # raises in a thread
    return text


def test_a_node_that_is_not_async_runs_on_the_loop_under_a_twin() -> None:
    run_virtual(FailNth(0).nodes(Graph("g", Text).chain(sync).build()).run(Text()))
