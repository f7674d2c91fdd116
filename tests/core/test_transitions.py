"""Table of transitions and handlers agree: random and scripted runs make these changes only."""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from graphorch.core.events import (
    Approved,
    Event,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    Routed,
    RouteDecision,
    RunStarted,
    ScopeEntered,
    SignalReceived,
    StopRequested,
    WaitBegan,
)
from graphorch.core.run import Run
from graphorch.core.state import OnFailure
from graphorch.core.transitions import (
    ANSWERED_INSIDE,
    CANCELLED,
    CHILDREN_DONE,
    CLOSED,
    INTERRUPTED,
    ITS_TURN,
    ONLY_QUESTIONS,
    REGION_HELD,
    RESUMED,
    TRANSITIONS,
    UNDONE,
    Cause,
)
from graphorch.core.tree import Activation, EventWait, Status
from graphorch.errors import WriteConflict
from graphorch.graph.node import END
from tests.core.calling import Caller, Wanted
from tests.core.drill import Drill, acting, graph, plan_of, step, sub
from tests.core.undoing import drive_undos
from tests.simulation.driver import Schedule, drive
from tests.simulation.graphs import random_graph
from tests.simulation.simulate import SCHEDULES

Change = tuple[Status, Cause, Status]

# functions that change activations other than the one that the event is about
INDIRECT: dict[str, Cause] = {
    "leave_children": CHILDREN_DONE,
    "cancel_activation": CANCELLED,
    "interrupt_scope": INTERRUPTED,
    "close_scope": CLOSED,
    "reopen_scope": RESUMED,
    "_interrupt": INTERRUPTED,
    "rest_if_idle": ONLY_QUESTIONS,
    "wake": ANSWERED_INSIDE,
    "start_next": ITS_TURN,
    "receive_signal": SignalReceived,
    "_begin_turn": ITS_TURN,
    "add_activation": REGION_HELD,
    "stop_undos": INTERRUPTED,
    "resume_undos": RESUMED,
    "_end": UNDONE,
}
ALLOWED: set[Change] = {
    (before, cause, after)
    for before, causes in TRANSITIONS.items()
    for cause, targets in causes.items()
    for after in targets
}


class StatusRecorder:
    """Takes the place of `Activation.status`, and records each change with its cause."""

    def __init__(self) -> None:
        self.changes: dict[Change, str] = {}  # with an example
        self.event: Any = None

    def __get__(self, activation: Activation | None, owner: type) -> Status:
        if activation is None:
            return Status.RUNNING
        return activation.__dict__.get("status", Status.RUNNING)

    def __set__(self, activation: Activation, after: Status) -> None:
        before = activation.status
        activation.__dict__["status"] = after
        if before is not after:
            change = (before, self.find_cause(activation), after)
            self.changes.setdefault(change, f"{activation.path} after {self.event}")

    def find_cause(self, activation: Activation) -> Cause:
        """Return the innermost indirect cause on the stack, else the event."""
        frame = sys._getframe(2)
        while frame is not None and frame.f_code.co_name != "handle":
            if (cause := INDIRECT.get(frame.f_code.co_name)) is not None:
                return cause
            frame = frame.f_back
        assert self.event.activation is activation, f"{self.event} changed {activation}"
        return type(self.event)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> StatusRecorder:
    recorder, handle = StatusRecorder(), Run.handle

    def recorded(run: Run, event: Event) -> Any:
        recorder.event = event
        return handle(run, event)

    monkeypatch.setattr(Run, "handle", recorded)
    monkeypatch.setattr(Activation, "status", recorder)
    return recorder


# ---- runs that make changes ----------------------------------------------------------------------
def drive_random_runs(seeds: Iterable[int]) -> None:
    """Drive random graphs under every schedule, and once with failures that end their path."""
    isolated = {"failures": 8, "retries": 10, "asks": 10, "limit": 3, "policy": "isolate"}
    for seed in seeds:
        for options in [*SCHEDULES.values(), isolated]:
            with contextlib.suppress(WriteConflict):
                drive(random_graph(seed), Schedule(seed, checked=False, **options))


def drive_every_sequence(length: int, on_failure: OnFailure) -> None:
    """Give every sequence of so many events to the first activation of a small graph.

    The node decides a route, and has an error edge; each event is also given where it is stale.
    """
    head = step("head")
    made = graph().chain(head, END).on_error(head, step("handler"))
    plan = plan_of(made.loop(head, back_to=head, while_=lambda s: False, max_iterations=2))
    for sequence in itertools.product(EVENTS, repeat=length):
        run = Run(plan, "r", on_failure=on_failure)
        (activation,) = run.handle(RunStarted({}))
        assert isinstance(activation, Activation)
        for make_event in sequence:
            run.handle(make_event(activation))


EVENTS: list[Callable[[Activation], Event]] = [
    lambda activation: NodeSucceeded(activation, {}),
    lambda activation: Routed(activation, RouteDecision()),
    lambda activation: NodeFailed(activation, activation.attempt, "failure", retry_after=1.0),
    lambda activation: NodeFailed(activation, activation.attempt, "failure", handler=0),
    lambda activation: NodeFailed(activation, activation.attempt, "failure"),
    lambda activation: NodeSkipped(activation, "unassigned"),
    lambda activation: NodeCancelled(activation),
    lambda activation: PersonAsked(activation, "question"),
    lambda activation: Approved(activation),
    lambda activation: WaitBegan(activation, EventWait("paid")),
    lambda activation: SignalReceived("paid", "", "value"),
    lambda activation: RetryDue(activation, activation.attempt),
    lambda activation: StopRequested("asked to"),
    lambda activation: Resumed(),
]


