"""Flows inside flows: every feature holds at the deepest level, and one more does not build."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphorch import Flow, Graph, GraphError, InputError, Question, RunFailed, node
from graphorch.graph.checks.nesting import MAX_LEVELS, MAX_NODES
from graphorch.journal import MemoryStore
from graphorch.journal.codec import BodyLimits
from tests.flow.slices import Item, State, Text


@node
def write(item: Item) -> Text:
    return Text(text=f"about {item.item}")


def build(*steps: Any) -> Flow[Item, Text, State]:
    return Graph("level", State, input=Item, output=Text).chain(*steps).build()


def wrap(flow: Flow[Item, Text, State]) -> Flow[Item, Text, State]:
    """Return a flow with another one inside."""
    graph = Graph("level", State, input=Item, output=Text)
    inner = graph.sub("in", flow, enter=lambda s: Item(item=s.item), leave=lambda t: t)
    return graph.chain(inner).build()


def wrap_in_map(flow: Flow[Item, Text, State]) -> Flow[Item, Text, State]:
    """Return a flow that maps another one over its item."""

    def over(item: Item) -> list[Item]:
        return [item]

    def gather(texts: list[Text]) -> Text:
        return texts[0]

    graph = Graph("level", State, input=Item, output=Text)
    return graph.chain(graph.map("in", flow, over=over, gather=gather, max_items=1)).build()


def double(flow: Flow[Item, Text, State]) -> Flow[Item, Text, State]:
    """Return a flow with another one twice inside."""
    graph = Graph("level", State, input=Item, output=Text)
    names = ("first", "second")
    twice = [graph.sub(name, flow, enter=lambda s: Item(), leave=lambda t: t) for name in names]
    return graph.chain(*twice).build()


def nest(
    levels: int, wrap_once: Callable[[Flow[Item, Text, State]], Flow[Item, Text, State]] = wrap
) -> Flow[Item, Text, State]:
    flow = build(write)
    for _ in range(levels - 1):
        flow = wrap_once(flow)
    return flow


DEEPEST = "/".join(["in"] * (MAX_LEVELS - 1))


def call_deeply(function: Callable[[], Any], frames: int = 150) -> Any:
    """Call a function on a stack as deep as a web server's."""
    return function() if not frames else call_deeply(function, frames - 1)


@pytest.mark.parametrize("wrap_once", [wrap, wrap_in_map])
def test_deepest_flow_runs_everywhere(wrap_once: Any, tmp_path: Path) -> None:
    """At the deepest level a flow runs, is kept, replayed, drawn, estimated and explained."""
    assert sys.getrecursionlimit() <= 1000 + 100
    flow, path = nest(MAX_LEVELS, wrap_once), str(tmp_path / "runs.sqlite")
    tides = Item(item="tides")

    def run_all() -> None:
        assert asyncio.run(flow.run(tides)).output.text == "about tides"
        kept = asyncio.run(flow.run(tides, durable=path, run_id="r"))
        assert kept.output.text == "about tides"
        assert asyncio.run(flow.replay("r", durable=path)).output == kept.output
        assert asyncio.run(flow.resume("r", durable=path)).output == kept.output
        assert kept.svg().startswith("<svg")
        assert flow.svg(engine="builtin").startswith("<svg")
        assert "level" in flow.to_dot() + flow.to_mermaid()
        assert len(flow.to_networkx())
        assert flow.estimate().worst.activations

    call_deeply(run_all)


def test_deepest_node_is_changed(tmp_path: Path) -> None:
    """A run is changed at its deepest node, which has a path of all levels."""
    flow, path = nest(MAX_LEVELS), str(tmp_path / "runs.sqlite")
    flow.run_sync(Item(item="tides"), durable=path, run_id="r")
    changed = asyncio.run(
        flow.rerun("r", start=f"{DEEPEST}/write", output=Text(text="changed"), durable=path)
    )
    assert changed.result.output.text == "changed"


def test_deepest_question_is_answered(tmp_path: Path) -> None:
    """A person answers a question at the deepest level of a stored run."""
    graph = Graph("level", State, input=Item, output=Text)
    flow = graph.chain(graph.ask("ask", question=lambda s: "?", answer=Text)).build()
    for _ in range(MAX_LEVELS - 1):
        flow = wrap(flow)
    path = str(tmp_path / "runs.sqlite")
    waiting = flow.run_sync(Item(), durable=path, run_id="r")
    question: Question = waiting.questions[0]
    assert question.path == f"{DEEPEST}/ask"
    answered = asyncio.run(flow.answer("r", question, Text(text="yes"), durable=path))
    assert answered.output.text == "yes"


def test_deepest_failure_is_told(tmp_path: Path) -> None:
    """A failure at the deepest level ends the run with its path, and the run is resumed."""
    failed: list[int] = []

    @node
    def fail_once(item: Item) -> Text:
        if not failed:
            failed.append(1)
            raise ValueError("no tides")
        return Text(text="resumed")

    flow = build(fail_once)
    for _ in range(MAX_LEVELS - 1):
        flow = wrap(flow)
    path = str(tmp_path / "runs.sqlite")
    with pytest.raises(RunFailed) as caught:
        flow.run_sync(Item(), durable=path, run_id="r")
    assert f"at {DEEPEST}/fail_once" in str(caught.value)
    assert asyncio.run(flow.resume("r", durable=path)).output.text == "resumed"


@pytest.mark.parametrize("wrap_once", [wrap, wrap_in_map])
def test_too_deep_flow_does_not_build(wrap_once: Any) -> None:
    """A level more than the most is one problem with the way out, and no recursion."""
    flow = nest(MAX_LEVELS, wrap_once)
    with pytest.raises(GraphError) as caught:
        wrap_once(flow)
    (problem,) = caught.value.problems
    assert problem.code == "NESTED_TOO_DEEPLY"
    assert problem.what == (
        f"flow 'level' has {MAX_LEVELS} levels of flows inside each other already"
    )


def test_flow_that_doubles_does_not_build() -> None:
    """A flow that holds another one twice, level by level, is refused before it explodes."""
    flow = build(write)
    while flow.plan.size * 2 + 2 <= MAX_NODES:
        flow = double(flow)
    with pytest.raises(GraphError, match=r"TOO_MANY_NODES .* it has 1\d\d,\d\d\d nodes"):
        double(flow)


def test_graph_too_large_for_journal_is_refused(tmp_path: Path) -> None:
    """A graph that no record could hold is refused before its run exists in the journal."""
    flow = build(*(write.named(f"write_{number}") for number in range(5_000)))
    store = MemoryStore(limits=BodyLimits(max_bytes=100_000))
    with pytest.raises(
        InputError, match=r"has 5,000 nodes .* too much for a journal: The body has"
    ):
        asyncio.run(flow.run(Item(), durable=store, run_id="r"))
    assert asyncio.run(store.list_runs()).runs == ()
