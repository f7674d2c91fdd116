"""A graph that runs itself, and flows in many places: what is derived of them is derived once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from graphorch import Graph, node
from graphorch.cli.commands.flows.show import describe_flow, format_description
from graphorch.graph.estimate.estimator import estimate, worst_case
from graphorch.graph.fingerprint import compute_fingerprint, describe
from graphorch.render.networkx import to_networkx
from graphorch.render.plan_picture import draw_plan
from graphorch.trace.spans.flow_map import FlowMap
from tests.scenarios.recursion.trees import (
    AnyFlow,
    Before,
    BeforeThat,
    Fibonacci,
    Numbers,
    Place,
    Value,
    fibonacci_flow,
    halving_flow,
)


def same_place(state: Place) -> Place:
    return state


def as_before(value: Value) -> Before:
    return Before(before=value.value)


def as_before_that(value: Value) -> BeforeThat:
    return BeforeThat(before_that=value.value)


@node
def one(state: Place) -> Value:
    return Value(value=1)


@node
def add(before: Before, that: BeforeThat) -> Value:
    return Value(value=before.before + that.before_that)


def chain_flow(depth: int) -> AnyFlow:
    """Build a chain of flows, each of which uses the next one in two places."""
    flow: AnyFlow = Graph("level0", Fibonacci, input=Place, output=Value).chain(one).build()
    for level in range(1, depth + 1):
        graph = Graph(f"level{level}", Fibonacci, input=Place, output=Value)
        left = graph.sub("left", flow, enter=same_place, leave=as_before)
        right = graph.sub("right", flow, enter=same_place, leave=as_before_that)
        flow = graph.chain([left, right], add).build()
    return flow


def count_lines(work: Callable[[], object]) -> int:
    """Return how many lines of Python some work executes."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


# ---- growth --------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [chain_flow, fibonacci_flow], ids=["sub-flows", "recursion"])
@pytest.mark.parametrize(
    "derive",
    [
        lambda flow: estimate(flow.plan),
        lambda flow: compute_fingerprint(flow.plan),
        lambda flow: to_networkx(flow.plan),
        lambda flow: draw_plan(flow.plan),
    ],
    ids=["estimate", "fingerprint", "networkx", "picture"],
)
def test_shared_flows_are_derived_once(
    make: Callable[[int], AnyFlow], derive: Callable[[AnyFlow], object]
) -> None:
    """Twice the levels are two to three times the work, although they are 100 times the nodes."""
    small, large = make(6), make(12)
    derive(make(6))  # what is imported
    few, many = (count_lines(lambda flow=flow: derive(flow)) for flow in (small, large))
    assert many < 4 * few + 2_000


def test_shared_flows_are_built_once() -> None:
    """A graph with a flow in two places is built as quickly, be it the tenth level or the first."""
    few, many = (count_lines(lambda depth=depth: chain_flow(depth)) for depth in (4, 12))
    assert many < 4 * few


# ---- the estimate --------------------------------------------------------------------------------
def test_estimate_sums_all_levels_of_recursion() -> None:
    """The worst case is the sum over all levels, and a node has one row for all of them."""
    worst = worst_case(halving_flow(3).plan)
    # Of 1 + 2 + 4 + 8 runs of the flow, each looks, and takes or halves.
    assert worst.activations == 15 * 2
    assert worst.by_node == {"look": 15, "take": 15, "halves": 15}


def test_estimate_bounds_run_of_recursion() -> None:
    """No run does more than the worst case says, and one that goes all the way does as much."""
    flow = halving_flow(3)
    result = flow.run_sync(Numbers(numbers=list(range(8))))
    assert len(result.steps) == flow.estimate().worst.activations


