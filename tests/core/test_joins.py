"""The inclusive join: it waits for exactly the branches that can still arrive, and fires once."""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import pytest

from graphorch.graph.node import START
from tests.core.drill import Drill, graph, plan_of, step


def routed(made, source, **targets):
    """Return a graph whose route takes the last label in the log, or else its first."""
    names = tuple(targets)

    def by(state):
        return next((name for name in reversed(state.log) if name in names), names[0])

    by.__annotations__["return"] = Literal[names]  # type: ignore[valid-type]
    route = made._route(source, by)
    for name, target in targets.items():
        route.when(name, target)
    route.exhaustive()


def test_join_waits_for_slowest_branch():
    """A join waits for every branch that can still arrive."""
    made = graph().chain(step("fork"), [step("a"), step("b"), step("c")], step("merge"))
    drill = Drill(plan_of(made)).finish("fork", "c", "a")
    assert drill.running == ["b"]
    drill.finish("b")
    assert drill.running == ["merge"]


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_join_ignores_order_of_arrival(order):
    """What a join reads does not depend on the order of arrival."""
    made = graph().chain(step("fork"), [step("a"), step("b"), step("c")], step("merge"))
    assert Drill(plan_of(made)).finish("fork", *order).finish_all().log == [
        "fork",
        "a",
        "b",
        "c",
        "merge",
    ]


def test_join_fires_once():
    """Branches of unequal length fire the join once."""
    made = graph()
    fork, merge = step("fork"), step("merge")
    made.chain(fork, step("x1"), step("x2"), step("x3"), merge).chain(fork, step("y"), merge).chain(
        fork, merge
    )
    drill = Drill(plan_of(made)).finish("fork", "y")
    assert drill.running == ["x1"]
    assert drill.finish_all().log == ["fork", "x1", "y", "x2", "x3", "merge"]


def test_branches_have_no_barrier():
    """A fast branch does not wait for a slow one that cannot reach it."""
    fork, merge = step("fork"), step("merge")
    made = (
        graph()
        .chain(fork, [step("f1"), step("f2")], step("fast"), merge)
        .chain(fork, step("slow"), merge)
    )
    drill = Drill(plan_of(made)).finish("fork", "f1", "f2")
    assert drill.running == ["fast", "slow"]


def test_join_ignores_branch_not_taken():
    """A join does not wait for a branch that the route did not take."""
    made = graph()
    fork, left, merge = step("fork"), step("left"), step("merge")
    made.chain(fork, [left, step("right")], merge)
    made.spec.edges.remove(("left", "merge"))
    routed(made, left, away=step("away"), back=merge)
    drill = Drill(plan_of(made)).finish("fork", "left")
    assert drill.running == ["away", "right"]
    drill.finish("right")
    assert drill.running == ["away", "merge"]
    assert drill.finish_all().log == ["fork", "left", "right", "merge", "away"]


def test_join_waits_for_detour():
    """`f → (a, b)`, `a → b`: b waits for a."""
    made = graph()
    f, a, b = step("f"), step("a"), step("b")
    made.chain(f, [a, b]).chain(a, b)
    drill = Drill(plan_of(made)).finish("f")
    assert drill.running == ["a"]
    assert drill.finish_all().log == ["f", "a", "b"]


def test_all_sources_start():
    """Two nodes without incoming edges both start."""
    a, b = step("a"), step("b")
    made = graph().chain(a, step("merge")).chain(b, step("other")).chain(START, b)
    drill = Drill(plan_of(made))
    assert drill.running == ["a", "b"]
    assert drill.finish_all().ends == ["succeeded"]


def test_end_is_a_join():
    """END waits like any other join."""
    made = graph()
    fork = step("fork")
    made.chain(fork, [step("a"), step("b")])
    drill = Drill(plan_of(made)).finish("fork", "a")
    assert drill.ends == []
    assert drill.finish("b").log == ["fork", "a", "b"]


def test_join_counts_shared_write_once():
    """A write that both branches saw counts once."""
    made = graph().chain(
        step("first"), step("fork"), [step("a"), step("b")], step("merge"), step("last")
    )
    assert Drill(plan_of(made)).finish_all(max).log == ["first", "fork", "a", "b", "merge", "last"]


def test_join_folds_in_canonical_order():
    """Concurrent writes fold by depth, and then by declaration."""
    made = graph()
    fork, merge = step("fork"), step("merge")
    made.chain(fork, [step("z"), step("a")]).chain(made.spec.nodes["a"], step("deep"), merge).chain(
        made.spec.nodes["z"], merge
    )
    assert Drill(plan_of(made)).finish_all().log == ["fork", "z", "a", "deep", "merge"]


def test_join_of_chosen_branches():
    """A join waits for the set of branches that a multi-choice route took."""
    made = graph()
    fork, merge = step("fork"), step("merge")
    nodes = [step(name) for name in "abc"]

    def some(state):
        return frozenset({"a", "c"})

    some.__annotations__["return"] = frozenset[Literal["a", "b", "c"]]
    route = made._route(fork, some)
    for node in nodes:
        route.when(node.name, node)
    route.exhaustive()
    made.chain(nodes, merge)
    drill = Drill(plan_of(made)).finish("fork")
    assert drill.running == ["a", "c"]
    assert drill.finish_all(max).log == ["fork", "a", "c", "merge"]
