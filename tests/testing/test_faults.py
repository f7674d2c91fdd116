"""Injected faults: the n-th call fails before or after its work, on the same graph."""

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
def test_around_nodes_keeps_graph(name: str) -> None:
    """A flow with something around its nodes is the same graph."""
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


def test_nth_node_call_fails() -> None:
    """The n-th call of a node fails and says so."""
    fault = FailNth(2)
    with pytest.raises(RunFailed) as caught:
        run_virtual(fault.nodes(FLOWS["chain"]()).run(State(), resources=Ledger()))
    (error,) = caught.value.exceptions
    assert isinstance(error, NodeError)
    assert isinstance(error.__cause__, Injected)
    assert (error.node, fault.calls, fault.has_fired) == ("b", 2, True)


def test_lost_result_was_computed() -> None:
    """The work of a lost result was done."""
    ledgers: list[list[str]] = []
    for when_ in ("before", "after"):
        ledger = Ledger()
        with pytest.raises(RunFailed):
            run_virtual(
                FailNth(1, when=when_).nodes(FLOWS["chain"]()).run(State(), resources=ledger)
            )
        ledgers.append(ledger.entries)
    assert [len(entries) for entries in ledgers] == [0, 1]


def test_zero_only_counts() -> None:
    """Zero counts calls and lets all of them pass."""
    fault = FailNth(0)
    run_virtual(fault.nodes(FLOWS["chain"]()).run(State(), resources=Ledger()))
    assert (fault.calls, fault.has_fired) == (4, False)


def test_nth_model_call_is_retryable() -> None:
    """The n-th model call fails with an error that may be retried."""
    flow = Graph("g", Text).chain(ask).build()
    model = ScriptedModel(when("Say", "fine", repeats=True))
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(Text(), client=FailNth(1).model(model)))
    assert "call 1 of a model was made to fail" in str(caught.value)
    assert run_virtual(flow.run(Text(), client=FailNth(2).model(model))).output.text == "fine"


def test_twin_agent_calls_its_model() -> None:
    """An agent under a twin still calls its model."""
    flow = Graph("g", Text).chain(ask.with_model("vendor/model")).build()
    with ScriptedModel("fine") as model:
        run_virtual(FailNth(0).nodes(flow).run(Text(), client=model))
    assert model.requests[0].model == "vendor/model"
    assert FailNth(0).nodes(flow).plan.steps[0].node.model == "vendor/model"


def test_fault_raises_given_error() -> None:
    """The error is the caller's own if there is one."""
    flow = FailNth(1, KeyError("mine")).nodes(FLOWS["chain"]())
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(State(), resources=Ledger()))
    assert isinstance(caught.value.exceptions[0].__cause__, KeyError)


def test_flow_resumes_run_of_twin() -> None:
    """A run that failed under a twin is resumed by the flow itself."""
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


def test_twin_runs_sync_node_on_loop() -> None:
    """A node that is not async runs on the loop under a twin."""
    run_virtual(FailNth(0).nodes(Graph("g", Text).chain(sync).build()).run(Text()))
