"""A driver of one node that has tools called, for tests: its commands, and what they lead to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from graphorch.core.events import (
    Approved,
    CancelNode,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    NodeFailed,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    RoundEnded,
    RunStarted,
    ScheduleRetry,
    StopRequested,
    SuspendNode,
    ToolsCalled,
)
from graphorch.core.invariants import check_invariants
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status, ToolCalled, ToolScope
from graphorch.engine.tool_calls.call_plans import rebuild_call
from graphorch.graph.plan import Plan
from tests.core.drill import graph, plan_of, step


@dataclass(frozen=True)
class Wanted:
    """A call that the model wants: whether it has its turn alone, and whether a person is asked."""

    is_barrier: bool = False
    asks: bool = False


def plan_of_agent() -> Plan:
    """Return a plan of one node."""
    return plan_of(graph().chain(step("agent")))


@dataclass
class Caller:
    """A run of one node with rounds of tool calls, driven as the engine drives it.

    A call starts only while the attempt of the node waits for its round.
    """

    rounds: list[list[Wanted]]
    run: Run = field(default_factory=lambda: Run(plan_of_agent(), "r"))
    log: list[str] = field(default_factory=list[str])
    ends: list[str] = field(default_factory=list[str])
    running: list[Activation] = field(default_factory=list[Activation])
    held: list[Activation] = field(default_factory=list[Activation])
    retries: list[Activation] = field(default_factory=list[Activation])
    is_attempted: bool = False
    may_go_on: bool = False  # a round has ended, or the attempt begins

    def __post_init__(self) -> None:
        self.take(RunStarted({}))

    # ---- the driver ------------------------------------------------------------------------------
    def take(self, event: Event) -> None:
        """Give an event to the core, and do what it commands."""
        commands = self.run.handle(event)
        check_invariants(self.run)
        for command in commands:
            self.obey(command)
        self.drop_stale()
        if self.may_go_on and self.is_attempted:
            self.may_go_on = False
            self.go_on()

    def obey(self, command: Command) -> None:
        match command:
            case FinishRun(status):
                self.ends.append(status)
            case SuspendNode():
                self.is_attempted = False
            case CancelNode(activation):
                if not isinstance(activation.scope, ToolScope):
                    self.is_attempted = False
            case RoundEnded():
                self.may_go_on = True
            case ScheduleRetry(activation):
                self.retries.append(activation)
            case Activation() if isinstance(command.scope, ToolScope):
                (self.running if self.is_attempted else self.held).append(command)
            case Activation():
                if command.status is Status.RUNNING:
                    self.is_attempted = self.may_go_on = True
            case EvaluateRoute():
                raise AssertionError("the node has no route")
            case _:
                raise AssertionError(command)

    def drop_stale(self) -> None:
        self.running = [call for call in self.running if call.status is Status.RUNNING]
        self.held = [call for call in self.held if call.status is Status.RUNNING]
        self.retries = [call for call in self.retries if call.status is Status.RETRYING]

    def go_on(self) -> None:
        """Continue the attempt: take up the round that is open, begin the next one, or finish."""
        agent = self.agent
        children: Any = agent.children
        known = children.rounds if children is not None else {}
        for number, wanted in enumerate(self.rounds):
            round = known.get(str(number))
            if round is None:
                calls = [self.call(index, item) for index, item in enumerate(wanted)]
                self.take(ToolsCalled(agent, str(number), f"r{number + 1}", calls))
                return
            if round.failed:
                self.is_attempted = False
                self.take(NodeFailed(agent, agent.attempt, "a tool failed"))
                return
            if round.unfinished:
                held, self.held = self.held, []
                self.running += held
                return
        self.is_attempted = False
        self.take(NodeSucceeded(agent, {}))

    def call(self, index: int, wanted: Wanted) -> ToolCalled:
        return rebuild_call(
            self.agent,
            "tool",
            index,
            {"number": index},
            "once" if wanted.is_barrier else "pure",
            is_barrier=wanted.is_barrier,
            asks=wanted.asks,
        )

    # ---- the world -------------------------------------------------------------------------------
    @property
    def agent(self) -> Activation:
        return next(iter(self.run.root.active.values()))

    @property
    def questions(self) -> list[Activation]:
        return self.run.questions()

    def step_call(self, call: Activation, *, fails: bool = False, retries: bool = False) -> None:
        """End a call that runs, or have it ask first."""
        scope = call.scope
        assert isinstance(scope, ToolScope)
        self.running.remove(call)
        if scope.call.asks and not call.approved:
            self.take(PersonAsked(call, "may I?"))
        elif fails:
            pause = 1.0 if retries else None
            self.take(NodeFailed(call, call.attempt, "it failed", pause))
        else:
            self.log.append(f"{scope.round.label}/{call.step.name}")
            self.take(self.succeed(call))

    def succeed(self, call: Activation) -> NodeSucceeded:
        from graphorch.graph.payloads import ToolOutcome

        return NodeSucceeded(call, call.step.writes[0].update(ToolOutcome(text="x")))

    def approve(self, call: Activation) -> None:
        self.take(Approved(call))

    def answer(self, call: Activation) -> None:
        scope = call.scope
        assert isinstance(scope, ToolScope)
        self.log.append(f"{scope.round.label}/{call.step.name}")
        self.take(self.succeed(call))

    def move_at_random(self, chance: random.Random, *, faults: float = 0.0) -> bool:
        """Make one move that is possible; return False if there is none."""
        moves: list[Any] = [lambda call=call: self.step_call(call) for call in self.running]
        if chance.random() < faults and self.running:
            failing = chance.choice(self.running)
            retries = chance.random() < 0.5
            moves = [lambda: self.step_call(failing, fails=True, retries=retries)]
        for call in self.questions:
            moves += [lambda call=call: self.approve(call), lambda call=call: self.answer(call)]
        for call in self.retries:
            moves.append(lambda call=call: self.take(RetryDue(call, call.attempt)))
        if chance.random() < faults and self.run.status == "running":
            now = chance.random() < 0.5
            moves = [lambda: self.take(StopRequested("asked to", "stopped", now))]
        if self.run.status in ("stopped", "failed"):
            moves = [lambda: self.take(Resumed())]
        if not moves or self.run.status == "succeeded":
            return False
        chance.choice(moves)()
        return True
