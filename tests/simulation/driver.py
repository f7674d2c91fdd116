"""Drive the core under a seeded random schedule, and check invariants after every event.

A schedule decides which running activation completes next, how many run at once, and what is done
to the run: attempts that fail and are retried, nodes that fail for good and are resumed, stops,
cancels, late and doubled events. Nothing here knows the rules of joins and loops; what happened is
compared with the reference.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from graphorch.core.events import (
    Approved,
    CancelNode,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    GraceExpired,
    LeaveScope,
    NodeFailed,
    NodeHeld,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    Routed,
    RunStarted,
    ScheduleRetry,
    ScopeEntered,
    SignalReceived,
    StopRequested,
    WaitBegan,
    WaitUntil,
)
from graphorch.core.invariants import check_invariants
from graphorch.core.retry import find_handler
from graphorch.core.run import Run
from graphorch.core.state import OnFailure
from graphorch.core.tree import Activation, Scope, Status, Token
from graphorch.core.waits import list_waits
from graphorch.engine.invocation import binding
from graphorch.engine.mailbox.expected_signals import require_expected
from graphorch.engine.waits.event_waits import build_wait
from graphorch.errors import InputError
from tests.simulation.behaviour import INPUT, Boom, Log, Outage
from tests.simulation.graphs import Sample
from tests.simulation.reference import Happening
from tests.simulation.replaying import EventLog, describe, describe_result
from tests.simulation.structure import activation_key


class Broken(AssertionError):
    """Failure of an invariant, which `check` names."""

    def __init__(self, check: str, detail: str) -> None:
        self.check = check
        super().__init__(f"{check}: {detail}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Timing and mishaps of a run; the numbers in percent are chances per step."""

    seed: int
    limit: int = 100  # how many attempts run at once
    retries: int = 0  # an attempt fails and is repeated
    failures: int = 0  # a node fails for good; the run is resumed when it has stopped
    stops: int = 0  # the run is asked to stop, and resumed when it has
    # a node asks a person, or waits at a gate before it runs or before its result goes on
    asks: int = 0
    stale: int = 0  # an event arrives twice, or late
    happens: int = 0  # a signal comes, or the time of a wait is over
    crashes: int = 0  # the process dies; the run is replayed and resumed by another one
    grace: int = 0  # what a failure left running has had its time
    activations: int = 1 << 40  # how many may start until the run is resumed
    policy: OnFailure = "drain"
    cancel_after: int = -1  # the run is cancelled for good after so many steps
    checked: bool = True  # whether `check_invariants` runs after every event


@dataclass(slots=True)
class Outcome:
    """End of a run: `done` maps committed activations to what they read; `order` is their order."""

    status: str
    done: dict[str, Any]
    ids: dict[str, str]
    order: list[str]
    path: list[str]
    final: dict[str, Any] | None
    started: int = 0
    resumes: int = 0
    events: int = 0
    happenings: list[Happening] = field(default_factory=list)
    signals: int = 0  # that were taken in
    refused: int = 0
    crashes: int = 0


