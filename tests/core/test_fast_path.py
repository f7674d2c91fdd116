"""Every fast path of the core does what the rule does that it is a copy of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from graphorch.core import children, firing
from graphorch.core import run as run_module
from graphorch.core.events import Command, Event, FinishRun, NodeSucceeded, Routed
from graphorch.core.run import Run
from graphorch.core.state import RunState
from graphorch.core.tree import NO_COUNTERS, Activation, Counters, Scope, Status, Token
from graphorch.errors import WriteConflict
from graphorch.graph.edges import Edge
from graphorch.graph.plan import Plan
from graphorch.state.version import INPUT, FoldedField, InputUpdate, Version
from tests.simulation.driver import Schedule, drive
from tests.simulation.graphs import random_graph
from tests.simulation.simulate import SCHEDULES

HANDLE = Run.handle


# ---- the rules, without their fast paths ---------------------------------------------------------
def begin_by_rule(run: RunState, scope: Scope, update: dict[int, Any]) -> None:
    """Emit the input along the edges from START, also where there is only one."""
    version = Version({}, {})
    if isinstance(update, InputUpdate):
        version.take_defaults(update.defaults, scope.reducers)
    version.take(update, scope.reducers, INPUT, "input")
    firing.emit(run, scope, None, scope.plan.starts, version, NO_COUNTERS)
    firing.fire_ready(run, scope)


def advance_by_rule(*arguments: Any) -> bool:
    """Leave every commit to emit, deactivate and fire_ready."""
    return False


def deliver_by_rule(
    run: RunState,
    scope: Scope,
    source: Activation | None,
    edge: Edge,
    version: Version,
    counters: Counters,
    failure: Any,
) -> None:
    """Make the token also where it is consumed at once."""
    step = scope.steps[edge.target]
    counters = firing._count_iterations(scope, counters, edge, step)
    token = Token(source, edge, version, counters, failure)
    is_held_back = scope.closed and edge.target != scope.end
    if step.joins or edge.target in scope.active or is_held_back:
        firing._hold(scope, step, (token,))
    else:
        firing._start(run, scope, step, (token,))


def forget_ends(plan: Plan) -> None:
    """Have `Run._commit` emit a token also where a node leads to END alone."""
    for step in plan.steps:
        step.ends = False
        if step.inner_plan is not None:
            forget_ends(step.inner_plan)


RULES = [
    (firing, "_deliver", deliver_by_rule),
    (run_module, "begin", begin_by_rule),
    (children, "begin", begin_by_rule),
    (run_module, "advance", advance_by_rule),
]


def handle_by_fast_path(run: Run, event: Event) -> list[Command]:
    """Take an event through the fast path for it, if there is one."""
    match event:
        case NodeSucceeded(activation, update, at, attempt=0):
            if activation.status is not Status.AWAITING_ANSWER:
                return run.accept_success(activation, update, at)
        case Routed(activation, decision):
            return run.accept_route(activation, decision)
        case _:
            pass
    return HANDLE(run, event)


# ---- the state of a run as plain data ------------------------------------------------------------
def describe_run(run: Run) -> Any:
    """Return everything that an event may change."""
    return {
        "status": (run.status, run.reason, run.stopping),
        "counts": (run.activations_left, run.started, run.has_gaps, list(run.exhausted)),
        "history": [describe_activation(activation) for activation in run.history],
        "errors": [activation.id for activation in run.errors],
        "cancelled": [token.edge.index for token in run.cancelled_tokens],
        "root": describe_scope(run.root),
    }


def describe_scope(scope: Scope) -> Any:
    waiting = {
        index: [(token.edge.index, dict(token.counters)) for token in tokens]
        for index, tokens in scope.waiting.items()
    }
    return {
        "active": [describe_activation(activation) for activation in scope.active.values()],
        "waiting": waiting,
        "live": (bin(scope.live_positions), scope.busy_count, scope.closed, scope.finished),
        "output": describe_version(scope.output),
    }


def describe_activation(activation: Activation) -> Any:
    children = activation.children.scopes if activation.children is not None else []
    return {
        "id": (activation.id, activation.path, activation.status.name, activation.attempt),
        "loops": (activation.depth, dict(activation.counters)),
        "edges": [edge.index for edge in activation.taken_edges],
        "tokens": [token.edge.index for token in activation.tokens],
        "update": activation.update,
        "version": describe_version(activation.version),
        "children": [describe_scope(scope) for scope in children],
    }


def describe_version(version: Version | None) -> Any:
    """Return each field's value and who wrote it, or its history."""
    if version is None:
        return None
    fields: dict[int, Any] = {}
    for field, entry in version.entries().items():
        if not isinstance(entry, FoldedField):
            fields[field] = entry[1:4]
            continue
        writes = entry.history.list_writes()
        fields[field] = [(write.order, write.update, write.by) for write in writes]
    return fields


