"""Growth of the work of a run with its graph: lines that the core and the state execute."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any

import pytest

from graphorch.core.events import EvaluateRoute, RouteDecision, RunStarted
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.graph.build import build_plan
from graphorch.graph.plan import Plan
from tests.graph.drawn import Drawing

SMALL, LARGE = 100, 400


def draw(edges: Iterable[tuple[int, int]], *, backwards: bool = False) -> Drawing:
    """Draw a graph of numbered nodes, which are declared in order or from the last one on."""
    edges = list(edges)
    names = [f"n{number}" for number in range(1 + max(map(max, edges)))]
    drawing = Drawing()
    drawing.nodes(reversed(names) if backwards else names)
    drawing.edges(*(f"n{source}>n{target}" for source, target in edges))
    return drawing


def skip(size: int) -> Drawing:
    """A chain in which every step also has an edge from the first one."""
    return draw(edge for number in range(1, size) for edge in {(number - 1, number), (0, number)})


def skip_backwards(size: int) -> Drawing:
    """The same with nodes declared from the last one on."""
    edges = (edge for number in range(1, size) for edge in {(number - 1, number), (0, number)})
    return draw(edges, backwards=True)


def far(size: int) -> Drawing:
    """A chain with long edges at random."""
    chance = random.Random(1)
    edges = {(number - 1, number) for number in range(1, size)}
    pairs = (sorted(chance.sample(range(size), 2)) for _ in range(2 * size))
    return draw(sorted(edges | {(first, last) for first, last in pairs}))


def ladder(size: int) -> Drawing:
    """Two lanes that hand over to each other at every step."""
    return draw(
        (source, target)
        for at in range(0, size - 3, 2)
        for source in (at, at + 1)
        for target in (at + 2, at + 3)
    )


def wide(size: int) -> Drawing:
    """Five layers; each node waits for three of the layer before."""
    chance, width = random.Random(2), size // 5
    return draw(
        (source, target)
        for at in range(width, size, width)
        for target in range(at, at + width)
        for source in chance.sample(range(at - width, at), 3)
    )


def waiting(size: int) -> Drawing:
    """Half of the nodes wait for the end of a chain, from the first step on."""
    half = size // 2
    chain = [(number - 1, number) for number in range(1, half)]
    sides = [(at, number) for number in range(half, size) for at in (0, half - 1)]
    return draw(chain + sides)


def looping(size: int) -> Drawing:
    """Half of the nodes wait for a loop that goes around as often as there are nodes."""
    edges = [(0, 1), (1, 2), (2, 3)]
    drawing = draw(edges + [(at, number) for number in range(4, size) for at in (0, 3)])
    drawing.loop("n2", "n1", bound=size)
    return drawing


def quorums(size: int) -> Drawing:
    """A chain of forks of three, of which each join needs two."""
    drawing = draw(
        edge
        for at in range(0, size - 4, 4)
        for number in (at + 1, at + 2, at + 3)
        for edge in ((at, number), (number, at + 4))
    )
    for at in range(4, size, 4):
        drawing.join(f"n{at}", 2)
    return drawing


def run_plan(plan: Plan, written: Sequence[int] = ()) -> Run:
    """Run all nodes in the order in which they start, and every loop to its bound."""
    run = Run(plan, "run")
    commands = deque(run.handle(RunStarted({})))
    while commands:
        command = commands.popleft()
        if isinstance(command, Activation):
            commands.extend(run.accept_success(command, dict.fromkeys(written, 1), 0.0))
        elif isinstance(command, EvaluateRoute):
            commands.extend(run.accept_route(command.activation, decide(command.activation)))
    return run


def decide(activation: Activation) -> RouteDecision:
    """Go around as long as the loop may."""
    (exit_,) = activation.step.exits
    is_over = activation.iteration(exit_.loop) >= exit_.bound
    return RouteDecision(exhausted=0) if is_over else RouteDecision(loop=0)


def count_lines(plan: Plan, written: Sequence[int] = ()) -> int:
    """Count the lines that a run executes, a measure that a busy machine cannot move."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        run = run_plan(plan, written)
    finally:
        sys.settrace(before)
    assert run.status == "succeeded"
    return count


@pytest.mark.parametrize(
    "shape", [skip, skip_backwards, far, ladder, wide, waiting, looping, quorums]
)
def test_run_is_linear(shape: Callable[[int], Drawing]) -> None:
    """Four times the nodes and edges take little more than four times the lines."""
    small, large = (build_plan(shape(size).blueprint) for size in (SMALL, LARGE))
    edges = len(large.topology.edges) / len(small.topology.edges)
    assert count_lines(large) <= 1.15 * edges * count_lines(small)


@pytest.mark.parametrize("shape", [skip, far])
def test_plain_writes_are_found_quickly(shape: Callable[[int], Drawing]) -> None:
    """Joins of a field that every step of a chain writes cost no more than the chain."""
    small, large = (build_plan(shape(size).blueprint) for size in (SMALL, LARGE))
    assert count_lines(large, [0]) <= 4.8 * count_lines(small, [0])