def drive_interrupted_child() -> None:
    """Fail a sub-flow whose other node was interrupted, and carry on over an error edge."""
    inner = plan_of(graph().chain(step("fork"), [step("a"), step("b")], step("merge")))
    made = graph()
    team = sub(made, "team", inner)
    made.chain(team, END).on_error(team, step("handler"))
    drill = Drill(plan_of(made), on_failure="cancel").finish("team/fork").fail("team/a")
    drill.finish_all()
    assert drill.ends == ["succeeded"]


def drive_waits() -> None:
    """End a timer by its time, and cancel another wait by a quorum."""
    for event in ("fires", "is cancelled"):
        made, merge = graph(), step("merge")
        made.chain(step("fork"), [step("a"), step("b")], merge).join(merge, need=1)
        drill = Drill(plan_of(made)).finish("fork")
        waiting = drill.activation("a")
        drill.jobs.remove(waiting)
        drill.tell(WaitBegan(waiting, EventWait(due=1.0)))
        if event == "fires":
            drill.tell(NodeSucceeded(waiting, {}))
        drill.finish_all()
        assert drill.ends == ["succeeded"]


def drive_regions() -> None:
    """End sub-flows by signals and by their deadline, and keep the pause of a retry."""
    made = graph()
    team = sub(made, "team", plan_of(graph().chain(step("a"), END)), cancel_on="stop", keeps=True)
    plan = plan_of(made.chain(team, END))
    stopped = Drill(plan).stop()
    stopped.tell(SignalReceived("stop", "", None))
    stopped.resume()
    late = Drill(plan)
    [region] = late.run.ending_early()
    late.tell(NodeFailed(region, 1, TimeoutError()))
    paused = Drill(plan).fail("team/a", retry_after=1.0)
    paused.tell(StopRequested("crashed", keeps_pauses=True))
    paused.resume()
    assert [each.run.status for each in (stopped, late, paused)] == [
        "succeeded",
        "failed",
        "running",
    ]


def drive_tool_calls(runs: int) -> None:
    """Drive a node with random tool calls, and one that ends while a call waits for its turn."""
    asked = Wanted(is_barrier=True, asks=True)
    caller = Caller([[Wanted(), asked, asked]])
    for call in caller.running[1:]:
        caller.step_call(call)
    caller.approve(caller.questions[1])
    caller.take(NodeSucceeded(caller.agent, {}))
    for seed in range(runs):
        chance = random.Random(seed)
        rounds = [
            [Wanted(chance.random() < 0.5, chance.random() < 0.5) for _ in range(4)]
            for _ in range(2)
        ]
        caller = Caller(rounds)
        while caller.move_at_random(chance, faults=0.1):
            pass


def drive_refused_region() -> None:
    """Undo a sub-flow whose result is refused by its route, and by a person at its gate."""
    made = graph()
    team = sub(made, "team", plan_of(graph().chain(acting("book"), END)), compensate=True)
    made.chain(team, END).on_error(team, step("handler"))
    plan = plan_of(made.loop(team, back_to=team, while_=lambda s: False, max_iterations=2))
    for asks in (True, False):
        run = Run(plan, "r")
        (region,) = run.handle(RunStarted({}))
        assert isinstance(region, Activation)
        (book,) = run.handle(ScopeEntered(region, [{}]))
        assert isinstance(book, Activation)
        run.handle(NodeSucceeded(book, {}))
        run.handle(NodeSucceeded(region, {}))
        if asks:
            run.handle(PersonAsked(region, "question"))
        (undo,) = run.handle(NodeFailed(region, 1, "failure", handler=0, undoes=True))
        assert isinstance(undo, Activation)
        (handler,) = run.handle(NodeSucceeded(undo, {}))
        assert isinstance(handler, Activation)
        assert (undo.path, handler.path) == ("team/book/undo", "handler")


# ---- the table -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("length", "seeds"),
    [
        pytest.param(3, [*range(8), 29], id="some"),  # 29 makes a change that few others make
        pytest.param(4, range(40), id="many", marks=pytest.mark.slow),
    ],
)
def test_handlers_make_listed_changes(
    recorder: StatusRecorder, length: int, seeds: Iterable[int]
) -> None:
    """Every change of a status is in the table, and every entry of it is made by some run."""
    drive_random_runs(seeds)
    for on_failure in ("drain", "isolate"):
        drive_every_sequence(length, on_failure)
    drive_interrupted_child()
    drive_refused_region()
    drive_tool_calls(200)
    drive_waits()
    for seed in range(150):
        drive_undos(seed)
    drive_regions()
    unlisted = {change: recorder.changes[change] for change in recorder.changes.keys() - ALLOWED}
    assert unlisted == {}
    never_made = {
        f"{before.name}, {cause}, {after.name}"
        for before, cause, after in ALLOWED - recorder.changes.keys()
    }
    assert never_made == set()
