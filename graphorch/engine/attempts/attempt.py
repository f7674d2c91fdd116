"""One attempt of an activation: run its node, or what stands in for it, and return an event.

Rules of this file:
1. Everything that a user's function raises becomes an event; only our own bugs leave as exceptions.
2. A cancelled attempt returns None, and its outcome is dropped.
3. An attempt never talks to the core: the scheduler does, with the event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from graphorch.core.events import (
    Event,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    RetryDue,
    ScopeEntered,
    Update,
)
from graphorch.core.retry import find_handler, retry_after
from graphorch.core.tree import Activation, Status, ToolScope
from graphorch.engine import human_input, node_cache
from graphorch.engine.attempts.context import NodeContext
from graphorch.engine.attempts.run_task import RunTask
from graphorch.engine.invocation import binding
from graphorch.engine.invocation.invoker import NodeInvoker
from graphorch.engine.report import tell_failure
from graphorch.engine.run_services import RunServices
from graphorch.errors import Ambiguous, BudgetExceeded, NeedsConsent, as_failure
from graphorch.text import format_error, is_kind

if TYPE_CHECKING:
    from graphorch.engine.waits.long_pauses import LongPauses

# looked up for every attempt
_RETRYING, _RUNNING = Status.RETRYING, Status.RUNNING
_AT_ONCE_SINCE: Final = 7  # the first format whose readers know how wide a placement made a map
_ENDING_PAUSE: Final = 0.005  # seconds between two looks at attempts that are about to end

Gate: TypeAlias = Callable[[Activation], Awaitable[None]]
"""Waited for before each attempt, so that a debugger decides which activation is next."""


class AttemptRunner:
    """Runs the attempts of one run's activations.

    `in_doubt` holds, by path, the activations with effect `once` that began and did not finish.
    `has_overrides` says that more than the options of nodes decides how they run: a gate, pins,
    a limit of concurrency, nodes in doubt, a trace, or another process in which they may run.
    """

    __slots__ = (
        "_deadline",
        "_fail_in_doubt",
        "_gate",
        "_may_repeat",
        "_pin_visits",
        "_rest",
        "_retry_delays",
        "_services",
        "has_overrides",
        "in_doubt",
        "invoker",
        "long_pauses",
        "tasks",
    )

    def __init__(
        self, services: RunServices, gate: Gate | None, in_doubt: Mapping[str, Activation]
    ) -> None:
        self._services = services
        self._gate = gate
        self.invoker: NodeInvoker | None = None
        self.long_pauses: LongPauses | None = None  # once there is one
        # Lets the run rest in long pauses; None if it may not. Kept for as long as the run is under
        # way: it refers to what refers to this.
        self._rest: Callable[[], None] | None = None
        self._deadline: float | None = None  # of the run, in the event loop's time
        # Both are made at their first use: very many runs wait at once, and most need neither.
        self._retry_delays: dict[Activation, float] | None = None
        # By place, the activations that visited what is pinned there, numbered from 0.
        self._pin_visits: dict[str, dict[Activation, int]] | None = None
        self._fail_in_doubt: frozenset[str] = _NO_PATHS  # those in doubt that are to fail
        self._may_repeat: frozenset[str] = _NO_PATHS  # those in doubt that may run again
        self.in_doubt = dict(in_doubt)
        self.tasks: set[RunTask] = set()  # those at work
        self.has_overrides = True

    # ---- for the scheduler -----------------------------------------------------------------------
    def open(self, deadline: float | None, rest: Callable[[], None]) -> None:
        """Prepare for work until a time of the event loop; `rest` lets the run rest in a pause."""
        settings = self._services.settings
        self._deadline = deadline
        # With a gate a person lets the run go on.
        self._rest = rest if self._gate is None else None
        self.has_overrides = (
            settings.limits.concurrency is not None
            or self._gate is not None
            or bool(settings.pins)
            or bool(self._fail_in_doubt)
            or self._services.trace is not None
            or settings.placement is not None
        )

    def close(self) -> None:
        """Let idle threads end."""
        self.long_pauses = self._rest = None
        if self.invoker is not None:
            self.invoker.close()
            self.invoker = None

    def fail_in_doubt(self, *, fail: bool) -> None:
        """Decide whether the nodes in doubt fail, or run again."""
        self._fail_in_doubt = frozenset(self.in_doubt) if fail else _NO_PATHS
        self._may_repeat = _NO_PATHS if fail else frozenset(self.in_doubt)

    def settle_placed(self, activations: Iterable[Activation]) -> None:
        """Take nodes out of doubt whose functions run in other processes, or have ended there."""
        for activation in activations:
            self.in_doubt.pop(activation.path, None)

    def settle_doubt(self, event: Event) -> None:
        """Take a node out of doubt if its end is known now."""
        if isinstance(event, NodeSucceeded | NodeFailed) and event.activation.is_over:
            self.in_doubt.pop(event.activation.path, None)

    def settle_suspended(self, activation: Activation) -> None:
        """Take an agent out of doubt that waits for people: its answers and calls are recorded."""
        if acts_by_calls_only(activation):
            self.in_doubt.pop(activation.path, None)

    def delay_retry(self, activation: Activation, seconds: float) -> None:
        """Let the next attempt of an activation wait."""
        if self._retry_delays is None:
            self._retry_delays = {}
        self._retry_delays[activation] = seconds

    # ---- one attempt -----------------------------------------------------------------------------
    async def run(self, task: RunTask, activation: Activation) -> Event | None:
        """Run one attempt, or wait for the next one, and return its event.

        Return None if the attempt was cancelled meanwhile.
        """
        if activation.status is _RETRYING:
            return await self._wait_for_retry(activation)
        if activation.status is not _RUNNING:
            return None
        if self._gate is not None and not await self._wait_at_gate(self._gate, activation):
            return None
        services, step = self._services, activation.step
        if not activation.started_at:
            activation.started_at = services.now()
        if services.trace is not None:
            from graphorch import trace_context

            headers = services.trace.for_attempt(activation.id, activation.attempt)
            trace_context.enter(headers)
        if services.is_watched:
            from graphorch.engine.events import Started

            now, tool = services.now(), activation.tool
            services.publish(Started(activation.path, step.name, activation.attempt, now, tool))
        try:
            # Fast path: must equal `_run_node`, of which such a node needs only this.
            if step.is_simple and not self.has_overrides and activation.fatal_error is None:
                given = binding.bind_arguments(activation)
                if step.has_context:
                    output = await step.fn(self.build_context(activation, None), *given)
                else:
                    output = await step.fn(*given)
                update = binding.build_update(step, output, given, activation.version)
                event = NodeSucceeded(activation, update, services.now())
                if services.report.noted is not None:
                    event.notes = services.report.noted.get(activation, ())
            else:
                event = await self._run_node(activation)
        except BaseException as error:
            return self.event_for_exception(task, activation, error)
        if services.kept_answers and services.log.journal is None:
            services.kept_answers.pop(activation, None)
        return event if self.is_still_running(task, activation) else None

    def event_for_exception(
        self, task: RunTask, activation: Activation, error: BaseException
    ) -> Event | None:
        """Return the failure that an exception means; None if the node was cancelled meanwhile.

        Raise the exception again if it is meant for the whole run.
        """
        failure = as_failure(error)
        if failure is None:
            raise error
        if not self.is_still_running(task, activation):
            return None
        if isinstance(failure, binding.MissingInput) and self._services.run.has_gaps:
            # Something went wrong before: this path is dead. Without gaps, `build()` should have
            # seen that the field is never assigned.
            return NodeSkipped(activation, str(failure), self._services.now())
        if isinstance(failure, NeedsConsent) and failure.consent and activation.tool:
            return self._ask_for_consent(activation, failure)
        return self.end_by_failure(activation, failure)

    def end_by_failure(
        self, activation: Activation, error: Exception
    ) -> NodeFailed | NodeSucceeded:
        """Return what an exception means: a failure, or a result that says so to a model."""
        event = self.build_failure(activation, error)
        if event.retry_after is None and is_kind(error, activation.step.node.options.tells):
            return self._tell_model(activation, error)
        return event

    def _ask_for_consent(self, activation: Activation, error: NeedsConsent) -> PersonAsked:
        """Ask whether a tool that has changed, and did nothing, is called all the same."""
        self.in_doubt.pop(activation.path, None)
        question = human_input.ask_for_consent(activation, error, self._services.read_clock())
        return PersonAsked(activation, question, self._services.now())

    def _tell_model(self, activation: Activation, error: Exception) -> NodeSucceeded:
        """Return the result of a tool that raised what its model is to read."""
        from graphorch.graph.payloads import ToolOutcome

        name = activation.step.name.rpartition("#")[0]
        text = f"Error: '{name}' raised {format_error(error)}"
        outcome = ToolOutcome(outcome="failed", text=text)
        update = activation.step.writes[0].update(outcome)
        return NodeSucceeded(activation, update, self._services.now(), served=True)

    def is_still_running(self, task: RunTask, activation: Activation) -> bool:
        """Return whether the outcome of an attempt counts; not if it was cancelled meanwhile.

        Raise `CancelledError` if the whole run is being cancelled.
        """
        task.node_ended()
        if task.is_being_cancelled:
            raise asyncio.CancelledError
        return activation.status is _RUNNING and task.suspended is None

    def build_context(self, activation: Activation, deadline: float | None) -> NodeContext:
        """Return the context of an attempt, which ends with its own deadline or the run's."""
        if activation.scope.is_undo:
            return NodeContext(self._services, activation, deadline)
        if deadline is None:
            deadline = self._deadline
        elif self._deadline is not None:
            deadline = min(deadline, self._deadline)
        return NodeContext(self._services, activation, deadline)

    def build_failure(self, activation: Activation, error: Exception) -> NodeFailed:
        """Return the event of a failed attempt, with the pause before the next one if any."""
        now = self._services.now()
        if self._services.report.noted is not None:
            self._services.report.noted.pop(activation, None)
        shown = error
        if self._services.run.root.plan.marked is not None:
            from graphorch.engine.invocation.secret_values import hide_in_failure

            shown = hide_in_failure(activation, error)
        activation.add_to_story(tell_failure(activation, shown, now))
        handler = find_handler(activation, error)
        pause = retry_after(activation, error)
        end = _find_end(activation)
        if pause is not None and end is not None and now + pause >= end:
            pause = None  # the next attempt could not even begin
        limit = ""
        if isinstance(error, BudgetExceeded) and handler < 0 and not error.is_ordinary:
            limit = error.limit
        return NodeFailed(activation, activation.attempt, shown, pause, handler, limit, now)

    def end_unanswered(
        self, activation: Activation, error: Exception
    ) -> NodeFailed | NodeSucceeded:
        """Return how a wait ends whose time is over: a call of a tool is refused, others fail."""
        if human_input.is_call(activation):
            from graphorch.engine.tool_calls.approval import build_unanswered

            return build_unanswered(activation, self._services.now())
        return self.build_failure(activation, error)

    @property
    def is_gated(self) -> bool:
        """Return whether a person lets attempts through, one at a time."""
        return self._gate is not None

    async def _wait_at_gate(self, gate: Gate, activation: Activation) -> bool:
        """Wait at the gate; return False if the activation was cancelled meanwhile."""
        try:
            await gate(activation)
        except asyncio.CancelledError:
            if activation.status is _RUNNING:
                raise
        return activation.status is _RUNNING

    async def _wait_for_retry(self, activation: Activation) -> Event | None:
        """Wait for the next attempt; return None if the activation was cancelled meanwhile."""
        attempt, delays = activation.attempt, self._retry_delays
        seconds = delays.pop(activation, 0.0) if delays is not None else 0.0
        pauses = self._find_long_pauses(seconds)
        if pauses is not None:
            pauses.begin()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if activation.status is _RETRYING:
                raise
            return None
        finally:
            if pauses is not None:
                pauses.end()
        if self._services.kept_answers:
            # Loaded by the call whose answer is kept.
            from graphorch.engine.calls.kept_answers import forget_answers

            forget_answers(self._services.kept_answers, activation)
        return RetryDue(activation, attempt, self._services.now())

    def _find_long_pauses(self, seconds: float) -> LongPauses | None:
        """Return what lets the run rest, from the first pause on that is a long one."""
        patience = self._services.settings.limits.waiting
        if self.long_pauses is not None or self._rest is None or patience is None:
            return self.long_pauses
        if seconds > patience:
            from graphorch.engine.waits.long_pauses import LongPauses

            services = self._services
            self.long_pauses = LongPauses(
                services.run, self.tasks, patience, services.now, self._rest
            )
        return self.long_pauses

    def _count_at_once(self, activation: Activation) -> int | None:
        """Return how many items of a map may be under way at once, if a placement decides that.

        A reader of a run's format has to know the field that records it.
        """
        spec, placement = activation.step.map, self._services.settings.placement
        if spec is None or spec.concurrency is not None or placement is None:
            return None
        format = self._services.format
        if format is not None and format < _AT_ONCE_SINCE:
            return None
        return placement.count_at_once(activation)

    async def _run_node(self, activation: Activation) -> Event:
        """Return the event of an attempt: what stands in for the node, else what it returns."""
        step, now = activation.step, self._services.now
        self._raise_known_failure(activation)
        if step.event is not None:
            from graphorch.engine.waits import event_waits

            return event_waits.build_wait(activation, now(), self._services.read_clock())
        if step.node.kind == "first":
            return NodeSucceeded(activation, {}, now())
        if step.ask is not None or _waits_at_gate(activation):
            question = human_input.build_question(activation, self._services.read_clock())
            return PersonAsked(activation, question, now())
        if step.inner_plan is not None:
            updates = binding.build_items(activation)
            keys = binding.find_keys(activation, updates)
            entered = ScopeEntered(activation, updates, now(), keys)
            if self._services.settings.placement is not None:
                entered.at_once = self._count_at_once(activation)
            if step.may_end_early:
                from graphorch.engine.waits.event_waits import build_early_end

                entered.wait = build_early_end(activation, self._services.read_clock())
            return entered
        if activation.scope.is_undo:
            await self._wait_for_interrupted()
        given = binding.bind_arguments(activation)
        update = self._take_pinned(activation)
        served = update is not None
        if update is None:
            update = await self._call_or_reuse(activation, given)
        noted = self._services.report.noted
        notes = noted.get(activation, ()) if noted is not None else ()
        return NodeSucceeded(activation, update, now(), notes=notes, served=served)

    async def _wait_for_interrupted(self) -> None:
        """Wait until attempts that were interrupted have ended, before something is undone."""
        while any(task.is_ending_node for task in self.tasks):  # noqa: ASYNC110  (there are many)
            await asyncio.sleep(_ENDING_PAUSE)

    def _raise_known_failure(self, activation: Activation) -> None:
        """Raise what an activation fails with before its node runs."""
        path = activation.path
        if path in self._fail_in_doubt:
            self._fail_in_doubt -= {path}
            raise _build_ambiguous(path)
        if activation.fatal_error is not None:
            raise activation.fatal_error

    def _take_pinned(self, activation: Activation) -> Update | None:
        """Return what is pinned for this visit of a place; None if nothing is."""
        pins = self._services.settings.pins
        if not pins:
            return None
        from graphorch.engine.tool_calls.pinned_calls import find_place

        place = find_place(activation)
        pinned = pins.get(place)
        if not pinned:
            return None
        if self._pin_visits is None:
            self._pin_visits = {}
        visits = self._pin_visits.setdefault(place, {})
        visit = visits.setdefault(activation, len(visits))
        return dict(pinned[min(visit, len(pinned) - 1)])

    def unused_pins(self) -> dict[str, Sequence[Update]]:
        """Return what is pinned for visits to come; the last pin of a place holds for all later."""
        visits, unused = self._pin_visits or {}, dict[str, Sequence[Update]]()
        for place, pins in self._services.settings.pins.items():
            used = min(len(visits.get(place, ())), len(pins) - 1)
            unused[place] = pins[used:]
        return unused

    async def _call_or_reuse(self, activation: Activation, given: list[Any]) -> Update:
        """Return a node's update, from the cache of nodes if the node has one and it is there."""
        options, settings = activation.step.node.options, self._services.settings
        if options.cache is None:
            return await self._call(activation, given)
        model = settings.models.get(activation.path, settings.model)
        key = node_cache.compute_key(activation, given, model, settings.own_client)
        update = settings.cache.get(key, self._services.now())
        if update is None:
            update = await self._call(activation, given)
            settings.cache.put(key, update, self._services.now() + options.cache.ttl)
        return update

    def check_doubt(self, activation: Activation) -> None:
        """Raise `Ambiguous` for an activation that may have acted, unless it may act again."""
        path = activation.path
        if self.in_doubt.get(path) is activation and path not in self._may_repeat:
            raise _build_ambiguous(path)

    async def _call(self, activation: Activation, given: list[Any]) -> Update:
        """Call a node, alone among all runs of the journal if it has to be."""
        journal, names = self._services.log.journal, activation.step.shared_regions
        if not names or journal is None:
            return await self._call_now(activation, given)
        from graphorch.engine.attempts.shared_regions import SharedRegions

        async with SharedRegions(journal, activation):
            return await self._call_now(activation, given)

    async def _call_now(self, activation: Activation, given: list[Any]) -> Update:
        """Call a node, and return the update that its output means."""
        services, step = self._services, activation.step
        if step.node.options.effect == "once":
            path = activation.path
            # An attempt before it, in this run, was interrupted: with the agent that calls a tool.
            self.check_doubt(activation)
            self.in_doubt[path] = activation
            self._may_repeat -= {path}
            if services.log.journal is not None:
                services.log.journal.buffer_starting(activation)
                await services.log.journal.flush()
        if self.invoker is None:
            settings = services.settings
            self.invoker = NodeInvoker(
                self.build_context,
                services.epoch,
                settings.limits.concurrency,
                services.report.abandon,
                settings.placement,
            )
        output = await self.invoker.call(activation, given)
        return binding.build_update(step, output, given, activation.version)


def _find_end(activation: Activation) -> float | None:
    """Return when the deadline of an activation is over; None without one."""
    if activation.children is not None and activation.wait is not None:
        return activation.wait.due
    deadline = activation.step.node.options.deadline
    return None if deadline is None else activation.started_at + deadline


def acts_by_calls_only(activation: Activation) -> bool:
    """Return whether nothing in an attempt acts but the calls of tools, which are recorded."""
    return activation.step.node.kind == "agent"


def _build_ambiguous(path: str) -> Ambiguous:
    return Ambiguous(f"'{path}' began and did not finish; whether it acted is not known.")


def _waits_at_gate(activation: Activation) -> bool:
    """Return whether a person has to approve an activation before it begins."""
    if activation.approved:
        return False
    scope = activation.scope
    if isinstance(scope, ToolScope):
        return scope.call.asks
    return activation.step.node.options.gate == "before"


_NO_PATHS: Final[frozenset[str]] = frozenset()