def drive(sample: Sample, schedule: Schedule) -> Outcome:
    """Drive a sample under a schedule. Raise `Broken`, or what the core raises."""
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
    events: list[Event] = field(default_factory=list)
    lost: list[Event] = field(default_factory=list)  # results of attempts that were cancelled
    asked: list[Activation] = field(default_factory=list)
    steps: int = 0
    resumes: int = 0
    crashes: int = 0
    signals: list[int] = field(default_factory=list)  # the numbers of those that were taken in
    refused: int = 0
    late: set[str] = field(default_factory=set)  # names of signals that cannot come any more
    log: EventLog = field(init=False)

    def drive(self) -> Outcome:
        self.rng = random.Random(self.schedule.seed)
        self.run = self.make_run()
        self.log = EventLog(self.make_run)
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

    def make_run(self) -> Run:
        return Run(
            self.sample.plan,
            "r",
            max_activations=self.schedule.activations,
            on_failure=self.schedule.policy,
        )

    def may_resume(self) -> bool:
        return (
            self.run.status in ("failed", "stopped")
            and self.run.reason != "end not reached"
            and self.resumes < 200
        )

    # ---- one step --------------------------------------------------------------------------------
    def step(self) -> None:
        self.steps += 1
        schedule, rng = self.schedule, self.rng
        self.asked = [
            activation for activation in self.asked if activation.status is Status.AWAITING_ANSWER
        ]
        waits = list_waits(self.run.root) if self.sample.has_events else []
        must_happen = self.run.status == "waiting" and not self.jobs
        # A result and its route are one record, so nothing dies between them in a run at rest.
        may_crash = self.crashes < 12 and (self.run.status == "running" or not self.jobs)
        if may_crash and self.chance(schedule.crashes):
            self.crash()
        elif waits and must_happen and rng.randrange(1 + len(self.asked)) == 0:
            self.end_wait(rng.choice(waits))
        elif self.chance(schedule.happens):
            self.let_happen(waits)
        elif self.asked and (self.run.status == "waiting" or rng.randrange(100) < 15):
            self.answer(self.asked.pop(rng.randrange(len(self.asked))))
        elif self.run.status != "running" and not self.jobs:
            self.resumes += 1
            self.run.activations_left = schedule.activations
            self.tell(Resumed())
        elif self.steps == schedule.cancel_after:
            self.tell(StopRequested("asked to", "cancelled", now=rng.random() < 0.7))
        elif self.chance(schedule.grace):
            self.tell(GraceExpired())
        elif self.run.status == "running" and self.chance(schedule.stops):
            self.tell(StopRequested("asked to", now=rng.random() < 0.6))
        elif self.chance(schedule.stale) and (self.events or self.lost):
            self.repeat_event()
        else:
            job = self.jobs.pop(rng.randrange(min(len(self.jobs), schedule.limit)))
            self.tell(self.event_of(job))

    def chance(self, percent: int) -> bool:
        return percent > 0 and self.rng.randrange(100) < percent

    def event_of(self, job: Command) -> Event:
        """Return the event that a command leads to."""
        assert not isinstance(job, FinishRun | CancelNode)
        activation = job if isinstance(job, Activation) else job.activation
        must_ask = self.kind_of(activation) == "ask" and activation.status is Status.RUNNING
        may_ask = activation.step.event is None and activation.step.node.kind != "first"
        if (
            not isinstance(job, ScheduleRetry | LeaveScope)
            and activation.failure is None
            and not activation.approved
            and may_ask
            and (must_ask or self.chance(self.schedule.asks))
        ):
            self.asked.append(activation)
            return PersonAsked(activation, "well?")
        if isinstance(job, ScheduleRetry):
            return RetryDue(activation, activation.attempt)
        if (
            not isinstance(job, EvaluateRoute)
            and activation.failure is None
            and self.chance(self.schedule.retries)
        ):
            return NodeFailed(activation, activation.attempt, Outage("once"), retry_after=1.0)
        if (
            activation.failure is None
            and self.resumes < 12
            and not may_be_left_out(activation)
            and not activation.step.rivals  # it may come second then, and stays a failure
            and self.chance(self.schedule.failures)
        ):
            return NodeFailed(activation, activation.attempt, Outage("for good"))
        try:
            return self.result_of(job)
        except (Boom, binding.InnerFailed) as error:
            return NodeFailed(
                activation, activation.attempt, error, handler=find_handler(activation, error)
            )

    def answer(self, activation: Activation) -> None:
        """Answer a question, or let pass what waits at a gate."""
        if (
            activation.update is not None
            or activation.step.inner_plan is not None
            or (self.kind_of(activation) != "ask" and self.rng.random() < 0.5)
        ):
            self.watch.attempts.discard((activation, activation.attempt, False))
            self.tell(Approved(activation))
        else:
            event = self.event_of(activation)
            if isinstance(event, NodeSucceeded) and activation.step.rivals:
                self.watch.note(Happening("came", self.watch.key(activation)))
            self.tell(event)

    def kind_of(self, activation: Activation) -> str:
        """Return the kind of a node, such as "ask"."""
        return activation.step.node.kind

    # ---- signals, times and crashes --------------------------------------------------------------
    def let_happen(self, waits: list[Activation]) -> None:
        """Send a signal that is waited for or not, or end the time of a wait."""
        names = sorted(self.sample.plan.signals)
        if waits and (not names or self.rng.random() < 0.5):
            if self.run.status in ("running", "waiting"):
                self.end_wait(self.rng.choice(waits))
        elif names:
            self.send(self.rng.choice(names), self.rng.choice(["", "k0", "k1"]))

    def end_wait(self, activation: Activation) -> None:
        """End a wait: a timer fires, a signal comes, or it does not come in time."""
        wait, step = activation.wait, activation.step
        assert wait is not None
        if not wait.signal:
            self.watch.note(Happening("came", self.watch.key(activation)))
            self.tell(NodeSucceeded(activation, {}))
        elif step.errors and self.rng.random() < 0.2:
            self.watch.note(Happening("expired", self.watch.key(activation)))
            self.tell(NodeFailed(activation, activation.attempt, Boom("late"), handler=0))
        else:
            self.send(wait.signal, wait.key)

    def send(self, name: str, key: str) -> None:
        """Send a signal; one that the run cannot take is refused, and changes nothing."""
        number = len(self.signals) + 1
        value = {"log": [number], "total": number}
        signal = SignalReceived(name, key, Log(**value))
        before = describe(self.run)
        try:
            require_expected(self.run, signal)
        except InputError as error:
            self.refused += 1
            if "any more" in str(error):
                self.late.add(name)
            if describe(self.run) != before:
                raise Broken("I29 refused signals", f"{error} changed something") from error
            return
        self.signals.append(number)
        self.watch.note(Happening("signal", name, key, value))
        self.tell(signal)

    def crash(self) -> None:
        """Replay the run from its events, as another process does, and let it stop there."""
        self.crashes += 1
        replayed = self.log.replay()
        if describe_result(replayed) != describe_result(self.run):
            raise Broken("I30 replay", f"{describe_result(replayed)}: {describe_result(self.run)}")
        self.run = replayed
        self.watch.move_to(replayed)
        self.jobs, self.lost, self.events = [], [], []
        self.asked = self.run.questions()
        if self.run.status == "running":
            self.tell(StopRequested("crashed"))

    def check_signals(self) -> None:
        """Check I28: each signal was given once, or is still kept in its order."""
        given = [
            activation.received[0].total
            for activation in (*self.run.history, *self.run.unfinished())
            if activation.received is not None
        ]
        kept = [value.total for values in self.run.kept_signals.values() for value in values]
        if sorted(given + kept) != self.signals:
            raise Broken("I28 signals", f"of {self.signals}, {given} were given, {kept} are kept")
        for (name, key), values in self.run.kept_signals.items():
            numbers = [value.total for value in values]
            if numbers != sorted(numbers) or len(numbers) > self.sample.plan.signals[name].keep:
                raise Broken("I28 signals", f"{numbers} are kept for '{name}' with key '{key}'")

    def result_of(self, job: Command) -> Event:
        match job:
            case Activation() as activation if activation.failure is not None:
                raise activation.failure
            case Activation() as activation if activation.step.event is not None:
                event = build_wait(activation, 0.0, 0.0)
                if isinstance(event, WaitBegan):
                    if event.wait.signal in self.late:
                        raise Broken("I29 refused signals", f"{activation.path} waits after all")
                    self.watch.note(Happening("began", self.watch.key(activation)))
                return event
            case Activation() as activation if activation.step.node.kind == "first":
                return NodeSucceeded(activation, {})
            case Activation() as activation if activation.step.inner_plan is not None:
                return ScopeEntered(activation, binding.build_items(activation))
            case Activation() as activation:
                given = binding.bind_arguments(activation)
                self.watch.read(activation, given)
                assert activation.version is not None
                return NodeSucceeded(
                    activation,
                    binding.build_update(
                        activation.step, activation.step.node.fn(*given), given, activation.version
                    ),
                )
            case LeaveScope(activation):
                return NodeSucceeded(activation, binding.gather_children(activation))
            case EvaluateRoute(activation):
                return Routed(activation, binding.evaluate_route(activation))
            case _:
                raise AssertionError(job)

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.log.add(event)
        commands = self.run.handle(event)
        for command in commands:
            if isinstance(command, FinishRun):
                self.ended.append(command)
            elif isinstance(command, CancelNode):
                self.drop(command.activation)
            elif isinstance(command, WaitUntil):
                pass  # the schedule decides when a time has come
            else:
                self.jobs.append(command)
        self.jobs = [job for job in self.jobs if _is_due(job)]
        self.watch.after(event, commands)
        if self.schedule.checked:
            check_invariants(self.run)
        if self.sample.has_events and isinstance(event, SignalReceived | WaitBegan):
            self.check_signals()
        if self.run.status != "running" and any(
            not isinstance(job, EvaluateRoute | LeaveScope) for job in self.jobs
        ):
            raise Broken(
                "I13 one end", f"the run is {self.run.status}, but there is work: {self.jobs}"
            )

    def drop(self, activation: Activation) -> None:
        """Stop an attempt; its result may still arrive."""
        if activation.step.inner_plan is None and activation.step.event is None:
            self.lost.append(NodeFailed(activation, activation.attempt, Outage("late")))
            self.lost.append(NodeSucceeded(activation, {}, attempt=activation.attempt))

    def repeat_event(self) -> None:
        """Repeat an event, or give a late one; neither may change anything."""
        event = self.rng.choice(self.lost if self.lost and self.rng.random() < 0.5 else self.events)
        if not _is_stale(event):
            return
        before = fingerprint(self.run)
        commands = self.run.handle(event)
        if commands or fingerprint(self.run) != before:
            raise Broken("stale events", f"{event} was repeated, and changed something: {commands}")

    # ---- the end ---------------------------------------------------------------------------------
    def outcome(self) -> Outcome:
        run = self.run
        self.watch.at_end(self.resumes, sum(end.status != "waiting" for end in self.ended))
        if run.status == "cancelled":
            self.after_cancel()
        if self.sample.has_events:
            self.check_end()
        output = run.root.output
        final = (
            dict(self.sample.plan.read_state.read(output).__dict__)
            if output is not None and run.root.finished
            else None
        )
        if (
            final is not None
            and dict(self.sample.plan.schema.model.model_validate(final).__dict__) != final
        ):
            raise Broken("I17 the state validates", str(final))
        commits = self.watch.commits
        ids = {key: activation.id for key, activation in commits.items()}
        path = [
            activation.step.name
            for activation in sorted(
                commits.values(), key=lambda activation: (activation.depth, activation.step.index)
            )
            if activation.scope.parent is None
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
            self.watch.happenings,
            len(self.signals),
            self.refused,
            self.crashes,
        )

    def check_end(self) -> None:
        """Check the signals, the firsts, and that the events alone decide what became of a run."""
        self.check_signals()
        self.watch.check_firsts()
        if not self.crashes:
            expected = describe_result(self.run)
            replayed = describe_result(self.log.replay())
            if replayed != expected:
                raise Broken("I30 replay", f"{replayed}, not {expected}")
        schedule = self.schedule
        is_calm = not (schedule.stops or self.resumes or self.crashes)
        if is_calm and self.run.status == "succeeded" and schedule.happens:
            at = self.rng.randrange(1, len(self.log.entries))
            resumed = describe_result(self.log.replay(crash_at=at), attempts=False)
            expected = describe_result(self.run, attempts=False)
            if resumed != expected:
                raise Broken("I31 resume", f"after event {at}: {resumed}, not {expected}")

    def after_cancel(self) -> None:
        """Check I24: nothing starts or commits any more, whatever arrives."""
        before = fingerprint(self.run)
        for event in [*self.lost, *self.events[-5:], Resumed()]:
            if self.run.handle(event) or fingerprint(self.run) != before:
                raise Broken("I24 cancelled is over", f"{event} changed a cancelled run")


