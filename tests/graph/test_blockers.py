"""Blockers of joins: who can still bring a token, and that it takes no search to know."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphorch.graph.build import build_plan
from graphorch.graph.checks import check
from graphorch.graph.compiler import compile_plan
from graphorch.graph.topology import build_topology
from tests.graph.drawn import Drawing, nested_drawing, random_drawing
from tests.graph.simulated import Simulator


def blockers(drawing: Drawing, name: str) -> set[str]:
    """Return the names of the blockers of a node; a latch is named after its header."""
    plan = compile_plan(drawing.blueprint, build_topology(drawing.blueprint), {})
    mask = next(step for step in plan.steps if step.name == name).blockers
    names = {step.name for step in plan.steps if mask >> step.index & 1}
    return names | {
        f"latch of {plan.topology.name(header)}"
        for position, header in plan.latch_headers.items()
        if mask >> position & 1
    }


def drawn(*lines: str) -> Drawing:
    drawing = Drawing()
    drawing.nodes(
        dict.fromkeys(
            name
            for line in lines
            for step in line.split(">")
            for name in step.split(",")
            if name != "END"
        )
    )
    drawing.edges(*lines)
    return drawing


def test_join_is_blocked_by_all_ancestors() -> None:
    """A join waits for all nodes that lead to it; a node with a single edge in waits for none."""
    drawing = drawn("f>a,b", "a>c>j", "b>j>z")
    assert blockers(drawing, "j") == {"f", "a", "b", "c"}
    assert blockers(drawing, "z") == set()


def test_header_is_not_blocked_by_own_latch() -> None:
    """A header is blocked by its body but not by its own latch."""
    drawing = drawn("a>h>b>c")
    drawing.loop("b", "h")
    assert blockers(drawing, "h") == {"a", "b"}


def test_join_in_body_ignores_next_iteration() -> None:
    """A node after the join leads to it only by the next iteration, so it does not block."""
    drawing = drawn("h>a,b>j>s>z")
    drawing.loop("s", "h")
    assert blockers(drawing, "j") == {"h", "a", "b"}


def test_join_after_loop_is_blocked_by_latch() -> None:
    """A join after the loop waits for the latch, too."""
    drawing = drawn("f>h>s>j", "f>j")
    drawing.loop("s", "h")
    assert blockers(drawing, "j") == {"f", "h", "s", "latch of h"}


def test_inner_latch_blocks_outer_body() -> None:
    """The latch of an inner loop blocks the rest of the outer body."""
    drawing = drawn("o>h>s>j>t>z", "o>j")
    drawing.loop("s", "h")
    drawing.loop("t", "o")
    assert blockers(drawing, "j") == {"o", "h", "s", "latch of h"}
    assert "latch of h" in blockers(drawing, "o")


def assert_blockers_match_path_search(drawing: Drawing) -> None:
    """The masks of a graph with sound loops agree with a search of paths."""
    shape = build_topology(drawing.blueprint)
    problems = check(drawing.blueprint, shape).problems
    assume(not any(problem.code.startswith(("LOOP", "CYCLE")) for problem in problems))
    plan = compile_plan(drawing.blueprint, shape, {})
    naive = Simulator.of(drawing.blueprint, shape).blocking
    positions = [(("at", index), index) for index in range(shape.end + 1)]
    positions += [(("latch", header), position) for position, header in plan.latch_headers.items()]
    for step in plan.steps:
        if step.joins:
            assert {item for item, position in positions if step.blockers >> position & 1} == {
                item for item, _ in positions if naive[item, step.index]
            }
    for position, blocked in enumerate(plan.blocked):
        mask = sum(1 << step.index for step in plan.steps if step.blockers >> position & 1)
        assert blocked == mask


@given(seed=st.integers(0, 2**32))
def test_blockers_match_path_search(seed: int) -> None:
    """The masks agree with a search of paths."""
    assert_blockers_match_path_search(random_drawing(seed, size=9))


@given(seed=st.integers(0, 2**32))
def test_blockers_of_nested_loops_match_path_search(seed: int) -> None:
    """The masks agree with a search of paths where loops are nested and follow each other."""
    assert_blockers_match_path_search(nested_drawing(seed))


# ---- cost ----------------------------------------------------------------------------------------
def looping(size: int) -> Drawing:
    """A chain in which every node repeats itself."""
    drawing = drawn(">".join(f"n{number}" for number in range(size)))
    for number in range(size):
        drawing.loop(f"n{number}", f"n{number}")
    return drawing


def returning(size: int) -> Drawing:
    """A chain in which every node can lead back to the first one."""
    drawing = drawn(">".join(f"n{number}" for number in range(size)))
    for number in range(1, size):
        drawing.loop(f"n{number}", "n0")
    return drawing


def nested(size: int) -> Drawing:
    """A chain in which all loops are inside each other."""
    drawing = drawn(">".join(f"n{number}" for number in range(size)))
    for number in range(size // 2):
        drawing.loop(f"n{size - 1 - number}", f"n{number}")
    return drawing


def forked(size: int) -> Drawing:
    """A chain of forks and joins; both branches repeat themselves, and so does every section."""
    drawing = drawn(*(f"n{at}>n{at + 1},n{at + 2}>n{at + 3}" for at in range(0, size - 3, 3)))
    for at in range(0, size - 3, 3):
        drawing.loop(f"n{at + 1}", f"n{at + 1}")
        drawing.loop(f"n{at + 2}", f"n{at + 2}")
        drawing.loop(f"n{at + 3}", f"n{at}")
    return drawing


def count_calls(drawing: Drawing) -> int:
    """Count the function calls of a build, a measure that a busy machine cannot move."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        build_plan(drawing.blueprint)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("shape", [looping, returning, nested, forked])
def test_build_with_loop_per_node_is_linear(shape: Callable[[int], Drawing]) -> None:
    """Four times the nodes, each with a loop, take little more than four times the calls."""
    assert count_calls(shape(241)) <= 4.4 * count_calls(shape(61))
