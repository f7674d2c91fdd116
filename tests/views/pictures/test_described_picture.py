"""Pictures of flows from descriptions: the boxes are those of the plan, and nothing breaks them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.graph.fingerprint import describe
from graphorch.render.layout.engine import layout
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from graphorch.views.pictures.described_picture import draw_description
from graphs.content_production import flow as content_production
from graphs.order_fulfilment import flow as order_fulfilment
from graphs.ticket_order import flow as ticket_order
from tests.trace.flows import shop

FLOWS = {
    "shop": shop(),
    "content": content_production,
    "orders": order_fulfilment,
    "tickets": ticket_order,
}


@pytest.mark.parametrize("name", FLOWS)
def test_boxes_of_description_are_those_of_plan(name: str) -> None:
    """Nodes have the ids, kinds and frames that they have in the picture of the plan."""
    plan = FLOWS[name].plan
    described = draw_description(plan.name, json.loads(json.dumps(describe(plan))))
    drawn = draw_plan(plan)
    # A description does not say of a join that it waits for all.
    boxes = {box.id: box.kind for box in drawn.boxes if box.name != "all"}
    assert {box.id: box.kind for box in described.boxes} == boxes
    groups = {group.id: group.kind for group in drawn.groups if group.kind != "loop"}
    assert {group.id: group.kind for group in described.groups} == groups
    lines = {line.id: (line.source, line.target, line.kind) for line in drawn.lines}
    for line in described.lines:
        assert lines[line.id][2] == line.kind or lines[line.id][2] in ("always", "conditional")
        assert lines[line.id][0] == line.source


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.sampled_from(["a", "b", "START", "END", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "nodes", "edges", "inner", "flows", "need", "kind", "itself"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_any_description_can_be_drawn(description: Any) -> None:
    """A description is data that anybody may have written: it is drawn as far as it makes sense."""
    picture = draw_description("any", description)
    if picture.boxes:
        draw(picture, layout(picture))


def test_flow_inside_itself_ends() -> None:
    """A list of flows that contain each other is opened only so far."""
    node = {"name": "a", "kind": "sub", "inner": 0}
    edges = [["START", "a", "always", []], ["a", "END", "always", []]]
    picture = draw_description(
        "deep", {"nodes": [node], "edges": edges, "flows": [{"nodes": [node], "edges": edges}]}
    )
    assert 0 < len(picture.boxes) < 100
