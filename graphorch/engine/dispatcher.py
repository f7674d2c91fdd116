"""Give events to the core, and apply the commands that it returns.

With a journal, an event is appended before the core gets it; observers get it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphorch.core.events import (
    CancelNode,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    ItemReviewed,
    LeaveScope,
    NodeFailed,
    NodeHeld,
    NodeSucceeded,
    PersonAsked,
    ReviewItem,
    RoundEnded,
    Routed,
    ScheduleRetry,
    ScopeEntered,
    SuspendNode,
    WaitUntil,
)
from graphorch.core.tree import Activation, Scope, Status, format_place
from graphorch.engine import human_input
from graphorch.engine.attempts.attempt import AttemptRunner
from graphorch.engine.invocation import binding
from graphorch.engine.run_services import RunServices
from graphorch.errors import Unstorable, as_failure

if TYPE_CHECKING:
    from graphorch.engine.run_journal import RunJournal
    from graphorch.engine.tool_calls.rounds import ToolRounds
    from graphorch.engine.waits.due_times import DueTimes

_HELD, _RETRYING, _RUNNING = Status.HELD, Status.RETRYING, Status.RUNNING


class Dispatcher:
    """Takes events of one run to its core, and carries out the commands.

    `tasks` are the run tasks at work. `on_final_failure` is called after each failure that is not
    retried and that no error edge handles, while the run is under way. `is_unobserved` says that
    neither a journal, an observer nor a hook needs to see an event. `tool_rounds` takes the rounds
    of tool calls, and `due_times` the times until which something waits.
    """

    __slots__ = (
        "_attempts",
        "_journal",
        "_log",
        "_run",
        "_services",
        "due_times",
        "is_unobserved",
        "on_final_failure",
        "tasks",
        "tool_rounds",
    )

    def __init__(self, services: RunServices, attempts: AttemptRunner) -> None:
        self._services = services
        self._run = services.run
        self._log = services.log
        self._journal = services.log.journal
        self._attempts = attempts
        self.tasks = attempts.tasks
        self.on_final_failure: Callable[[], None] | None = None
        self.is_unobserved = False
        self.tool_rounds: ToolRounds | None = None
        self.due_times: DueTimes | None = None

    def dispatch(self, event: Event) -> list[Activation]:
        """Give an event to the core, apply its commands, and return what is ready to run."""
        return self.apply(self._handle(event))

    def apply(self, commands: list[Command]) -> list[Activation]:
        """Apply commands and those that follow from them, and return what is ready to run."""
        ready: list[Activation] = []
        for command in commands:  # commands that follow are added at its end meanwhile
            match command:
                case Activation():
                    ready.append(command)
                case EvaluateRoute(activation):
                    commands += self.evaluate_route(activation)
                case LeaveScope(activation):
                    commands += self._handle(self._leave_scope(activation))
                case ReviewItem(activation, scope):
                    commands += self._review_item(activation, scope)
                case ScheduleRetry(activation, seconds):
                    self._attempts.delay_retry(activation, seconds)
                    ready.append(activation)
                case CancelNode(activation, reason):
                    self._cancel(activation, reason)
                case RoundEnded(activation, round):
                    if self.tool_rounds is not None:
                        self.tool_rounds.end(activation, round)
                case SuspendNode(activation):
                    self._suspend(activation)
                case WaitUntil(activation, due):
                    if self.due_times is not None:
                        self.due_times.add(activation, due)
                case NodeHeld(activation):
                    if activation.status is _HELD:  # else it has got its turn already
                        activation.held_at = self._services.now()
                case FinishRun():
                    if self.due_times is None:
                        self._log.stop_background()
                    else:
                        self._finish(command, self.due_times)
        if self._attempts.long_pauses is not None:
            self._attempts.long_pauses.look_again()
        # A later command may have cancelled what an earlier one started.
        ready = [
            activation
            for activation in ready
            if activation.status is _RUNNING or activation.status is _RETRYING
        ]
        if ready and self._run.has_tool_calls and self.tool_rounds is not None:
            return self.tool_rounds.take_ready(ready)
        return ready

    def _finish(self, command: FinishRun, due_times: DueTimes) -> None:
        """Let the run come to rest, unless it only waits for a timer that is close."""
        waits, patience = command.waits, self._services.settings.limits.waiting
        is_waiting = command.status == "waiting"
        if is_waiting and due_times.hold(waits, self._run.ending_early(), patience):
            return
        due_times.let_go()
        self._log.stop_background()

    def evaluate_route(self, activation: Activation) -> list[Command]:
        """Decide where an activation's tokens go, or ask a person first; return what follows."""
        if activation.step.approved_after and not activation.approved:
            return self._handle(self._ask_person(activation))
        try:
            decision = binding.evaluate_route(activation)
        # The border to the user's selectors and conditions.
        except BaseException as error:
            return self._handle(self._build_failure(activation, error))
        if self.is_unobserved:
            # Fast path: must equal `_handle` of a `Routed` event.
            return self._run.accept_route(activation, decision)
        return self._handle(Routed(activation, decision, self._services.now()))

    def _ask_person(self, activation: Activation) -> Event:
        now = self._services.now()
        try:
            question = human_input.build_question(activation, self._services.read_clock())
        # The border to the user's values, whose texts it shows.
        except BaseException as error:
            return self._build_failure(activation, error)
        return PersonAsked(activation, question, now)

    def _handle(self, event: Event) -> list[Command]:
        """Journal an event, give it to the core and then to the observers."""
        log, attempts = self._log, self._attempts
        if type(event) is NodeFailed and event.activation.step.compensates:
            event.undoes = self._undoes_inside(event)
        if self._journal is not None:
            event = self._append(self._journal, event)
        commands = self._run.handle(event)
        if type(event) is NodeFailed:
            self._react_to_failure(event)
        if attempts.in_doubt:
            attempts.settle_doubt(event)
        if log.observers is not None or log.questions is not None:
            log.notify(event)
        return commands

    def _undoes_inside(self, event: NodeFailed) -> bool:
        """Return whether a failed sub-flow or map is undone: for good, with work to undo.

        One whose result is committed can still go on from there unless its failure is handled.
        """
        if event.retry_after is not None or (event.limit and event.handler < 0):
            return False
        if event.activation.update is not None and event.handler < 0:
            return False
        from graphorch.core.compensation import has_work_to_undo

        return has_work_to_undo(self._run, event.activation)

    def _react_to_failure(self, event: NodeFailed) -> None:
        is_final = event.retry_after is None and event.handler < 0
        is_final = is_final and not event.activation.scope.is_undo
        if is_final and self.on_final_failure is not None:
            self.on_final_failure()

    def _append(self, journal: RunJournal, event: Event) -> Event:
        """Append an event; return it, or the failure of a node whose values cannot be stored."""
        try:
            journal.buffer(event)
        except Unstorable as error:
            if isinstance(event, ItemReviewed):
                event = event._replace(updates=(), keys=(), failure=error)
            elif isinstance(event, NodeSucceeded | ScopeEntered):
                event = self._attempts.build_failure(event.activation, error)
            else:
                raise
            journal.buffer(event)
        if self._services.kept_answers and type(event) is NodeSucceeded:
            # It is on its way to the disk, so its activation is never attempted again.
            self._services.kept_answers.pop(event.activation, None)
        return event

    def _leave_scope(self, activation: Activation) -> Event:
        """Return what becomes of an activation whose children have ended."""
        try:
            update = binding.gather_children(activation)
        # The border to the user's `gather` and `leave`.
        except BaseException as error:
            failure = as_failure(error)
            if failure is None:
                raise
            return self._attempts.end_by_failure(activation, failure)
        return NodeSucceeded(activation, update, self._services.now())

    def _review_item(self, activation: Activation, scope: Scope) -> list[Command]:
        """Evaluate what a map decides after an item, and return what follows."""
        children = activation.children
        if children is None or not children.is_reviewing:
            return []  # an event that came with the item put the review off
        item, failure = format_place(scope.place), None
        try:
            enough, updates = binding.review_item(activation, scope)
            keys = binding.find_keys(activation, updates)
        # The border to the user's `until` and `grow`.
        except BaseException as error:
            failure = as_failure(error)
            if failure is None:
                raise
            enough, updates, keys = False, [], []
        now = self._services.now()
        return self._handle(ItemReviewed(activation, item, enough, updates, failure, now, keys))

    def _build_failure(self, activation: Activation, error: BaseException) -> NodeFailed:
        """Return the failure that an exception of a user's function means, or raise it again."""
        failure = as_failure(error)
        if failure is None:
            raise error
        return self._attempts.build_failure(activation, failure)

    def _suspend(self, activation: Activation) -> None:
        """Tell the attempt of an activation to end without an outcome."""
        self._attempts.settle_suspended(activation)
        for task in self.tasks:
            if task.current is activation:
                assert self.tool_rounds is not None
                self.tool_rounds.suspend(activation)
                task.suspend_node()

    def _cancel(self, activation: Activation, reason: str) -> None:
        for task in self.tasks:
            if task.current is activation:
                task.stop_node()
        if self._services.is_watched:
            from graphorch.engine.events import Cancelled

            path, name, tool = activation.path, activation.step.name, activation.tool
            self._services.publish(Cancelled(path, name, reason, tool))
