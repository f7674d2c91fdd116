"""Rebuild a run from its records: the same events, given to the same core.

No node runs and no model is called. Every record has to fit what the core has open at that moment;
the first that does not is a divergence, and the error names it. What follows from a record is
decided by the core alone, so the same records always rebuild the same run.

Records are data that anybody may have written. Each body is checked before it is used, and whatever
the core, a type of the state or a pure function of the flow raises about a record becomes a
divergence that names it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from graphorch.core.events import (
    Approved,
    Command,
    Event,
    GraceExpired,
    ItemReviewed,
    NodeCancelled,
    NodeFailed,
    NodeHeld,
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
    SuspendNode,
    ToolsCalled,
    Update,
    WaitBegan,
)
from graphorch.core.resuming import begin_anew
from graphorch.core.run import Run
from graphorch.core.state import UNLIMITED, OnFailure
from graphorch.core.tree import (
    Activation,
    EventWait,
    ReviewedScopes,
    Status,
    ToolScopes,
    format_place,
)
from graphorch.engine.attempts.attempt import acts_by_calls_only
from graphorch.engine.calls.kept_answers import KeptAnswer, KeptAnswers, forget_answers
from graphorch.engine.calls.sent_requests import decode_charge, decode_requests
from graphorch.engine.human_input import choose_approval
from graphorch.engine.invocation import binding
from graphorch.engine.invocation.secret_values import hide_all_fields
from graphorch.engine.questions.pending_question import PendingQuestion
from graphorch.engine.record_bodies import decode_response, read_charge
from graphorch.engine.report import CallReport, RunReport, tell_failure
from graphorch.engine.state_codec import CodecCache
from graphorch.engine.tool_calls.call_plans import encode_arguments, find_tool_of, rebuild_call
from graphorch.engine.tool_calls.pinned_calls import find_pinned_plan, find_place
from graphorch.engine.waits.answer_codec import decode_answer
from graphorch.errors import GraphorchError, JournalError, ReplayDiverged
from graphorch.graph.plan import Plan, SignalSpec, Step
from graphorch.journal.engagements import EngagementReader
from graphorch.journal.record_kinds import (
    ActivationBody,
    ApprovedBody,
    AskedBody,
    CallBody,
    CancelledBody,
    ChargedCall,
    CommitBody,
    DefaultsBody,
    EndedBody,
    EnteredBody,
    FailedBody,
    ForkedBody,
    InputsBody,
    ListedBody,
    MomentBody,
    PinnedBody,
    RecordKind,
    RetryBody,
    ReviewedBody,
    RoutedBody,
    RulesBody,
    SendingBody,
    SignalBody,
    SkippedBody,
    StartedBody,
    StartingBody,
    StoppingBody,
    TimedBody,
    ToolsBody,
    UnansweredBody,
    WaitingBody,
)
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import Record
from graphorch.models.budgets.budget import Amount
from graphorch.models.budgets.charge import Charge, sum_charges
from graphorch.models.messages import Response
from graphorch.text import KIND, LINEAGE, truncate_repr

_LONGEST_VALUE: Final = 200  # characters of a value in a message
# Kinds of records that may come before the one that begins a run.
_BEFORE_BEGIN: Final[frozenset[RecordKind]] = frozenset({"forked", "migrated", "rules"})

RecordedCall: TypeAlias = tuple[Activation, CallReport]
"""A model call that a journal holds, and the activation that made it."""


class RecordedError(GraphorchError):
    """An exception that a node raised in an earlier process: its classes' names and its message.

    Without `kinds`, of a record before format 4, only the name of its own class is known.
    """

    def __init__(self, kind: str, message: str, kinds: Sequence[str] | None = None) -> None:
        setattr(self, KIND, kind)
        known = (kind, "Exception", "BaseException") if kinds is None else tuple(kinds)
        setattr(self, LINEAGE, known)
        super().__init__(message)


@dataclass(slots=True)
class ReplayedRun:
    """A run as its records left it, with its engagements: the times in which a process drove it.

    `calls` are the model calls that ended, and `open_calls`, by number, those that were announced
    and whose end is not recorded. `kept_answers` holds the answers of activations that have not
    committed; `in_doubt`, by path, the activations of nodes with effect `once` that began and whose
    end is not recorded. `concurrency` is how many nodes may run at once (None: no limit, or a
    record before format 4), and `budget` that of the run, by unit, as they were set last; `model`
    replaces the model of all agents, and `models` that at single paths, and `pins` are the updates
    that the next visits of a path give. A fork has `taken_over` so many of the first activations of
    its history from another run. `listings` are the tools of servers, by the name of the server.
    `has_begun` is false if no record holds the input.
    """

    run: Run
    engagements: EngagementReader = field(default_factory=EngagementReader)
    calls: list[RecordedCall] = field(default_factory=list[RecordedCall])
    open_calls: dict[int, RecordedCall] = field(default_factory=dict[int, RecordedCall])
    last_call: int = 0
    kept_answers: KeptAnswers = field(default_factory=KeptAnswers)
    in_doubt: dict[str, Activation] = field(default_factory=dict[str, Activation])
    noted: dict[Activation, tuple[str, ...]] = field(
        default_factory=dict[Activation, tuple[str, ...]]
    )
    concurrency: int | None = None
    budget: dict[str, float] | None = None
    model: str = ""
    models: dict[str, str] = field(default_factory=dict[str, str])
    pins: dict[str, list[Update]] = field(default_factory=dict[str, list[Update]])
    taken_over: int = 0
    listings: dict[str, ListedBody] = field(default_factory=dict[str, ListedBody])
    last_seq: int = 0
    has_begun: bool = False

    def unfinished(self) -> list[Activation]:
        """Return the activations that are not over."""
        return self.run.unfinished()

    def all_calls(self) -> list[RecordedCall]:
        """Return the model calls of the run, also those that its process did not survive."""
        return [*self.calls, *self.open_calls.values()]

    def build_report(self, now: float) -> RunReport:
        """Return what the run did, as its records tell it; `now` is for one without a record."""
        engagements, last = self.engagements, self.engagements.last
        number = max(1, engagements.number)
        report = RunReport(self.run, last or now, last, engagements.seconds, number)
        report.add_recorded_calls(self.all_calls())
        report.noted = self.noted or None
        return report

    def sum_paid(self) -> Amount:
        """Return what a budget of the run counts: its own calls, at worst where it is not known."""
        paid = [call.charge for _, call in self.all_calls() if not call.is_copy]
        return sum_charges(paid).booked


def rebuild(
    plan: Plan,
    run_id: str,
    records: Sequence[Record],
    *,
    on_failure: OnFailure = "drain",
    until: int | None = None,
    adopted: int = 0,
) -> ReplayedRun:
    """Return the run after its records, or after record number `until`.

    In the records up to number `adopted`, activations have ids of another origin (an older graph),
    and keep them. Raises `ReplayDiverged` at the first record that does not fit, and
    `JournalDamaged` at the first that no version would have written.
    """
    replayed = ReplayedRun(Run(plan, run_id, on_failure=on_failure))
    replay = Replay(plan, replayed, adopted)
    for record in records:
        if until is not None and record.seq > until:
            break
        replay.take(record)
    return replayed


def verify(
    plan: Plan,
    run_id: str,
    records: Sequence[Record],
    *,
    on_failure: OnFailure = "drain",
    adopted: int = 0,
) -> ReplayedRun:
    """Return the run after its records, having called its pure functions again.

    Every selector, predicate, `over`, `enter`, `leave` and `gather` has to return what it returned
    in the run; no node runs and no model is called. Raises `ReplayDiverged` at the first
    difference, and `JournalDamaged` at the first record that no version would have written.
    """
    replayed = ReplayedRun(Run(plan, run_id, on_failure=on_failure))
    replay = _ReplayVerifier(plan, replayed, adopted)
    for record in records:
        replay.take(record)
    return replayed


def find_plan(plan: Plan, path: str) -> Plan:
    """Return the plan that holds the node at a path. Raises `ReplayDiverged`."""
    *around, name = path.split("/")
    parts = iter(around)
    for part in parts:
        steps = {step.name: step for step in plan.steps}
        outer = steps.get(part) or steps.get(part.rpartition("[")[0])
        if outer is not None and outer.inner_plan is None:
            # Inside a call of a tool: its round and the call are the next two parts.
            call = "/".join(itertools.islice(parts, 2))
            outer = _find_call(outer, call)
        if outer is None or outer.inner_plan is None:
            raise ReplayDiverged(f"'{path}' is not in the flow any more.")
        plan = outer.inner_plan
    if name not in {step.name for step in plan.steps}:
        raise ReplayDiverged(f"'{path}' is not in the flow any more.")
    return plan


def _find_call(agent: Step, call: str) -> Step | None:
    """Return the step of a call, such as `r1/ask#0`; None if the agent has no such tool."""
    name, mark, index = call.rpartition("/")[2].rpartition("#")
    tool = find_tool_of(agent, name)
    return tool.compile(int(index)).steps[0] if tool is not None and mark else None


def has_crashed(replayed: ReplayedRun) -> bool:
    """Return whether the run was under way when its records end: its process is gone."""
    return replayed.run.status == "running"


class Replay:
    """Takes the records of a run, one after another, to the core of `replayed`."""

    def __init__(self, plan: Plan, replayed: ReplayedRun, adopted: int) -> None:
        self._plan = plan
        # Up to this record, activations belong to another run or to an older graph.
        self._adopted = adopted
        self._copied = 0  # up to this record, another run did what is recorded
        self._replayed = replayed
        self._open: dict[str, Activation] = {}
        self._codecs = CodecCache()

    def take(self, record: Record) -> None:
        """Apply one record."""
        seq, kind = record.seq, cast("RecordKind", record.kind)
        body = read_body(self._replayed.run.run_id, record)
        if seq > self._copied:
            begins = self._replayed.engagements.take(kind, body)
            if begins and self._copied:
                begin_anew(self._replayed.unfinished(), self._replayed.engagements.began)
        try:
            self._check_order(kind)
            self._take_body(kind, body)
            if "route" in body:
                # A commit and its routing are one record, and two events.
                kind = "routed"
                self._take_body(kind, _split_routing(cast("CommitBody", body)))
        except ReplayDiverged as error:
            raise ReplayDiverged(f"Record {seq} ({kind}): {error}") from error.__cause__
        except JournalError as error:
            raise JournalError(f"Record {seq} ({kind}): {error}") from error.__cause__
        # The border to the core, to types of the state, and to the flow's functions: they promise
        # nothing about records that they did not write.
        except Exception as error:
            raise ReplayDiverged(
                f"Record {seq} ({kind}) does not fit what came before it: "
                f"{type(error).__name__}: {error}. The flow is not the one that wrote it, or the "
                "journal is damaged."
            ) from error
        self._replayed.last_seq = seq
        if seq == self._copied:
            # What is over was done by another run, and what is open has not begun in this one.
            self._replayed.taken_over = len(self._replayed.run.history)
            self._replayed.run.undoes = self._plan.has_undos
            for activation in (*self._replayed.run.history, *self._replayed.unfinished()):
                activation.kept = None
            for activation in self._replayed.unfinished():
                activation.started_at = activation.held_at = 0.0

    def _check_order(self, kind: RecordKind) -> None:
        """Raise `ReplayDiverged` unless a run begins once, and before anything else happens."""
        if kind == "started":
            if self._replayed.has_begun:
                raise ReplayDiverged("the run begins for a second time.")
            self._replayed.has_begun = True
        elif not self._replayed.has_begun and kind not in _BEFORE_BEGIN:
            raise ReplayDiverged("the run has not begun at this point.")

    def _take_body(self, kind: RecordKind, body: Any) -> None:
        event = self._build_event(HANDLERS[kind], body)
        if event is not None:
            self._apply(event)

    def _build_event(self, handler: Handler, body: Any) -> Event | None:
        """Return the event of a record; None if nothing happens in the core."""
        return handler(self, body)

    def _apply(self, event: Event) -> None:
        replayed = self._replayed
        if isinstance(event, NodeSucceeded) or (
            isinstance(event, NodeFailed)
            and (event.handler >= 0 or event.activation.scope.is_undo)
            and event.retry_after is None
        ):
            replayed.in_doubt.pop(event.activation.path, None)
        if isinstance(event, NodeSucceeded):
            replayed.kept_answers.pop(event.activation, None)
        elif isinstance(event, RetryDue):
            # A retry within the run asks anew.
            forget_answers(replayed.kept_answers, event.activation)
        at: float = getattr(event, "at", 0.0)
        self._open_started(replayed.run.handle(event), at)

    def _open_started(self, commands: Iterable[Command], at: float) -> None:
        for command in commands:
            if isinstance(command, Activation):
                self._open[command.path] = command
                command.started_at = command.started_at or at
            elif isinstance(command, NodeHeld):
                self._open_held(command.activation, at)
            elif isinstance(command, SuspendNode) and acts_by_calls_only(command.activation):
                self._replayed.in_doubt.pop(command.activation.path, None)

    def _open_held(self, activation: Activation, at: float) -> None:
        """Note what waits for its exclusive regions."""
        if activation.status is Status.HELD:
            self._open[activation.path] = activation
            activation.held_at = at

    # ---- one handler per kind of record ----------------------------------------------------------
    def find_open(self, body: ActivationBody) -> Activation:
        """Return the open activation that a record is about. Raises `ReplayDiverged`."""
        path = body["path"]
        if self._replayed.last_seq < self._copied:
            self._begin_items(path)
        activation = self._open.get(path)
        if activation is None or activation.is_over:
            raise ReplayDiverged(
                f"'{path}' is not open at this point. "
                "The flow is not the one that wrote the record."
            )
        if self._replayed.last_seq < self._adopted:
            activation.set_id(body["id"])
        self._begin_held(activation)
        if activation.id != body["id"]:
            raise ReplayDiverged(
                f"'{path}' is activation {activation.id}, the record is about {body['id']}. "
                "The flow is not the one that wrote it."
            )
        return activation

    def _begin_held(self, activation: Activation) -> None:
        """Begin what a record is about although its exclusive regions are held, where that may be.

        In a fork what held them may be open again, and another graph may have had no regions.
        """
        if activation.status is not Status.HELD or activation.tool:
            return
        if self._replayed.last_seq >= self._adopted:
            raise ReplayDiverged(
                f"'{activation.path}' is held at this point: it waits for its exclusive regions. "
                "The flow is not the one that wrote the record."
            )
        self._open_started(self._replayed.run.begin_held(activation), 0.0)

    def _begin_items(self, path: str) -> None:
        """Begin the items of maps that a path leads through, whatever the maps' limits.

        In a fork an item that runs again is still open when those come that followed it.
        """
        end = path.find("]")
        while end >= 0:
            name, _, item = path[:end].rpartition("[")
            activation = self._open.get(name)
            if activation is not None:
                run = self._replayed.run
                self._open_started(run.begin_items(activation, item), 0.0)
            end = path.find("]", end + 1)

    def find_known(self, body: ActivationBody) -> Activation:
        """Return the activation that a record is about, open or over. Raises `ReplayDiverged`."""
        current = self._open.get(body["path"])
        if current is None or current.is_over:
            current = None
        # An activation that was cancelled may have a successor already.
        is_adopted = self._replayed.last_seq < self._adopted
        if current is not None and (is_adopted or current.id == body["id"]):
            return self.find_open(body)
        for activation in reversed(self._replayed.run.history):
            if activation.id == body["id"]:
                return activation
        return self.find_open(body)

    def on_started(self, body: StartedBody) -> Event:
        self._replayed.budget = body.get("budget")
        if "rules" in body:
            self.on_rules(body["rules"])
        self._replayed.model = body.get("model", "")
        # What another run cancelled is not undone by this one.
        self._replayed.run.undoes = body.get("undoes", False) and not self._copied
        update = self._codecs.of(self._plan).decode(body["input"], body.get("restore"))
        return RunStarted(self._add_defaults(self._plan, update, body.get("defaults")), body["at"])

    def on_forked(self, body: ForkedBody) -> None:
        self._adopted = self._copied = max(self._adopted, 1 + body["copied"])
        self._replayed.models = body.get("models", {})

    def on_pinned(self, body: PinnedBody) -> None:
        place = body["path"]
        codec = self._codecs.of(find_pinned_plan(place) or find_plan(self._plan, place))
        pins = self._replayed.pins.setdefault(place, [])
        pins.append(codec.decode(body["update"], body.get("restore")))

    def on_commit(self, body: CommitBody) -> Event:
        activation = self.find_open(body)
        self._take_times(activation, body)
        codec = self._codecs.of(activation.scope.plan)
        update = codec.decode(body["update"], body.get("restore"))
        notes = tuple(body.get("notes", ()))
        if notes:
            self._replayed.noted[activation] = notes
        if self._replayed.pins:
            self._drop_used_pin(find_place(activation))
        served = body.get("served", False)
        return NodeSucceeded(activation, update, body["at"], notes=notes, served=served)

    def _drop_used_pin(self, place: str) -> None:
        """Drop the first pin of a place; the last one stays."""
        pins = self._replayed.pins.get(place, [])
        if len(pins) > 1:
            del pins[0]

    def on_routed(self, body: RoutedBody) -> Event:
        activation = self.find_open(body)
        step, edges = activation.step, activation.scope.plan.topology.edges
        taken = tuple(edges[index] for index in body["edges"])
        if any(edge.source != step.index for edge in taken):
            raise ReplayDiverged(f"an edge that '{activation.path}' took is not one of its edges.")
        decision = RouteDecision(body["loop"], body["exhausted"], taken)
        return Routed(activation, decision, body["at"])

    def on_entered(self, body: EnteredBody) -> Event:
        activation = self.find_open(body)
        updates = self._decode_inputs(activation, body)
        signal, due = body.get("signal", ""), body.get("due")
        if signal and signal != activation.step.cancel_on:
            raise ReplayDiverged(f"signal '{signal}' does not end '{activation.path}' any more.")
        wait = EventWait(signal, body.get("key", ""), due) if signal or due is not None else None
        keys, at_once = body.get("keys", ()), body.get("at_once")
        return ScopeEntered(activation, updates, body["at"], keys, wait, at_once)

    def on_reviewed(self, body: ReviewedBody) -> Event:
        activation = self.find_open(body)
        children, failure = activation.children, None
        if not isinstance(children, ReviewedScopes) or not children.is_reviewing:
            raise ReplayDiverged(f"'{activation.path}' decides nothing about an item here.")
        item = format_place(children.reviews[0].place)
        if item != body["item"]:
            raise ReplayDiverged(
                f"'{activation.path}' decides about item {item} here, the record is about item "
                f"{truncate_repr(body['item'], _LONGEST_VALUE)}."
            )
        if "failure" in body:
            raised = body["failure"]
            failure = RecordedError(raised["error"], raised["message"], raised["kinds"])
        updates = self._decode_inputs(activation, body)
        return ItemReviewed(
            activation,
            body["item"],
            body["enough"],
            updates,
            failure,
            body["at"],
            body.get("keys", ()),
        )

    def _decode_inputs(self, activation: Activation, body: InputsBody) -> list[Update]:
        """Return the inputs of scopes inside a sub-flow or map."""
        plan, spec = activation.step.inner_plan, activation.step.map
        if plan is None:
            raise ReplayDiverged(f"'{activation.path}' is not a map or sub-flow any more.")
        wanted = len(body["items"]) if spec is not None and spec.unique else 0
        if len({*body.get("keys", ())}) > wanted or len(body.get("keys", ())) != wanted:
            raise ReplayDiverged(f"the items of '{activation.path}' do not have one key each.")
        codec = self._codecs.of(plan)
        updates = [
            codec.decode(item, note)
            for item, note in zip(body["items"], _list_notes(body), strict=False)
        ]
        if updates and plan.is_floor:
            raise ReplayDiverged(
                f"'{activation.path}' went one level deeper than max_depth="
                f"{activation.step.max_depth} allows now. Give it the bound that it had, or more."
            )
        defaults = itertools.chain(body.get("defaults", ()), itertools.repeat(None))
        return [
            self._add_defaults(plan, update, made)
            for update, made in zip(updates, defaults, strict=False)
        ]

    def on_tools(self, body: ToolsBody) -> Event:
        agent = self.find_open(body)
        calls = [
            rebuild_call(
                agent,
                call["tool"],
                call["index"],
                call["arguments"],
                call["effect"],
                is_barrier=call.get("is_barrier", False),
                asks=call.get("asks", False),
            )
            for call in body["calls"]
        ]
        abandons = body.get("abandons", ())
        return ToolsCalled(agent, body["key"], body["label"], calls, body["at"], abandons)

    def _add_defaults(self, plan: Plan, update: Update, made: DefaultsBody | None) -> Update:
        """Return an input with the defaults that were made for it.

        Those of fields that the state did not have then, or of a run before format 3, are made now.
        """
        if not plan.schema.defaults.is_needed:
            return update
        codec = self._codecs.of(plan)
        known = codec.decode(made["values"], made.get("restore")) if made is not None else {}
        return plan.schema.defaults.complete(update, known)

    def on_failed(self, body: FailedBody) -> Event:
        activation = self.find_open(body)
        self._take_times(activation, body)
        error = RecordedError(body["error"], body["message"], body.get("kinds"))
        activation.add_to_story(tell_failure(activation, error, body["at"]))
        return NodeFailed(
            activation,
            body["attempt"],
            error,
            body["retry_after"],
            body["handler"],
            body["limit"],
            body["at"],
            body.get("undoes", False),
        )

    def on_skipped(self, body: SkippedBody) -> Event:
        return NodeSkipped(self.find_open(body), body["reason"], body["at"])

    def on_cancelled(self, body: CancelledBody) -> Event:
        activation = self.find_open(body)
        self._take_times(activation, body)
        return NodeCancelled(activation, body["at"])

    def _take_times(self, activation: Activation, body: TimedBody) -> None:
        """Give an activation the times that a record has, instead of those of its own replay."""
        # In formats before 4 it began before a pause of the run that is not its time.
        activation.started_at = max(activation.started_at, body["began"])
        activation.waited = body.get("waited", 0.0)
        activation.held_at = body.get("held", 0.0)
        if "hedge" in body:
            activation.hedged_at = body["hedge"]["began"]
            activation.is_hedge_taken = body["hedge"]["is_taken"]
        if body.get("late") and activation.scope.late is None:
            raise ReplayDiverged(
                f"'{activation.path}' came too late for a decision, which is not made now."
            )

    def on_asked(self, body: AskedBody) -> Event:
        activation = self.find_open(body)
        ask = activation.step.ask
        answer = ask.answer if ask is not None else choose_approval(activation)
        consent = body.get("consent", "")
        if consent:  # its tool did nothing
            self._replayed.in_doubt.pop(activation.path, None)
        question = PendingQuestion(body["text"], answer, body["expires"], consent)
        return PersonAsked(activation, question, body["at"])

    def on_waiting(self, body: WaitingBody) -> Event:
        activation = self.find_open(body)
        signal = body.get("signal", "")
        event = activation.step.event
        if event is None or isinstance(event, SignalSpec) != bool(signal):
            raise ReplayDiverged(f"'{activation.path}' does not wait for that any more.")
        wait = EventWait(signal, body.get("key", ""), body["due"])
        return WaitBegan(activation, wait, body["at"])

    def on_signal(self, body: SignalBody) -> Event:
        name = body["name"]
        spec = self._plan.signals.get(name)
        if spec is None:
            raise ReplayDiverged(f"the flow declares no signal '{name}' any more.")
        fields = {"answer": body["value"], "notes": body.get("notes")}
        value = decode_answer(f"signal {name}", fields, spec.value)
        return SignalReceived(name, body.get("key", ""), value, body["at"])

    def on_approved(self, body: ApprovedBody) -> Event:
        activation, update = self.find_open(body), None
        if "arguments" in body:
            update = encode_arguments(activation.scope.plan, body["arguments"])
        return Approved(activation, body["at"], update)

    def on_retry(self, body: RetryBody) -> Event:
        return RetryDue(self.find_open(body), body["attempt"], body["at"])

    def on_stopping(self, body: StoppingBody) -> Event:
        return StopRequested(
            body["reason"],
            body["status"],
            body["now"],
            body["at"],
            body.get("undoes", False),
            body.get("keeps_pauses", False),
        )

    def on_grace(self, body: MomentBody) -> Event:
        return GraceExpired(body["at"])

    def on_resumed(self, body: MomentBody) -> Event:
        return Resumed(body["at"])

    def on_starting(self, body: StartingBody) -> None:
        activation = self.find_open(body)
        self._replayed.in_doubt[activation.path] = activation

    def on_sending(self, body: SendingBody) -> None:
        error = "its process ended before the answer came"
        charge = decode_charge(body["charge"])
        call = self._build_report(body, body["model"], None, error, charge)
        self._replayed.open_calls[body["call"]] = (self.find_known(body), call)
        self._replayed.last_call = max(self._replayed.last_call, body["call"])

    def on_call(self, body: CallBody) -> None:
        activation = self.find_known(body)
        response = decode_response(body["response"])
        # A record of format 2 and before has no charge beside the response.
        charge = decode_charge(body["charge"]) if "charge" in body else response.charge
        call = self._build_report(body, response.model, response, "", charge)
        self._end_call(body, activation, call)
        if not activation.is_over:
            # Formats before 3 add a number to the key.
            key = body["key"].partition(":")[0]
            kept = self._replayed.kept_answers.setdefault(activation, [])
            kept.append(KeptAnswer(key, response))

    def on_unanswered(self, body: UnansweredBody) -> None:
        charge = read_charge(body)
        call = self._build_report(body, body["model"], None, body["message"], charge)
        self._end_call(body, self.find_known(body), call)

    def _build_report(
        self,
        body: CallBody | UnansweredBody | SendingBody,
        model: str,
        response: Response | None,
        error: str,
        charge: Charge,
    ) -> CallReport:
        return CallReport(
            path=body["path"],
            model=model,
            response=response,
            error=error,
            charge=charge,
            requests=decode_requests(body.get("requests", ()), charge),
            is_copy=self._replayed.last_seq < self._copied,
        )

    def _end_call(self, body: ChargedCall, activation: Activation, call: CallReport) -> None:
        if "call" in body:
            self._replayed.open_calls.pop(body["call"], None)
        self._replayed.calls.append((activation, call))

    def on_rules(self, body: RulesBody) -> None:
        """Give the core the settings that it decided by from here on."""
        self._replayed.model = body.get("model", self._replayed.model)
        run, limit = self._replayed.run, body["activations"]
        run.activations_left = UNLIMITED if limit is None else max(0, limit - run.started)
        run.on_failure = body["on_failure"]
        self._replayed.concurrency = body.get("concurrency")
        if "budget" in body:
            self._replayed.budget = body["budget"]

    def on_listed(self, body: ListedBody) -> None:
        self._replayed.listings[body["server"]] = body

    def on_ended(self, body: EndedBody) -> None:
        status = self._replayed.run.status
        if status != body["status"]:
            raise ReplayDiverged(
                f"The record says that the run is {body['status']} here, and it is {status}."
            )

    def ignore(self, body: Any) -> None:
        """Accept a record from which nothing follows in the core."""


Handler: TypeAlias = Callable[[Replay, Any], Event | None]

HANDLERS: Final[Mapping[RecordKind, Handler]] = {
    "started": Replay.on_started,
    "forked": Replay.on_forked,
    "pinned": Replay.on_pinned,
    "commit": Replay.on_commit,
    "routed": Replay.on_routed,
    "entered": Replay.on_entered,
    "reviewed": Replay.on_reviewed,
    "tools": Replay.on_tools,
    "failed": Replay.on_failed,
    "skipped": Replay.on_skipped,
    "cancelled": Replay.on_cancelled,
    "asked": Replay.on_asked,
    "waiting": Replay.on_waiting,
    "signal": Replay.on_signal,
    "approved": Replay.on_approved,
    "retry": Replay.on_retry,
    "stopping": Replay.on_stopping,
    "grace": Replay.on_grace,
    "resumed": Replay.on_resumed,
    "starting": Replay.on_starting,
    "sending": Replay.on_sending,
    "call": Replay.on_call,
    "unanswered": Replay.on_unanswered,
    "rules": Replay.on_rules,
    "ended": Replay.on_ended,
    "continued": Replay.ignore,
    "listed": Replay.on_listed,
    "migrated": Replay.ignore,  # see `graphorch.runs.migration`
}
"""Handlers by kind of record."""


class _ReplayVerifier(Replay):
    """Calls the pure functions again, at the moments at which the scheduler called them."""

    def _build_event(self, handler: Handler, body: Any) -> Event | None:
        event = super()._build_event(handler, body)
        match event:
            case Routed(activation, decision):
                self._verify_route(activation, decision)
            case ScopeEntered(activation, updates):
                self._verify_items(activation, updates, body)
            case ItemReviewed(failure=None):
                self._verify_review(event, body)
            case NodeSucceeded(activation, update) if _has_gathered(activation):
                self._verify_result(activation, update, body)
            case _:
                pass
        return event

    def _verify_route(self, activation: Activation, recorded: RouteDecision) -> None:
        decision = binding.evaluate_route(activation)
        if decision != recorded:
            before = _describe_route(activation, recorded)
            now = _describe_route(activation, decision)
            raise ReplayDiverged(
                f"the route of '{activation.path}' went {before}, and now goes {now}."
            )

    def _verify_items(
        self, activation: Activation, recorded: Sequence[Update], body: EnteredBody
    ) -> None:
        self._verify_inputs(activation, recorded, binding.build_items(activation), body)

    def _verify_review(self, event: ItemReviewed, body: ReviewedBody) -> None:
        activation = event.activation
        assert isinstance(activation.children, ReviewedScopes)
        scope = activation.children.reviews[0]
        if self._replayed.last_seq < self._copied and not event.enough:
            # A fork takes over a review without the results that are to be made anew.
            enough, updates = False, binding.grow_items(activation, scope)
        else:
            enough, updates = binding.review_item(activation, scope)
        if enough != event.enough:
            before, after = ("enough" if held else "not enough" for held in (event.enough, enough))
            raise ReplayDiverged(
                f"the results of '{activation.path}' were {before} after item {event.item}, and "
                f"are {after} now."
            )
        self._verify_inputs(activation, event.updates, updates, body)

    def _verify_inputs(
        self,
        activation: Activation,
        recorded: Sequence[Update],
        now: Sequence[Update],
        body: InputsBody,
    ) -> None:
        plan = activation.step.inner_plan
        assert plan is not None
        codec = self._codecs.of(plan)
        parts = zip(recorded, _list_notes(body), now, strict=False)
        is_equal = all(codec.is_recorded(update, notes, item) for update, notes, item in parts)
        is_named_so = binding.find_keys(activation, now) == list(body.get("keys", ()))
        if len(recorded) != len(now) or not (is_equal and is_named_so):
            before = [_name_fields(plan, update) for update in recorded]
            after = [_name_fields(plan, update) for update in now]
            raise _build_divergence(activation, "what goes into it", before, after)

    def _verify_result(self, activation: Activation, recorded: Update, body: CommitBody) -> None:
        plan = activation.scope.plan
        now = binding.gather_children(activation, is_recorded=True)
        if not self._codecs.of(plan).is_recorded(recorded, body.get("restore"), now):
            before, after = _name_fields(plan, recorded), _name_fields(plan, now)
            raise _build_divergence(activation, "what comes out of it", before, after)


def _has_gathered(activation: Activation) -> bool:
    """Return whether the result of an activation is made of what happened inside it."""
    children = activation.children
    return children is not None and not isinstance(children, ToolScopes)


def _list_notes(body: InputsBody) -> Sequence[Any]:
    """Return the notes of each item of a sub-flow or map; None for an item without notes."""
    notes = body.get("restore") or []
    return [*notes, *[None] * (len(body["items"]) - len(notes))]


def _name_fields(plan: Plan, update: Update) -> dict[str, Any]:
    return {plan.schema.fields[index].name: value for index, value in update.items()}


def _build_divergence(
    activation: Activation, what: str, before: object, after: object
) -> ReplayDiverged:
    before, after = (hide_all_fields(activation.scope, value) for value in (before, after))
    was, now = truncate_repr(before, _LONGEST_VALUE), truncate_repr(after, _LONGEST_VALUE)
    return ReplayDiverged(f"'{activation.path}': {what} was {was}, and is {now} now.")


def _describe_route(activation: Activation, decision: RouteDecision) -> str:
    steps = activation.scope.plan.steps
    if decision.loop >= 0:
        back = activation.step.exits[decision.loop].back
        return f"back to '{steps[back.target].name}'"
    names = ", ".join(f"'{steps[edge.target].name}'" for edge in decision.edges)
    return f"to {names or 'its other edges'}"


def _split_routing(commit: CommitBody) -> RoutedBody:
    """Return the half of a commit's body that says where its activation went."""
    assert "route" in commit
    return {
        "path": commit["path"],
        "id": commit["id"],
        "at": commit["at"],
        **commit["route"],
    }
