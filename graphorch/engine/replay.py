"""A run rebuilt from its records: the same events, given to the same core. No node runs and no model is asked.

Every record has to fit what the core has open at that moment; the first that does not is a divergence, and it is named. What follows a
record that fits is decided by the core alone, so a run that is rebuilt twice is the same twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphorch.core.events import (
    Approved,
    Command,
    Event,
    GraceExpired,
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
    StopRequested,
)
from graphorch.core.run import Run
from graphorch.core.state import UNLIMITED, OnFailure
from graphorch.core.tree import Activation
from graphorch.engine.human_input import PendingQuestion
from graphorch.engine.invocation import binding
from graphorch.engine.run_journal import decode_response
from graphorch.engine.state_codec import CodecCache
from graphorch.errors import GraphorchError, ReplayDiverged
from graphorch.graph.approval import Approval
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record
from graphorch.models.messages import Response

Body = dict[str, Any]


class RecordedError(GraphorchError):
    """What a node raised in an earlier process: the type's name in `kind`, and the message; the exception itself is not kept."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


@dataclass(slots=True)
class ReplayedRun:
    """A run as its records left it, with the times of its first and its last event.

    `calls` holds the answers that an attempt which vanished had got, by (activation, key); `unsure` the activations of nodes with
    effect `once` that began and never said how it ended.
    """

    run: Run
    began: float
    calls: dict[tuple[str, str], Response] = field(default_factory=dict[tuple[str, str], Response])
    answered: list[tuple[Activation, Response]] = field(
        default_factory=list[tuple[Activation, Response]]
    )
    unsure: dict[str, Activation] = field(default_factory=dict[str, Activation])
    last_seq: int = 0
    ended: float = 0.0

    def unfinished(self) -> list[Activation]:
        """The activations that are not over."""
        return self.run.unfinished()


def rebuild(
    plan: Plan,
    run_id: str,
    records: Sequence[Record],
    *,
    on_failure: OnFailure = "drain",
    until: int | None = None,
    adopted: int = 0,
) -> ReplayedRun:
    """The run after its records, or after record number `until`. Raises `ReplayDiverged` at the first record that does not fit.

    In the records up to number `adopted`, activations have ids of another origin (an older graph), and keep them.
    """
    replay = _Replay(plan, ReplayedRun(Run(plan, run_id, on_failure=on_failure), 0.0), adopted)
    for record in records:
        if until is not None and record.seq > until:
            break
        replay.take(record)
    return replay.rebuilt


def verify(
    plan: Plan,
    run_id: str,
    records: Sequence[Record],
    *,
    on_failure: OnFailure = "drain",
    adopted: int = 0,
) -> ReplayedRun:
    """The same, and every selector, predicate, `over`, `enter`, `leave` and `gather` is asked again and has to say what it said.

    No node runs and no model is asked. Raises `ReplayDiverged` at the first difference.
    """
    replay = _ReplayVerifier(
        plan, ReplayedRun(Run(plan, run_id, on_failure=on_failure), 0.0), adopted
    )
    for record in records:
        replay.take(record)
    return replay.rebuilt


def get_routing(commit: Body) -> Body:
    """The second half of a commit record that says where its activation went, as a record of its own."""
    return {"path": commit["path"], "id": commit["id"], "at": commit["at"], **commit["route"]}