def describe_command(command: Command) -> Any:
    if isinstance(command, Activation):
        return command.path
    if isinstance(command, FinishRun):
        return command.status, command.reason
    return type(command).__name__, command.activation.path


# ---- both ways -----------------------------------------------------------------------------------
@contextlib.contextmanager
def recorded_runs(handle: Any, rules: Sequence[tuple[Any, str, Any]]) -> Iterator[list[Any]]:
    """Record the commands and the state after every event."""
    states: list[Any] = []

    def recorded(run: Run, event: Event) -> list[Command]:
        commands = handle(run, event)
        states.append(([describe_command(command) for command in commands], describe_run(run)))
        return commands

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "handle", recorded)
        for module, name, rule in rules:
            patch.setattr(module, name, rule)
        yield states


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(8), id="some"),
        pytest.param(range(8, 60), id="many", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", SCHEDULES)
def test_fast_paths_equal_rules(name: str, seeds: range) -> None:
    """Random graphs reach the same state after every event with the fast paths and without."""
    for seed in seeds:
        schedule = Schedule(seed, checked=False, **SCHEDULES[name])
        sample = random_graph(seed)
        with recorded_runs(HANDLE, RULES) as by_rule, contextlib.suppress(WriteConflict):
            forget_ends(sample.plan)
            drive(sample, schedule)
        with recorded_runs(handle_by_fast_path, []) as fast, contextlib.suppress(WriteConflict):
            drive(random_graph(seed), schedule)
        assert len(fast) == len(by_rule)
        for ours, theirs in zip(fast, by_rule, strict=True):
            assert ours == theirs


def test_fast_paths_are_taken() -> None:
    """The comparison is about something: each fast path is used by the graphs that it runs."""
    taken = {"advance": 0, "entry": 0, "success": 0, "route": 0}
    advance, accept_success, accept_route = firing.advance, Run.accept_success, Run.accept_route
    begin = firing.begin

    def counted_advance(*arguments: Any) -> bool:
        advanced = advance(*arguments)
        taken["advance"] += advanced
        return advanced

    def counted_begin(run: RunState, scope: Scope, update: dict[int, Any]) -> None:
        taken["entry"] += scope.plan.entry is not None
        begin(run, scope, update)

    def counted_success(*arguments: Any) -> list[Command]:
        taken["success"] += 1
        return accept_success(*arguments)

    def counted_route(*arguments: Any) -> list[Command]:
        taken["route"] += 1
        return accept_route(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "advance", counted_advance)
        patch.setattr(run_module, "begin", counted_begin)
        patch.setattr(Run, "accept_success", counted_success)
        patch.setattr(Run, "accept_route", counted_route)
        with recorded_runs(handle_by_fast_path, []):
            for seed in range(10):
                with contextlib.suppress(WriteConflict):
                    drive(random_graph(seed), Schedule(seed, checked=False))
    assert min(taken.values()) > 5, taken
