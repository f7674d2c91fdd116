"""Nodes are named by path, at every level of a flow."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch import Graph, InputError
from graphorch.debugger.places import expand_item_paths, find_step, list_steps, resolve_path
from tests.scenarios.flows import FLOWS, Number, State, up

MAPPED = FLOWS["mapped_flows"]().plan
TEAM = FLOWS["sub_flows"]().plan


def test_list_holds_every_level() -> None:
    paths = [path for path, _ in list_steps(MAPPED)]
    assert sorted(paths) == ["beside", "each", "each/one", "each/two", "end", "make"]


def test_find_ignores_item_numbers() -> None:
    step = find_step(MAPPED, "each[2]/two")
    assert step.name == "two"
    assert find_step(MAPPED, "each/two") is step


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("each/tow", r"'each/tow' does not name a node of 'item'\. Did you mean 'two'\?"),
        ("maek", r"'maek' does not name a node of 'mapped_flows'\. Did you mean 'make'\?"),
        ("make/two", r"'make/two' names nothing: 'make' is neither a sub-flow nor a map\."),
    ],
)
def test_unknown_path_is_refused(path: str, message: str) -> None:
    """The error names the level and the nearest name in it."""
    with pytest.raises(InputError, match=message):
        find_step(MAPPED, path)


def test_resolve_takes_node_or_path() -> None:
    """A node stands for its only place, which may be inside a sub-flow or map."""
    assert resolve_path(MAPPED, up("two")) == "each/two"
    assert resolve_path(MAPPED, "each[1]/two") == "each/two"
    with pytest.raises(InputError, match=r"'three' is not a node of 'mapped_flows'"):
        resolve_path(MAPPED, up("three"))


def test_items_of_growing_map_have_to_be_named() -> None:
    """What a map will grow has no names yet, so a path stands for no items of it."""
    graph: Graph[Number, Number, Number] = Graph("growing", Number)
    work: Any = up("two")
    each = graph.map(
        "each",
        work,
        over=lambda s: [State(n=s.n)],
        gather=lambda found: Number(n=len(found)),
        max_items=9,
        grow=lambda found: [],
    )
    plan = graph.chain(each).build().plan
    with pytest.raises(InputError, match=r"Name one item, such as 'each\[0\]/two'"):
        expand_item_paths(plan, "each/two")
    assert expand_item_paths(plan, "each[0.1]/two") == ["each[0.1]/two"]


def test_items_expand_to_bound_of_map() -> None:
    """A path that names its item stays as it is."""
    assert expand_item_paths(MAPPED, "each/two") == [f"each[{item}]/two" for item in range(9)]
    assert expand_item_paths(MAPPED, "each[3]/two") == ["each[3]/two"]
    assert expand_item_paths(MAPPED, "end") == ["end"]