def _is_due(job: Command) -> bool:
    """Return whether a command is still to be answered; cancelled work is dropped."""
    match job:
        case (Activation() as activation) | LeaveScope(activation):
            return activation.status is Status.RUNNING
        case EvaluateRoute(activation):
            return activation.status is Status.ROUTING
        case ScheduleRetry(activation):
            return activation.status is Status.RETRYING
        case _:
            return False


def may_be_left_out(activation: Activation) -> bool:
    """Return whether a failure here leaves out an item of a map, which changes the result."""
    scope = activation.scope
    while scope.parent is not None:
        spec = scope.parent.step.map
        if spec is not None and (spec.on_item_error != "fail" or spec.need is not None):
            return True
        scope = scope.parent.scope
    return False


def _is_stale(event: Event) -> bool:
    """Return whether a repeated event can no longer mean anything."""
    match event:
        case (
            NodeFailed(activation, attempt)
            | RetryDue(activation, attempt)
            | NodeSucceeded(activation, attempt=attempt)
        ) if attempt:
            return attempt < activation.attempt or activation.status >= Status.DONE
        case NodeSucceeded(activation) | Routed(activation) | ScopeEntered(activation):
            return activation.status >= Status.DONE
        case RunStarted():
            return True
        case _:
            return False


def fingerprint(run: Run) -> Any:
    """Return everything that an event could change."""

    def of(scope: Scope) -> Any:
        active = [
            (
                index,
                activation.status,
                activation.attempt,
                [of(item) for item in activation.children.scopes] if activation.children else None,
            )
            for index, activation in scope.active.items()
        ]
        return (
            active,
            [(index, len(tokens)) for index, tokens in scope.waiting.items()],
            scope.live_positions,
            scope.busy_count,
            scope.closed,
            scope.finished,
            [of(late) for late in scope.detached],
        )

    return (
        of(run.root),
        run.status,
        run.reason,
        len(run.history),
        len(run.errors),
        len(run.cancelled_tokens),
        len(run.late_tokens),
        run.activations_left,
    )


