"""Flow maps: kinds of nodes and targets of edges, from the description in a record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch import Graph
from graphorch.graph.fingerprint import describe
from graphorch.trace.spans.flow_map import FlowMap
from tests.scenarios.flows import FLOWS, State, says, up
from tests.trace.flows import shop

SHOP = FlowMap(describe(shop().plan))
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["nodes", "edges"]), inner),
)


def map_of(name: str) -> FlowMap:
    """Return the map of one of the ten small flows."""
    return FlowMap(describe(FLOWS[name]().plan))


def test_nodes_are_known_at_any_depth() -> None:
    """Kinds and written slices are those of the node at the path."""
    assert [SHOP.kind(path) for path in ("plan", "fulfilment", "fulfilment/stock")] == [
        "agent",
        "sub",
        "sub",
    ]
    assert SHOP.kind("fulfilment/stock/count") == "node"
    assert SHOP.writes("fulfilment/stock/count") == ["Stock"]
    assert SHOP.first() == ["plan"]
    assert SHOP.first("fulfilment") == ["check"]
    assert SHOP.first("fulfilment/stock") == ["look"]


def test_indices_of_items_are_ignored() -> None:
    """All items of a map have the description of their flow."""
    flows = map_of("mapped_flows")
    assert flows.kind("each") == "map"
    assert flows.first("each[7]") == flows.first("each") != []


def test_edges_lead_to_readers_and_handlers() -> None:
    """Plain edges lead to readers, and error edges to handlers."""
    rescued = map_of("rescued")
    assert rescued.readers("a") == ["bad", "fine"]
    assert rescued.handlers("bad") == ["rescue"]
    assert rescued.handlers("fine") == []


def test_route_is_selector_or_loop() -> None:
    """A selector or a loop decides what follows; plain edges do not."""
    assert SHOP.has_route("fulfilment/stock/look")
    assert not SHOP.has_route("fulfilment/check")
    assert map_of("loop_with_join").has_route("last")


def test_routed_edges_are_numbered_in_flow() -> None:
    """A route is stored as numbers of edges of its flow."""
    edges = [edge[:2] for edge in describe(FLOWS["routes"]().plan)["edges"]]
    numbers = [edges.index(["second", "c"]), edges.index(["second", "a"]), 99]
    assert map_of("routes").taken("second", -1, -1, numbers) == (["c", "a"], "")


@pytest.mark.parametrize(
    ("loop", "exhausted", "expected"),
    [
        (0, -1, (["up"], "check → up")),
        (-1, 0, (["give_up"], "check → up, exhausted")),
        (-1, -1, (["done"], "")),
        (5, 5, (["done"], "")),
    ],
)
def test_loop_goes_back_or_ends(loop: int, exhausted: int, expected: tuple[list[str], str]) -> None:
    """A loop leads back, or past its bound to another node, or on."""
    graph = Graph("g", State)
    first, check, done = up("up"), says("check"), says("done")
    graph.chain(first, check, done)
    graph.loop(check, back_to=first, while_=is_low, max_iterations=2, exhausted=says("give_up"))
    flow_map = FlowMap(describe(graph.build().plan))
    assert flow_map.taken("check", loop, exhausted, []) == expected


def is_low(state: State) -> bool:
    return state.n < 9


@given(JSON)
def test_damaged_description_is_only_empty(description: Any) -> None:
    """A description of any shape makes answers less precise, and raises nothing."""
    flow_map = FlowMap(description)
    assert isinstance(flow_map.kind("a/b"), str)
    assert all(isinstance(name, str) for name in flow_map.first() + flow_map.readers("a"))
    assert isinstance(flow_map.taken("a", 0, 0, [0])[1], str)
