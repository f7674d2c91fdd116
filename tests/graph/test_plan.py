"""The compiled plan: who blocks whom, and what a step knows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.graph.build import build_plan
from graphorch.graph.compiler import compile_plan, find_components
from graphorch.graph.node import END, node
from graphorch.graph.payloads import Failure
from graphorch.graph.plan import Plan, Step
from graphorch.graph.signature import StateFunction
from graphorch.graph.topology import build_topology
from tests.graph.content import (
    Draft,
    Research,
    Sketch,
    Topic,
    Verdict,
    any_kind,
    dash,
    dig,
    jobs_of,
    judge,
    kind_of,
    look,
    note,
    notes_of,
    rescue,
    research,
    tidy,
    weak,
)
from tests.graph.drawn import Drawing, random_drawing
from tests.graph.simulated import Simulator


@node
def late(t: Topic, f: Failure) -> Research:
    return Research(research=f.error)


@node
def free(t: Topic) -> None: ...


def step_of(plan: Plan, name: str) -> Step:
    return next(step for step in plan.steps if step.name == name)


def blockers(drawing: Drawing, name: str) -> set[str]:
    """Return the names of the blockers of a node; a latch is named after its header."""
    plan = compile_plan(drawing.blueprint, build_topology(drawing.blueprint), {})
    mask = step_of(plan, name).blockers
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


@given(seed=st.integers(0, 2**32))
def test_blockers_match_path_search(seed: int) -> None:
    """The masks agree with a search of paths."""
    drawing = random_drawing(seed, size=9)
    shape = build_topology(drawing.blueprint)
    plan = compile_plan(drawing.blueprint, shape, {})
    naive = Simulator.of(drawing.blueprint, shape).blocking
    positions = [(("at", index), index) for index in range(shape.end + 1)]
    positions += [(("latch", header), position) for position, header in plan.latch_headers.items()]
    for step in plan.steps:
        if step.joins:
            assert {item for item, position in positions if step.blockers >> position & 1} == {
                item for item, _ in positions if naive[item, step.index]
            }


@given(seed=st.integers(0, 2**32))
def test_random_runs_never_get_stuck(seed: int) -> None:
    """No random run gets stuck, or runs a node twice without a loop."""
    drawing = random_drawing(seed, loops=False)
    simulator = Simulator.of(drawing.blueprint, build_topology(drawing.blueprint))
    seen = simulator.run(random.Random(seed))
    assert not seen.stuck
    assert len(seen.ran) == len(set(seen.ran))


def test_only_blocking_positions_are_tracked() -> None:
    """Only positions that block some node are tracked."""
    plan = build_plan(Sketch().chain(look, note, [free, look.named("b")], note.named("j")).spec)
    assert [step.name for step in plan.steps if step.tracked] == ["look", "note", "free", "b"]


def test_route_holds_edges_of_labels() -> None:
    """A route holds the edges of each label."""
    sketch = Sketch()
    sketch.route(look, any_kind).when("math", [note, note.named("b")]).otherwise(note.named("c"))
    routing = step_of(compile_plan(sketch.spec, build_topology(sketch.spec), {}), "look").route
    assert routing is not None
    assert [edge.target for edge in routing.find_edges("math") or ()] == [1, 2]
    assert [edge.target for edge in routing.find_edges("whatever") or ()] == [3]
    closed = Sketch()
    closed.route(look, kind_of).when("math", note).when("prose", END).exhaustive()  # type: ignore[arg-type]
    routing = step_of(build_plan(closed.spec), "look").route
    assert routing is not None
    assert routing.find_edges("whatever") is None


def test_loop_source_holds_back_and_exhausted_edges() -> None:
    """A source of a loop holds its way back and its way out."""
    sketch = Sketch(output=Draft)
    sketch.chain(dash, judge, tidy)
    sketch.loop(judge, back_to=dash, while_=weak, max_iterations=3, exhausted=look)
    (exit,) = step_of(build_plan(sketch.spec), "judge").exits
    assert (exit.bound, exit.exhausted, exit.back.target) == (3, "node", 0)
    assert exit.instead is not None
    assert exit.instead.target == 3


def test_handler_holds_failure_position() -> None:
    """A handler holds the position of its failure, and reads the other slices."""
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, rescue, when=(TimeoutError, ValueError))
    sketch.on_error(research, late)
    plan = build_plan(sketch.spec)
    assert [(types, edge.target) for types, edge in step_of(plan, "research").errors] == [
        ((TimeoutError, ValueError), 2),
        ((Exception,), 3),
    ]
    assert [
        (step_of(plan, name).failure_at, len(step_of(plan, name).reads))
        for name in ("rescue", "late", "look")
    ] == [(0, 1), (1, 1), (-1, 1)]


def test_question_step_evaluates_text_first() -> None:
    """A question is a step that evaluates its text first."""
    sketch = Sketch()
    sketch.chain(look, sketch.ask("approve", lambda state: state.topic, Verdict))
    step = step_of(build_plan(sketch.spec), "approve")
    assert step.ask is not None
    assert (step.ask.answer, step.reads, len(step.writes)) == (Verdict, (), 1)
    assert step.over is not None
    assert isinstance(step.ask.question, StateFunction)


def test_map_holds_worker_plan() -> None:
    """A map holds the plan of its worker."""
    sketch = Sketch()
    sketch.chain(sketch.map("digs", dig, jobs_of, notes_of))
    inner = step_of(build_plan(sketch.spec), "digs").inner_plan
    assert inner is not None
    assert [step.name for step in inner.steps] == ["dig", "END"]
    assert (inner.steps[0].node, len(inner.steps[0].reads), len(inner.steps[0].writes)) == (
        dig,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("into", "expected"),
    [
        ([[], [0], [1]], [{0}, {1}, {2}]),
        ([[1], [0], [1]], [{0, 1}, {2}]),
        ([[0]], [{0}]),
        ([[2], [0], [1], []], [{0, 1, 2}, {3}]),
    ],
)
def test_components_come_in_topological_order(
    into: list[list[int]], expected: list[set[int]]
) -> None:
    """Components come after all that lead into them."""
    assert [set(component) for component in find_components(into)] == expected
