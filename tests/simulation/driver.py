"""Drives the core under a seeded random schedule, and watches that every invariant holds after every event.

A schedule decides which running activation completes next, how many run at once, and what is done to the run: attempts that fail and are
retried, nodes that fail for good and are resumed, stops, cancels, late and doubled events. Nothing here knows the rules of joins and
loops; what happened is compared with the reference.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from graphorch.core.events import (
    Approved,
    Asked,
    CancelNode,
    Command,
    Decide,
    Entered,
    Event,
    FinishRun,
    GraceOver,
    Leave,
    NodeFailed,
    NodeSucceeded,
    Resumed,
    RetryDue,
    RetryLater,
    Routed,
    RunStarted,
    StopRequested,
)
from graphorch.core.firing import Scope
from graphorch.core.invariants import check_invariants
from graphorch.core.retry import handler_of
from graphorch.core.run import OnFailure, Run
from graphorch.core.tree import Activation, Status, Token
from graphorch.engine.invocation import binding
from tests.simulation.behaviour import INPUT, Boom
from tests.simulation.graphs import Sample
from tests.simulation.structure import activation_key


class Broken(AssertionError):
    """An invariant does not hold. `check` names it."""

    def __init__(self, check: str, told: str) -> None:
        self.check = check
        super().__init__(f"{check}: {told}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """What decides about timing and mishaps; the numbers in percent are chances per step."""

    seed: int
    limit: int = 100  # how many attempts run at once
    retries: int = 0  # an attempt fails and is repeated
    failures: int = 0  # a node fails for good; the run is resumed when it has stopped
    stops: int = 0  # the run is asked to stop, and resumed when it has
    # a node asks a person, or waits at a gate before it runs or before its result goes on
    asks: int = 0
    stale: int = 0  # an event arrives twice, or late
    grace: int = 0  # what a failure left running has had its time
    activations: int = 1 << 40  # how many may start until the run is resumed
    policy: OnFailure = "drain"
    cancel_after: int = -1  # the run is cancelled for good after so many steps
    checked: bool = True  # whether `check_invariants` runs after every event


@dataclass(slots=True)
class Outcome:
    """How a run ended. `done` maps each committed activation to what it read; `order` is the order of the commits."""

    status: str
    done: dict[str, Any]
    ids: dict[str, str]
    order: list[str]
    path: list[str]
    final: dict[str, Any] | None
    started: int = 0
    resumes: int = 0
    events: int = 0


def drive(sample: Sample, schedule: Schedule) -> Outcome:
    """One run of a sample under a schedule. Raises `Broken`, or what the core raises."""
    return _Driver(sample, schedule).drive()


@dataclass(slots=True)
class _Driver:
    sample: Sample
    schedule: Schedule
    rng: random.Random = field(init=False)
    run: Run = field(init=False)
    watch: Watch = field(init=False)
    jobs: list[Command] = field(default_factory=list)
    ended: list[FinishRun] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    lost: list[Event] = field(default_factory=list)  # results of attempts that were cancelled
    asked: list[Activation] = field(default_factory=list)
    steps: int = 0
    resumes: int = 0

    def drive(self) -> Outcome:
        self.rng = random.Random(self.schedule.seed)
        self.run = Run(
            self.sample.plan,
            "r",
            max_activations=self.schedule.activations,
            on_failure=self.schedule.policy,
        )
        self.watch = Watch(self.sample, self.run)
        update = self.sample.plan.read_input.update(self.sample.plan.input(**INPUT))
        self.tell(RunStarted(update))
        while self.run.status in ("running", "waiting") or self.may_resume():
            if not self.jobs and self.run.status == "running":
                raise Broken(
                    "I11 no deadlock",
                    f"nothing runs, and the run goes on: waiting {list(self.run.root.waiting)}",
                )
            self.step()
            if self.steps > 4000:
                raise Broken("I12 bounded", "4000 steps were not enough")
        return self.outcome()

    def may_resume(self) -> bool:
        return (
            self.run.status in ("failed", "stopped")
            and self.run.reason != "end not reached"
            and self.resumes < 200
        )

    # ---- one step ----------------------------------------------------------------------------------
    def step(self) -> None:
        self.steps += 1
        schedule, rng = self.schedule, self.rng
        self.asked = [one for one in self.asked if one.status is Status.ASKED]
        if self.asked and (self.run.status == "waiting" or rng.randrange(100) < 15):
            self.answer(self.asked.pop(rng.randrange(len(self.asked))))
        elif self.run.status != "running" and not self.jobs:
            self.resumes += 1
            self.run.left = schedule.activations
            self.tell(Resumed())
        elif self.steps == schedule.cancel_after:
            self.tell(StopRequested("told to", "cancelled", now=rng.random() < 0.7))
        elif self.chance(schedule.grace):
            self.tell(GraceOver())
        elif self.run.status == "running" and self.chance(schedule.stops):
            self.tell(StopRequested("told to", now=rng.random() < 0.6))
        elif self.chance(schedule.stale) and (self.told or self.lost):
            self.tell_again()
        else:
            job = self.jobs.pop(rng.randrange(min(len(self.jobs), schedule.limit)))
            self.tell(self.event_of(job))

    def chance(self, percent: int) -> bool:
        return percent > 0 and self.rng.randrange(100) < percent

    def event_of(self, job: Command) -> Event:
        """What becomes of a command."""
        assert not isinstance(job, FinishRun | CancelNode)
        one = job if isinstance(job, Activation) else job.activation
        if (
            not isinstance(job, RetryLater | Leave)
            and one.failure is None
            and not one.approved
            and self.chance(self.schedule.asks)
        ):
            self.asked.append(one)
            return Asked(one, "well?")
        if isinstance(job, RetryLater):
            return RetryDue(one, one.attempt)
        if (
            not isinstance(job, Decide)
            and one.failure is None
            and self.chance(self.schedule.retries)
        ):
            return NodeFailed(one, one.attempt, Boom("once"), retry_after=1.0)
        if (
            one.failure is None
            and self.resumes < 12
            and not may_be_left_out(one)
            and self.chance(self.schedule.failures)
        ):
            return NodeFailed(one, one.attempt, Boom("for good"))
        try:
            return self.result_of(job)
        except (Boom, binding.InnerFailed) as error:
            return NodeFailed(one, one.attempt, error, handler=handler_of(one, error))

    def answer(self, one: Activation) -> None:
        """A person answers, or lets pass what waits at a gate."""
        if one.update is not None or one.step.inner_plan is not None or self.rng.random() < 0.5:
            self.watch.attempts.discard((one, one.attempt))
            self.tell(Approved(one))
        else:
            self.tell(self.event_of(one))

    def result_of(self, job: Command) -> Event:
        match job:
            case Activation() as one if one.failure is not None:
                raise one.failure
            case Activation() as one if one.step.inner_plan is not None:
                return Entered(one, binding.items_of(one))
            case Activation() as one:
                given = binding.arguments(one)
                self.watch.read(one, given)
                assert one.version is not None
                return NodeSucceeded(
                    one, binding.update_of(one.step, one.step.node.fn(*given), given, one.version)
                )
            case Leave(one):
                return NodeSucceeded(one, binding.leave(one))
            case Decide(one):
                return Routed(one, binding.decide(one))
            case _:
                raise AssertionError(job)

    def tell(self, event: Event) -> None:
        self.told.append(event)
        commands = self.run.handle(event)
        for command in commands:
            if isinstance(command, FinishRun):
                self.ended.append(command)
            elif isinstance(command, CancelNode):
                self.drop(command.activation)
            else:
                self.jobs.append(command)
        self.jobs = [job for job in self.jobs if _is_due(job)]
        self.watch.after(event, commands)
        if self.schedule.checked:
            check_invariants(self.run)
        if self.run.status != "running" and any(
            not isinstance(job, Decide | Leave) for job in self.jobs
        ):
            raise Broken(
                "I13 one end", f"the run is {self.run.status}, but there is work: {self.jobs}"
            )

    def drop(self, one: Activation) -> None:
        """An attempt is stopped; what it would have said may still arrive."""
        if one.step.inner_plan is None:
            self.lost.append(NodeFailed(one, one.attempt, Boom("late")))
            self.lost.append(NodeSucceeded(one, {}, attempt=one.attempt))

    def tell_again(self) -> None:
        """A doubled or late event: it must change nothing."""
        event = self.rng.choice(self.lost if self.lost and self.rng.random() < 0.5 else self.told)
        if not _is_stale(event):
            return
        before = fingerprint(self.run)
        commands = self.run.handle(event)
        if commands or fingerprint(self.run) != before:
            raise Broken(
                "stale events", f"{event} was told again, and changed something: {commands}"
            )

    # ---- the end -----------------------------------------------------------------------------------
    def outcome(self) -> Outcome:
        run = self.run
        self.watch.at_end(self.resumes, sum(end.status != "waiting" for end in self.ended))
        if run.status == "cancelled":
            self.after_cancel()
        output = run.root.output
        final = (
            dict(self.sample.plan.read_state.read(output).__dict__)
            if output is not None and run.root.finished
            else None
        )
        if (
            final is not None
            and dict(self.sample.plan.blueprint.state.model_validate(final).__dict__) != final
        ):
            raise Broken("I17 the state validates", str(final))
        commits = self.watch.commits
        ids = {key: one.id for key, one in commits.items()}
        path = [
            one.step.name
            for one in sorted(commits.values(), key=lambda one: (one.depth, one.step.index))
            if one.scope is run.root
        ]
        done = {key: self.watch.given.get(key) for key in commits}
        return Outcome(
            run.status,
            done,
            ids,
            self.watch.order,
            path,
            final,
            run.started,
            self.resumes,
            self.steps,
        )

    def after_cancel(self) -> None:
        """I24: nothing starts or commits any more, whatever arrives."""
        before = fingerprint(self.run)
        for event in [*self.lost, *self.told[-5:], Resumed()]:
            if self.run.handle(event) or fingerprint(self.run) != before:
                raise Broken("I24 cancelled is over", f"{event} changed a cancelled run")


def _is_due(job: Command) -> bool:
    """Whether a command still has to be answered: a driver drops the work of what was cancelled."""
    match job:
        case (Activation() as one) | Leave(one):
            return one.status is Status.RUNNING
        case Decide(one):
            return one.status is Status.ROUTING
        case RetryLater(one):
            return one.status is Status.RETRYING
        case _:
            return False


def may_be_left_out(one: Activation) -> bool:
    """Whether a failure here is survived by leaving out an item of a map, which changes the result."""
    scope = one.scope
    while scope.parent is not None:
        spec = scope.parent.step.map
        if spec is not None and (spec.on_item_error != "fail" or spec.need is not None):
            return True
        scope = scope.parent.scope
    return False


def _is_stale(event: Event) -> bool:
    """Whether an event that was told before can mean nothing any more."""
    match event:
        case (
            NodeFailed(one, attempt) | RetryDue(one, attempt) | NodeSucceeded(one, attempt=attempt)
        ) if attempt:
            return attempt < one.attempt or one.status >= Status.DONE
        case NodeSucceeded(one) | Routed(one) | Entered(one):
            return one.status >= Status.DONE
        case RunStarted():
            return True
        case _:
            return False


def fingerprint(run: Run) -> Any:
    """All that an event could change."""

    def of(scope: Scope) -> Any:
        active = [
            (
                index,
                one.status,
                one.attempt,
                [of(each) for each in one.inner.scopes] if one.inner else None,
            )
            for index, one in scope.active.items()
        ]
        return (
            active,
            [(index, len(tokens)) for index, tokens in scope.waiting.items()],
            scope.live,
            scope.busy,
            scope.closed,
            scope.finished,
        )

    return (
        of(run.root),
        run.status,
        run.reason,
        len(run.history),
        len(run.errors),
        len(run.cancelled_tokens),
        run.left,
    )


class Watch:
    """The invariants over the stream of events and commands."""

    def __init__(self, sample: Sample, run: Run) -> None:
        self.sample = sample
        self.run = run
        self.commits: dict[str, Activation] = {}
        self.order: list[str] = []  # of all that ended, items of maps that failed included
        self.given: dict[str, Any] = {}
        self.keys: dict[Activation, str] = {}
        self.seen = 0
        self.consumed: Counter[tuple[str, str, str, str, int]] = Counter()
        self.running: set[Activation] = set()
        self.attempts: set[tuple[Activation, int]] = set()
        self.may_start = True

    def key(self, one: Activation) -> str:
        """What an activation is, computed as the reference does it."""
        if one not in self.keys:
            self.keys[one] = activation_key(
                one.path, (self.token(one.scope, token) for token in one.tokens)
            )
        return self.keys[one]

    def token(self, scope: Scope, token: Token) -> tuple[str, str, str, int]:
        edge = token.edge
        origin = "run" if scope.parent is None else f"{self.key(scope.parent)}:{max(0, scope.item)}"
        return (
            origin if token.source is None else self.key(token.source),
            scope.plan.shape.name(edge.target),
            edge.kind,
            edge.loop,
        )

    def read(self, one: Activation, given: list[Any]) -> None:
        """I6: each attempt reads the same."""
        values = dict(given[0].__dict__)
        if self.given.setdefault(self.key(one), values) != values:
            raise Broken(
                "I6 equal input", f"{one.path}: {self.given[self.key(one)]} and then {values}"
            )

    def after(self, event: Event, commands: list[Command]) -> None:
        """Look at one transition."""
        self.may_start = isinstance(event, Resumed) or (
            self.may_start and not isinstance(event, StopRequested) and not self.run.root.failures
        )
        for one in self.run.history[self.seen :]:
            self._ended(one)
        self.seen = len(self.run.history)
        if (
            isinstance(event, NodeFailed)
            and event.activation.status in (Status.FAILED, Status.DEAD)
            and may_be_left_out(event.activation)
        ):
            self.order.append(self.key(event.activation))
        for command in commands:
            if isinstance(command, Activation):
                self._started(command)

    def _started(self, one: Activation) -> None:
        key = self.key(one)
        if key in self.commits:
            raise Broken("I2 committed once", f"{one.path} is started again")
        if (one, one.attempt) in self.attempts:
            raise Broken(
                "I3 attempts do not overlap",
                f"attempt {one.attempt} of {one.path} is started twice",
            )
        self.attempts.add((one, one.attempt))
        # END fires all the same, and where writes conflict there it fails
        if not self.may_start and one.step.index != one.scope.end:
            raise Broken("I24 nothing starts", f"{one.path} is started in a run that is stopping")
        if one not in self.running:
            self.running.add(one)
            self._consume(one)
            self._check_join(one)

    def _consume(self, one: Activation) -> None:
        for token in one.tokens:
            edge, name = token.edge, self.token(one.scope, token)
            if edge not in one.scope.plan.shape.entering[one.step.index] or (
                token.source is not None and token.source.step.index != edge.source
            ):
                raise Broken("I9 declared edges", f"{one.path} got a token over {edge}")
            if (token.failure is not None) != (edge.kind == "error"):
                raise Broken(
                    "failures on error edges", f"{one.path} got {token.failure!r} over {edge}"
                )
            self.consumed[(one.scope.prefix, *name)] += 1
            if self.consumed[(one.scope.prefix, *name)] > 1:
                raise Broken("I7 a token is consumed once", f"{name} by {one.path}")

    def _check_join(self, one: Activation) -> None:
        """I10, by path search: no live position of the scope can still bring this node a token of the same iteration."""
        sample = self._sample_of(one.scope)
        scope, name = one.scope, one.step.name
        if sample is None or one.step.need or self.keys[one] in self.commits:
            return
        named = scope.plan.shape.name
        live = {named(index) for index in scope.active} | {
            named(i)
            for i, tokens in scope.waiting.items()
            if any(t.edge.kind != "loop" for t in tokens)
        }
        latches = {
            named(i)
            for i, tokens in scope.waiting.items()
            if any(token.edge.kind == "loop" for token in tokens)
        }
        early = [position for position in live if sample.structure.blocks(position, name)]
        early += [
            f"latch of {header}"
            for header in latches
            if sample.structure.latch_blocks(header, name)
        ]
        if early and one.scope.active.get(one.step.index) is one:
            raise Broken(
                "I10 no join fires early", f"{one.path} fired while {early} could reach it"
            )

    def _sample_of(self, scope: Scope) -> Sample | None:
        if scope.parent is None:
            return self.sample
        above = self._sample_of(scope.parent.scope)
        return above.flows.get(scope.parent.step.name) if above is not None else None

    def _ended(self, one: Activation) -> None:
        if one.status in (Status.DONE, Status.HANDLED):
            key = self.key(one)
            if key in self.commits:
                raise Broken("I1 one commit", f"{one.path} committed twice")
            self.commits[key] = one
            self.order.append(key)

    def at_end(self, resumes: int, ended: int) -> None:
        if ended != resumes + 1:
            raise Broken("I13 one end", f"{ended} ends for {resumes + 1} starts")
        if self.run.status in ("succeeded", "partial"):
            self._check_tokens()
        kept = {id(one) for one in self.run.history}
        if any(id(one) not in kept for one in self.commits.values()):
            raise Broken("I26 commits stay", "a commit is gone from the history")

    def _check_tokens(self) -> None:
        """I7: every token that was emitted was consumed once or cancelled by name."""
        cancelled = {(token.source, token.edge.index) for token in self.run.cancelled_tokens}
        for one in self.commits.values():
            for edge in one.taken:
                name = (
                    one.scope.prefix,
                    self.key(one),
                    one.scope.plan.shape.name(edge.target),
                    edge.kind,
                    edge.loop,
                )
                gone = (one, edge.index) in cancelled or edge.target == one.scope.plan.end
                if not gone and not self.consumed[name] and not _is_void(one.scope):
                    raise Broken(
                        "I7 no token is left",
                        f"{one.path} sent one to {name[2]} that nobody consumed",
                    )
        if self.run.root.waiting or self.run.root.active:
            raise Broken(
                "I7 no token is left",
                f"waiting {list(self.run.root.waiting)}, active {list(self.run.root.active.values())}",
            )


def _is_void(scope: Scope) -> bool:
    """Whether a scope was given up: cancelled, or an item that failed."""
    while scope.parent is not None:
        if scope.output is None or scope.parent.status is Status.CANCELLED:
            return True
        scope = scope.parent.scope
    return False