class Watch:
    """Invariants over the stream of events and commands."""

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
        # with whether it was given a signal, since it runs again then
        self.attempts: set[tuple[Activation, int, bool]] = set()
        self.may_start = True
        self.happenings: list[Happening] = []  # what the reference is led along

    def note(self, happening: Happening) -> None:
        """Note what happened, in order."""
        self.happenings.append(happening)

    def move_to(self, run: Run) -> None:
        """Go on with a run that was replayed: its activations are others, with the same ids."""
        known = {activation.id: activation for activation in (*run.history, *run.unfinished())}
        self.run = run
        self.commits = {key: known[old.id] for key, old in self.commits.items()}
        self.keys = {known[old.id]: key for old, key in self.keys.items() if old.id in known}
        self.running = {known[old.id] for old in self.running if old.id in known}
        self.attempts = {
            (known[old.id], at, given) for old, at, given in self.attempts if old.id in known
        }

    def check_firsts(self) -> None:
        """Check I32: of the events of which the first counts, one ended and all others did not."""
        events: dict[Activation, list[Activation]] = {}
        for activation in self.run.history:
            source = activation.tokens[0].source if activation.step.rivals else None
            if source is not None:
                events.setdefault(source, []).append(activation)
        for source, all in events.items():
            ended = [each for each in all if each.status in (Status.DONE, Status.HANDLED)]
            others = [each for each in all if each not in ended]
            wrong = [
                each for each in others if each.status not in (Status.CANCELLED, Status.SKIPPED)
            ]
            if len(ended) > 1 or wrong:
                raise Broken("I32 first of several", f"after {source.path}: {all}")
            is_whole = self.run.status == "succeeded" and not self.sample.races
            if is_whole and not (ended or _is_void(source.scope)):
                raise Broken("I32 first of several", f"after {source.path} none ended: {all}")

    def key(self, activation: Activation) -> str:
        """Return the key of an activation, computed as the reference does it."""
        if activation not in self.keys:
            self.keys[activation] = activation_key(
                activation.path,
                (self.token(activation.scope, token) for token in activation.tokens),
            )
        return self.keys[activation]

    def token(self, scope: Scope, token: Token) -> tuple[str, str, str, int]:
        edge = token.edge
        origin = "run" if scope.parent is None else f"{self.key(scope.parent)}:{max(0, scope.item)}"
        return (
            origin if token.source is None else self.key(token.source),
            scope.plan.topology.name(edge.target),
            edge.kind,
            edge.loop,
        )

    def read(self, activation: Activation, given: list[Any]) -> None:
        """Check I6: every attempt reads the same values."""
        values = dict(given[0].__dict__)
        if self.given.setdefault(self.key(activation), values) != values:
            raise Broken(
                "I6 equal input",
                f"{activation.path}: {self.given[self.key(activation)]} and then {values}",
            )

    def after(self, event: Event, commands: list[Command]) -> None:
        """Check what an event changed."""
        self.may_start = isinstance(event, Resumed) or (
            self.may_start and not isinstance(event, StopRequested) and not self.run.root.failures
        )
        for activation in self.run.history[self.seen :]:
            self._ended(activation)
        self.seen = len(self.run.history)
        if (
            isinstance(event, NodeFailed)
            and event.activation.status in (Status.FAILED, Status.SKIPPED)
            and event.retry_after is None  # it is tried again, when the run is resumed
            and may_be_left_out(event.activation)
        ):
            ended = self.key(event.activation)
            self.order.append(ended)
            # In a scope that stops, an item that failed is tried again, in vain.
            if Happening("ended", ended) not in self.happenings:
                self.note(Happening("ended", ended))
        for command in commands:
            if isinstance(command, Activation):
                self._started(command)
            elif isinstance(command, NodeHeld):
                self._fired(command.activation)
        if self.run.exclusive is not None:
            self._check_regions()

    def _started(self, activation: Activation) -> None:
        key = self.key(activation)
        if key in self.commits:
            raise Broken("I2 committed once", f"{activation.path} is started again")
        attempt = (activation, activation.attempt, activation.received is not None)
        if attempt in self.attempts:
            raise Broken(
                "I3 attempts do not overlap",
                f"attempt {activation.attempt} of {activation.path} is started twice",
            )
        self.attempts.add(attempt)
        # END fires all the same, and where writes conflict there it fails
        is_new = activation.received is None
        if is_new and not self.may_start and activation.step.index != activation.scope.end:
            raise Broken(
                "I24 nothing starts", f"{activation.path} is started in a run that is stopping"
            )
        self._fired(activation)

    def _fired(self, activation: Activation) -> None:
        if activation not in self.running:
            self.running.add(activation)
            self._consume(activation)
            self._check_join(activation)

    def _check_regions(self) -> None:
        """Check I27: of a region, one activation at most is under way in the whole run."""
        under_way = Counter(
            name
            for activation in self.run.unfinished()
            if activation.status is not Status.HELD
            for name in activation.step.exclusive
        )
        crowded = [name for name, count in under_way.items() if count > 1]
        if crowded:
            raise Broken("I27 exclusive regions", f"several nodes of {crowded} are under way")

    def _consume(self, activation: Activation) -> None:
        for token in activation.tokens:
            edge, name = token.edge, self.token(activation.scope, token)
            if edge not in activation.scope.plan.topology.entering[activation.step.index] or (
                token.source is not None and token.source.step.index != edge.source
            ):
                raise Broken("I9 declared edges", f"{activation.path} got a token over {edge}")
            if (token.failure is not None) != (edge.kind == "error"):
                raise Broken(
                    "failures on error edges",
                    f"{activation.path} got {token.failure!r} over {edge}",
                )
            self.consumed[(activation.scope.prefix, *name)] += 1
            if self.consumed[(activation.scope.prefix, *name)] > 1:
                raise Broken("I7 a token is consumed once", f"{name} by {activation.path}")

    def _check_join(self, activation: Activation) -> None:
        """Check I10 by path search: no live position can still bring a token of this iteration."""
        sample = self._sample_of(activation.scope)
        scope, name = activation.scope, activation.step.name
        if sample is None or activation.step.need or self.key(activation) in self.commits:
            return
        named = scope.plan.topology.name
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
        # what comes round over another event of a first comes when this one is withdrawn
        live -= {named(rival) for rival in activation.step.rivals}
        early = [position for position in live if sample.structure.blocks(position, name)]
        early += [
            f"latch of {header}"
            for header in latches
            if sample.structure.latch_blocks(header, name)
        ]
        if early and activation.scope.active.get(activation.step.index) is activation:
            raise Broken(
                "I10 no join fires early", f"{activation.path} fired while {early} could reach it"
            )

    def _sample_of(self, scope: Scope) -> Sample | None:
        if scope.parent is None:
            return self.sample
        above = self._sample_of(scope.parent.scope)
        return above.flows.get(scope.parent.step.name) if above is not None else None

    def _ended(self, activation: Activation) -> None:
        if activation.status in (Status.DONE, Status.HANDLED):
            key = self.key(activation)
            if key in self.commits:
                raise Broken("I1 one commit", f"{activation.path} committed twice")
            self.commits[key] = activation
            self.order.append(key)
            if not self.happenings or self.happenings[-1] != Happening("expired", key):
                self.note(Happening("ended", key))

    def at_end(self, resumes: int, ended: int) -> None:
        if ended != resumes + 1:
            raise Broken("I13 one end", f"{ended} ends for {resumes + 1} starts")
        if self.run.status in ("succeeded", "partial"):
            self._check_tokens()
        kept = {id(activation) for activation in self.run.history}
        if any(id(activation) not in kept for activation in self.commits.values()):
            raise Broken("I26 commits stay", "a commit is gone from the history")

    def _check_tokens(self) -> None:
        """Check I7: every token was consumed once, cancelled by name, or too late."""
        ended = (*self.run.cancelled_tokens, *self.run.late_tokens)
        cancelled = {(token.source, token.edge.index) for token in ended}
        for activation in self.commits.values():
            for edge in activation.taken_edges:
                name = (
                    activation.scope.prefix,
                    self.key(activation),
                    activation.scope.plan.topology.name(edge.target),
                    edge.kind,
                    edge.loop,
                )
                gone = (
                    activation,
                    edge.index,
                ) in cancelled or edge.target == activation.scope.plan.end
                if not gone and not self.consumed[name] and not _is_void(activation.scope):
                    raise Broken(
                        "I7 no token is left",
                        f"{activation.path} sent one to {name[2]} that nobody consumed",
                    )
        if self.run.root.waiting or self.run.root.active:
            raise Broken(
                "I7 no token is left",
                f"waiting {list(self.run.root.waiting)}, "
                f"active {list(self.run.root.active.values())}",
            )


def _is_void(scope: Scope) -> bool:
    """Return whether a scope was given up: cancelled, or an item that failed."""
    while scope.parent is not None:
        if scope.output is None or scope.parent.status is Status.CANCELLED:
            return True
        scope = scope.parent.scope
    return False
