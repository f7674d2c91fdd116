"""Graphs with mistakes anywhere: each is answered, soon, and by problems that hold."""

from __future__ import annotations

import gc
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import MANY_PROBLEMS, GraphError, Problem
from graphorch.graph.build import build_plan
from graphorch.graph.node import END
from tests.graph.content import Sketch, dash, list_codes, look, maybe, weak
from tests.graph.drawn import Drawing, plant_mistakes, random_drawing

SECONDS_PER_NODE = 0.001  # of the processor
LEAST_SECONDS = 0.5


class TooSlow(BaseException):
    """The time of the processor that a build may take is over."""


@contextmanager
def processor_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` inside once so much time of the processor is used, also in a tight loop.

    The collector waits: it would walk through the objects of all tests before, and an error
    that is raised in its callbacks reaches nobody.
    """

    def stop(number: int, frame: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    gc.disable()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        gc.enable()


def build(drawing: Drawing) -> tuple[Problem, ...]:
    """Return the problems of a graph, found within a second per 1,000 nodes."""
    nodes = len(drawing.blueprint.nodes)
    with processor_limit(max(LEAST_SECONDS, nodes * SECONDS_PER_NODE)):
        try:
            build_plan(drawing.blueprint)
        except GraphError as error:
            return error.problems
    return ()


def has_bounded_cycles(drawing: Drawing) -> bool:
    """Return whether every cycle passes a loop edge, by a search that shares nothing with ours."""
    spec = drawing.blueprint
    onwards: dict[str, set[str]] = {name: set() for name in spec.nodes}
    for source, target in spec.edges:
        if source != "END":
            onwards[source].add(target)
    for route in {route.source: route for route in reversed(spec.routes)}.values():
        onwards[route.source].update(name for _, names in route.cases for name in names)
    for error in spec.errors:
        onwards[error.source].add(error.handler)
    # Take away what leads nowhere, until only cycles are left.
    while leaves := {name for name, targets in onwards.items() if not targets & onwards.keys()}:
        for name in leaves:
            del onwards[name]
    return not onwards


@given(seed=st.integers(0, 2**32), mistakes=st.integers(1, 8))
def test_broken_graphs_are_answered(seed: int, mistakes: int) -> None:
    """A graph with mistakes anywhere is answered, and each of its unbounded cycles is found."""
    drawing = random_drawing(seed, size=9)
    plant_mistakes(drawing, random.Random(seed), mistakes)
    codes = {problem.code for problem in build(drawing)}
    assert "UNDECLARED_CYCLE" in codes or has_bounded_cycles(drawing)


@pytest.mark.parametrize("seed", range(6))
def test_large_broken_graphs_are_answered(seed: int) -> None:
    """A graph of hundreds of nodes with mistakes is answered within a second per 1,000 nodes."""
    rng = random.Random(seed)
    drawing = random_drawing(seed, size=1000)
    plant_mistakes(drawing, rng, rng.choice([1, 30, 300]))
    build(drawing)


def line(count: int, *, writes: str = "") -> Drawing:
    """Return `count` nodes n0, n1, … without edges."""
    drawing = Drawing("x")
    for number in range(count):
        drawing.node(f"n{number}", "", writes)
    return drawing


def draw_cycles_behind_loop_edges(count: int) -> Drawing:
    """Pairs of nodes that lead to each other; only loop edges lead from pair to pair."""
    drawing = line(count)
    for number in range(1, count - 1, 2):
        drawing.edges(f"n{number}>n{number + 1}>n{number}")
        drawing.loop(f"n{number - 1}", f"n{number}")
    return drawing


def draw_forward_loops(count: int) -> Drawing:
    """Declare each step of a chain as a way back."""
    drawing = line(count)
    for number in range(count - 1):
        drawing.loop(f"n{number}", f"n{number + 1}")
    return drawing


def draw_steps_of_one_and_two(count: int) -> Drawing:
    """Lead each node to the next two, all of which write one field."""
    drawing = line(count, writes="x")
    for number in range(count - 2):
        drawing.edges(f"n{number}>n{number + 1}", f"n{number}>n{number + 2}")
    return drawing


def draw_wide_fork(count: int) -> Drawing:
    """One fork into branches that all write one field."""
    drawing = line(count, writes="x")
    for number in range(1, count - 1):
        drawing.edges(f"n0>n{number}>n{count - 1}")
    return drawing


def draw_many_routes(count: int) -> Drawing:
    """Routes that may take both of the next two nodes, which write one field, with loops."""
    drawing = line(count, writes="x")
    for number in range(count - 2):
        cases = {"a": f"n{number + 1}", "b": f"n{number + 2}"}
        drawing.route(f"n{number}", cases, many=number % 2 == 0)
    for number in range(5, count, 5):
        drawing.loop(f"n{number}", f"n{number - 5}")
    return drawing


def draw_first_of_two_everywhere(count: int) -> Drawing:
    """Let each node of a chain of detours take the first of its two tokens."""
    drawing = draw_steps_of_one_and_two(count)
    for number in range(2, count):
        drawing.join(f"n{number}", 1)
    return drawing


def draw_edges_back_to_first(count: int) -> Drawing:
    """Lead every node of a chain back to the first one by a plain edge."""
    drawing = line(count)
    for number in range(count - 1):
        drawing.edges(f"n{number}>n{number + 1}>n0")
    return drawing


def draw_edges_back_by_one(count: int) -> Drawing:
    """Lead every node of a chain back to the one before it, and the last one to the first."""
    drawing = line(count)
    for number in range(count - 1):
        drawing.edges(f"n{number + 1}>n{number}")
    drawing.edges(f"n{count - 1}>n0")
    for number in range(count - 1):
        drawing.edges(f"n{number}>n{number + 1}")
    return drawing


def draw_everything_connected(count: int) -> Drawing:
    """Lead each of a few nodes to all of them, itself included."""
    few = count // 10
    drawing = line(few)
    for one in range(few):
        for two in range(few):
            drawing.edges(f"n{one}>n{two}")
    return drawing


@pytest.mark.parametrize(
    ("draw", "code"),
    [
        (draw_cycles_behind_loop_edges, "UNDECLARED_CYCLE"),
        (draw_forward_loops, "LOOP_NOT_BACK"),
        (draw_steps_of_one_and_two, "UNORDERED_WRITES"),
        (draw_wide_fork, "UNORDERED_WRITES"),
        (draw_many_routes, "UNORDERED_WRITES"),
        (draw_first_of_two_everywhere, "QUORUM_REGION"),
        (draw_edges_back_to_first, "UNDECLARED_CYCLE"),
        (draw_everything_connected, "UNDECLARED_CYCLE"),
    ],
)
def test_hard_shapes_are_answered(draw: Callable[[int], Drawing], code: str) -> None:
    """Each shape that is hard on some check is answered within a second per 1,000 nodes."""
    drawing = draw(300)
    assert code in {problem.code for problem in build(drawing)}


def test_long_chain_of_writers_is_answered() -> None:
    """A chain whose nodes all write one field takes no look at each pair of them."""
    drawing = line(3000, writes="x")
    drawing.edges(">".join(f"n{number}" for number in range(3000)))
    assert build(drawing) == ()


def test_cycle_behind_loop_edge_is_found() -> None:
    """A cycle that START reaches only over a loop edge is named, and so is the loop."""
    sketch = Sketch()
    sketch.chain(look, dash, END).chain(dash, look)
    sketch.loop(maybe, back_to=look, while_=weak, max_iterations=3)
    with processor_limit(LEAST_SECONDS):
        assert list_codes(sketch)[:2] == ["UNDECLARED_CYCLE", "LOOP_NOT_BACK"]


def test_text_of_many_problems_is_cut() -> None:
    """The text of an error tells the first problems and counts the rest."""
    problems = build(draw_edges_back_by_one(400))
    text = str(GraphError("drawn", problems))
    assert len(problems) > 300
    assert text.count("    fix: ") == MANY_PROBLEMS
    assert text.endswith(
        f"… and {len(problems) - MANY_PROBLEMS} more, all of them in `error.problems`."
    )
    assert "n0 → n1 → n2 → n3 → n4 → n5 → … (" in text
    assert len(text) < 40_000
