"""The compiled plan: who blocks whom, and what a step knows."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from graphorch.graph.build import build_plan
from graphorch.graph.compiler import compile_plan
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
from tests.graph.drawn import random_drawing
from tests.graph.simulated import Simulator


@node
def late(t: Topic, f: Failure) -> Research:
    return Research(research=f.error)


@node
def free(t: Topic) -> None: ...


def step_of(plan: Plan, name: str) -> Step:
    return next(step for step in plan.steps if step.name == name)


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