def test_estimate_names_flow_of_many_places_once() -> None:
    """In a large graph, a node of a flow in several places has the row of its first path."""
    small, large = estimate(chain_flow(2).plan), estimate(chain_flow(12).plan)
    assert {"left/left/one", "right/left/one"} <= {node.path for node in small.nodes}
    (row,) = [node for node in large.nodes if node.path.endswith("/one")]
    assert row.worst.activations == 2**12
    assert large.worst.activations == sum(node.worst.activations for node in large.nodes)


# ---- the description -----------------------------------------------------------------------------
def test_description_says_itself() -> None:
    """A node that runs the graph says so, and its bound is no part of the graph."""
    description = describe(halving_flow(3).plan)
    halves = next(node for node in description["nodes"] if node["name"] == "halves")
    assert (halves["inner"], halves["itself"]) == (None, True)
    same, other = halving_flow(9), fibonacci_flow(3)
    assert compute_fingerprint(same.plan) == compute_fingerprint(halving_flow(3).plan)
    assert compute_fingerprint(other.plan) != compute_fingerprint(same.plan)


def test_description_of_many_levels_stays_small() -> None:
    """A flow in thousands of places is described once, and readers find it at each path."""
    description = describe(chain_flow(12).plan)
    assert len(json.dumps(description)) < 20_000
    assert len(description["flows"]) == 12
    nodes = FlowMap(description)
    assert nodes.kind("/".join(["left", "right"] * 6 + ["one"])) == "node"
    assert nodes.kind("left/right/left") == "sub"
    assert nodes.kind("left/nothing") == ""


def test_description_of_equal_flows_is_equal() -> None:
    """Whether two places have the same flow, or two that are built alike, makes no difference."""

    def build(depth: int) -> AnyFlow:
        if not depth:
            return chain_flow(0)
        graph = Graph(f"level{depth}", Fibonacci, input=Place, output=Value)
        left = graph.sub("left", build(depth - 1), enter=same_place, leave=as_before)
        right = graph.sub("right", build(depth - 1), enter=same_place, leave=as_before_that)
        return graph.chain([left, right], add).build()

    built = build(9).plan
    assert describe(built) == describe(chain_flow(9).plan)
    assert compute_fingerprint(built) == compute_fingerprint(chain_flow(9).plan)


def test_reader_finds_nodes_of_every_level() -> None:
    """A reader of records knows the nodes of a recursion at any depth."""
    nodes = FlowMap(describe(halving_flow(5).plan))
    assert nodes.kind("halves[0]/halves[1]/halves") == "map"
    assert nodes.kind("halves/halves/halves/take") == "node"


# ---- what people see -----------------------------------------------------------------------------
def test_recursive_node_is_drawn_once() -> None:
    """A node that runs the flow is one box with its bound; a run shows the levels that it had."""
    flow = halving_flow(7)
    boxes = {box.id: box for box in draw_plan(flow.plan).boxes}
    assert boxes["halves"].detail == "map · max 2 · ↻ at most 7 deep"
    assert not any("/" in id_.replace("//", "") for id_ in boxes)
    result = flow.run_sync(Numbers(numbers=[1, 2, 3]))
    picture = draw_plan(flow.plan, ran=[step.path for step in result.steps])
    assert {"halves/look", "halves/halves/take"} <= {box.id for box in picture.boxes}
    assert {box.id for box in picture.boxes if box.detail.endswith("deep")} == {
        "halves/halves/halves"
    }
    assert "halves/halves" in result.svg()


def test_recursive_sub_flow_shows_its_bound() -> None:
    """The box of a sub-flow that is the flow itself says so, as `show` and the export do."""
    plan = fibonacci_flow(4).plan
    boxes = {box.id: box.detail for box in draw_plan(plan).boxes}
    assert boxes["first"] == "sub-flow · ↻ at most 4 deep"
    text = format_description(describe_flow(plan, worst_case(plan)))
    assert "sub, this flow itself, at most 4 deep" in text
    assert "first/" not in text
    exported = to_networkx(plan).nodes["first"]
    assert exported == {"kind": "sub", "max_depth": 4}