class _Replay:
    def __init__(self, plan: Plan, rebuilt: ReplayedRun, adopted: int) -> None:
        self.plan = plan
        # up to this record, activations are another run's, or of an older graph, and keep the ids that they had there
        self._copied = adopted
        self.rebuilt = rebuilt
        self._open: dict[str, Activation] = {}
        self._codecs = CodecCache()

    def take(self, record: Record) -> None:
        """Apply one record."""
        make = getattr(self, record.kind) if record.kind in _KINDS else None
        body: Body = record.body
        if make is None or not isinstance(body, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ReplayDiverged(
                f"Record {record.seq} is of the unknown kind '{record.kind}'. It was written by another version of graphorch, or is damaged."
            )
        try:
            event: Event | None = make(body)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ReplayDiverged(
                f"Record {record.seq} ({record.kind}) does not hold what it should: {error!r}. The journal is damaged."
            ) from error
        except ReplayDiverged as error:
            raise ReplayDiverged(f"Record {record.seq} ({record.kind}): {error}") from None
        if event is not None:
            self._apply(event)
        if "route" in body:
            self.take(Record(record.seq, "routed", get_routing(body)))
        self.rebuilt.last_seq = record.seq

    def _apply(self, event: Event) -> None:
        if isinstance(event, NodeSucceeded) or (
            isinstance(event, NodeFailed) and event.handler >= 0 and event.retry_after is None
        ):
            self.rebuilt.unsure.pop(event.activation.path, None)
        if isinstance(event, NodeFailed):  # an attempt that failed leaves nothing to the next
            self.rebuilt.calls = {
                key: call
                for key, call in self.rebuilt.calls.items()
                if key[0] != event.activation.id
            }
        at: float = getattr(event, "at", 0.0)
        self.rebuilt.ended = max(self.rebuilt.ended, at)
        self._note(self.rebuilt.run.handle(event), at)

    def _note(self, commands: Iterable[Command], at: float) -> None:
        for command in commands:
            if isinstance(command, Activation):
                self._open[command.path] = command
                command.started_at = command.started_at or at

    # ---- one maker per kind of record ---------------------------------------------------------------
    def one(self, body: Body) -> Activation:
        """The open activation that a record is about."""
        path = body["path"]
        activation = self._open.get(path)
        if activation is None or activation.is_over:
            raise ReplayDiverged(
                f"'{path}' is not open at this point. The flow is not the one that wrote the record."
            )
        if self.rebuilt.last_seq < self._copied:
            activation.set_id(body["id"])
        if activation.id != body["id"]:
            raise ReplayDiverged(
                f"'{path}' is activation {activation.id}, the record is about {body['id']}. The flow is not the one that wrote it."
            )
        return activation

    def forked(self, body: Body) -> None:
        copied: int = body["copied"]
        self._copied = max(self._copied, 1 + copied)

    def started(self, body: Body) -> Event:
        self.rebuilt.began = body["at"]
        if "rules" in body:
            self.rules(body["rules"])
        return RunStarted(self._codecs.of(self.plan).decode(body["input"]), body["at"])

    def commit(self, body: Body) -> Event:
        activation = self.one(body)
        activation.started_at = body["began"]
        return NodeSucceeded(
            activation, self._codecs.of(activation.scope.plan).decode(body["update"]), body["at"]
        )

    def routed(self, body: Body) -> Event:
        activation = self.one(body)
        edges = activation.scope.plan.topology.edges
        taken: list[int] = body["edges"]
        return Routed(
            activation,
            RouteDecision(body["loop"], body["exhausted"], tuple(edges[index] for index in taken)),
            body["at"],
        )

    def entered(self, body: Body) -> Event:
        activation = self.one(body)
        plan = activation.step.inner_plan
        if plan is None:
            raise ReplayDiverged(f"'{activation.path}' is no map or sub-flow any more.")
        codec = self._codecs.of(plan)
        return ScopeEntered(activation, [codec.decode(item) for item in body["items"]], body["at"])

    def failed(self, body: Body) -> Event:
        error = RecordedError(body["error"], body["message"])
        return NodeFailed(
            self.one(body),
            body["attempt"],
            error,
            body["retry_after"],
            body["handler"],
            body["limit"],
            body["at"],
        )

    def skipped(self, body: Body) -> Event:
        return NodeSkipped(self.one(body), body["reason"], body["at"])

    def cancelled(self, body: Body) -> Event:
        return NodeCancelled(self.one(body), body["at"])

    def asked(self, body: Body) -> Event:
        activation = self.one(body)
        answer = activation.step.ask.answer if activation.step.ask is not None else Approval
        return PersonAsked(
            activation, PendingQuestion(body["text"], answer, body["expires"]), body["at"]
        )

    def approved(self, body: Body) -> Event:
        return Approved(self.one(body), body["at"])

    def retry(self, body: Body) -> Event:
        return RetryDue(self.one(body), body["attempt"], body["at"])

    def stopping(self, body: Body) -> Event:
        return StopRequested(body["reason"], body["status"], body["now"], body["at"])

    def grace(self, body: Body) -> Event:
        return GraceExpired(body["at"])

    def resumed(self, body: Body) -> Event:
        return Resumed(body["at"])

    def starting(self, body: Body) -> None:
        activation = self.one(body)
        self.rebuilt.unsure[activation.path] = activation

    def call(self, body: Body) -> None:
        activation = self.one(body)
        response = decode_response(body["response"])
        self.rebuilt.calls[activation.id, body["key"]] = response
        self.rebuilt.answered.append((activation, response))

    def unanswered(self, body: Body) -> None:
        """Nothing follows from it."""

    def rules(self, body: Body) -> None:
        """By which limit the core decides from here on, and what it does about a failure."""
        run, limit = self.rebuilt.run, body["activations"]
        run.activations_left = UNLIMITED if limit is None else max(0, limit - run.started)
        run.on_failure = body["on_failure"]

    def migrated(self, body: Body) -> None:
        """From here on another graph writes; see `flow.migrating`."""

    def ended(self, body: Body) -> None:
        run = self.rebuilt.run
        if run.status != body["status"]:
            raise ReplayDiverged(
                f"The record says that the run is {body['status']} here, and it is {run.status}."
            )


class _ReplayVerifier(_Replay):
    """Asks the pure functions again, at the moments at which the scheduler did."""

    def routed(self, body: Body) -> Event:
        event = super().routed(body)
        assert isinstance(event, Routed)
        said = binding.evaluate_route(event.activation)
        if said != event.decision:
            before, now = _way(event.activation, event.decision), _way(event.activation, said)
            raise ReplayDiverged(
                f"the route of '{event.activation.path}' went {before}, and now goes {now}."
            )
        return event

    def entered(self, body: Body) -> Event:
        event = super().entered(body)
        assert isinstance(event, ScopeEntered)
        self._same(
            event.activation,
            "what goes into it",
            body["items"],
            [self._inner(event.activation, item) for item in binding.build_items(event.activation)],
        )
        return event

    def commit(self, body: Body) -> Event:
        event = super().commit(body)
        assert isinstance(event, NodeSucceeded)
        if event.activation.children is not None:
            codec = self._codecs.of(event.activation.scope.plan)
            self._same(
                event.activation,
                "what comes out of it",
                body["update"],
                codec.encode(binding.gather_children(event.activation)),
            )
        return event

    def _inner(self, activation: Activation, update: Any) -> Any:
        plan = activation.step.inner_plan
        assert plan is not None
        return self._codecs.of(plan).encode(update)

    def _same(self, activation: Activation, what: str, recorded: object, now: object) -> None:
        if recorded != now:
            raise ReplayDiverged(
                f"'{activation.path}': {what} was {_short(recorded)}, and is {_short(now)} now."
            )


def _way(activation: Activation, decision: RouteDecision) -> str:
    steps = activation.scope.plan.steps
    if decision.loop >= 0:
        return f"back to '{steps[activation.step.exits[decision.loop].back.target].name}'"
    return "to " + (
        ", ".join(f"'{steps[edge.target].name}'" for edge in decision.edges) or "its other edges"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


_KINDS = frozenset(
    "forked migrated started rules entered commit routed failed skipped cancelled asked approved retry starting call unanswered stopping grace "
    "resumed ended".split()
)


def has_crashed(rebuilt: ReplayedRun) -> bool:
    """Whether the run was under way when its records end: its process is gone, and attempts vanished."""
    return rebuilt.run.status == "running"
