"""A run's events on their way into a store: encoded when they happen, durable before anything follows from them.

Kinds of records, each an event of the core or a step around it: `started` `entered` `commit` `routed` `failed` `skipped` `cancelled` `asked`
`approved` `retry` `stopping` `grace` `resumed` from the core; `starting` before a node whose effect must not happen twice; `call` for an
answered model call, `unanswered` for one that failed; `rules` when somebody goes on under another limit; `ended` when nothing is left to
do. A record names its activation by path (one activation of a path is open at a time) and by id.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from graphorch.core.events import (
    Approved,
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
    RunStarted,
    ScopeEntered,
    StopRequested,
)
from graphorch.core.tree import Activation
from graphorch.engine.prompt_log import CallDescription, clean
from graphorch.engine.state_codec import CodecCache
from graphorch.errors import JournalError, ModelError
from graphorch.graph.fingerprint import FORMAT as FORMAT
from graphorch.graph.fingerprint import describe
from graphorch.graph.plan import Plan
from graphorch.journal.completion import Completion
from graphorch.journal.errors import LeaseExpired, StoreUnavailable
from graphorch.journal.records import Lease, Record
from graphorch.journal.store import Store

if TYPE_CHECKING:
    from graphorch.models.decision import RoutingRecord
    from graphorch.models.messages import Response, Usage

LEASE_SECONDS = 30.0
_PAUSES = (0.05, 0.2, 1.0)  # seconds between the tries of one append while the store is unavailable
_PASSING = (LeaseExpired, StoreUnavailable)
_IN_A_ROW = 100  # appends that wait for nothing


class RunJournal:
    """Appends the records of one run under a lease, in the order in which they happened; whoever needs them on disk awaits `flush`."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        last_seq: int,
        plan: Plan,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._store = store
        self._lease = lease
        self._durable = last_seq
        self._seq = last_seq
        self._pending: list[Record] = []
        self._failure: BaseException | None = None  # of an append: the journal ends there
        self._under_way: Completion | None = None  # the one append that is being waited for
        self._at_once = 0  # appends that waited for nothing
        # whose commit was noted last; where it goes is added to that record
        self._committed: Activation | None = None
        self._codecs = CodecCache()
        self._plan = plan
        self._about = about or {}  # what else the first record says of the run: its budget

    @property
    def last_noted_seq(self) -> int:
        """The number of the last record that was noted."""
        return self._seq

    @property
    def last_durable_seq(self) -> int:
        """The number of the last record that is on disk."""
        return self._durable

    # ---- writing -----------------------------------------------------------------------------------
    def append(self, event: Event) -> None:
        """Encode an event. Raises `Unstorable` for a value that would not come back.

        A result and its routing are one record, unless something came between them.
        """
        if type(event) is Routed and event.activation is self._committed and self._pending:
            self._pending[-1].body["route"] = _route(event)
            return
        self._add(*self._encoded(event))
        if type(event) is NodeSucceeded:
            self._committed = event.activation

    def append_rules(self, activations: int | None, on_failure: str) -> None:
        """From here on the core decides by another limit, or does something else about a failure: a replay has to do the same."""
        self._add("rules", {"activations": activations, "on_failure": on_failure})

    def append_starting(self, activation: Activation) -> None:
        """An attempt begins whose effect must not happen twice."""
        self._add("starting", {**_where(activation), "attempt": activation.attempt})

    def append_call(
        self, activation: Activation, key: str, response: Response, asked: CallDescription
    ) -> None:
        """A model answered: an attempt after a crash is served this instead of paying again."""
        told = {"at": asked.at, "began": asked.began, "asked": asked.request}
        self._add(
            "call",
            {
                **_where(activation),
                "attempt": activation.attempt,
                "key": key,
                "response": encode_response(response),
                **told,
            },
        )

    def append_failed_call(
        self, activation: Activation, error: ModelError, asked: CallDescription
    ) -> None:
        """A model call failed. Nothing follows from it, but it may have cost something, and people want to know why."""
        told = {
            "at": asked.at,
            "began": asked.began,
            "asked": asked.request,
            **encode_failure(error),
        }
        self._add("unanswered", {**_where(activation), "attempt": activation.attempt, **told})

    async def flush(self, status: str | None = None) -> None:
        """Return when everything noted so far is durable; with a status, that is set too. Raises `JournalError`."""
        wanted = self._seq
        while self._durable < wanted or status is not None:
            if self._failure is not None:
                # what was to be written before is not, so nothing may follow it
                raise self._failure
            if self._under_way is not None:
                await asyncio.wait([self._under_way])
            elif self._pending:
                batch, self._pending = self._pending, []
                answer = self._begun(batch, status)
                if answer is not None:
                    await self._ended(answer, batch, status)
                elif not self._at_once % _IN_A_ROW:
                    # a chain that waits for nothing must not keep the event loop from everybody else
                    await asyncio.sleep(0)
                status = None
            else:
                return

    async def end(self, status: str, reason: str) -> None:
        """The run does not go on for now."""
        self._add("ended", {"status": status, "reason": reason})
        await self.flush(status)

    async def keep_lease(self) -> None:
        """Renew the lease for as long as the run is under way. Raises `LeaseLost` if somebody else took the run."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            self._lease = await self._store.renew(self._lease, ttl=LEASE_SECONDS)

    async def release(self) -> None:
        """Let others have the run."""
        await self._store.release(self._lease)

    def _begun(self, batch: list[Record], status: str | None) -> Completion | None:
        """The append under way, or None if it is durable already."""
        try:
            answer = self._store.append_soon(
                self._lease, batch, expected_last_seq=self._durable, status=status
            )
        except _PASSING as error:
            return Completion.of(self._insist(error, batch, status))
        except BaseException as error:
            self._failure = (
                error
                if isinstance(error, Exception)
                else JournalError("The process was interrupted while it wrote. Resume the run.")
            )
            raise
        if answer is None:
            self._durable += len(batch)
            self._at_once += 1
        return answer

    async def _ended(self, answer: Completion, batch: list[Record], status: str | None) -> None:
        """Wait for an append to its end even when cancelled: whoever writes next has to know how it ended."""
        self._under_way = answer
        cancelled = await _end_of(answer)
        if isinstance(error := answer.exception(), _PASSING):
            self._under_way = answer = Completion.of(self._insist(error, batch, status))
            cancelled = await _end_of(answer) or cancelled
        self._under_way = None
        self._failure = answer.exception()
        if self._failure is None:
            self._durable += len(batch)
        if cancelled is not None:
            raise cancelled  # the next one who writes is told of a failure
        if self._failure is not None:
            raise self._failure

    async def _insist(self, error: BaseException, batch: list[Record], status: str | None) -> None:
        """Append once more after what may pass: a store that was busy, or a lease that ran out while nobody took the run.

        The same records again are found by the store, if they were written before.
        """
        for pause in _PAUSES:
            if isinstance(error, LeaseExpired):
                self._lease = await self._store.renew(self._lease, ttl=LEASE_SECONDS)
            else:
                await asyncio.sleep(pause)
            try:
                return await self._store.append(
                    self._lease, batch, expected_last_seq=self._durable, status=status
                )
            except _PASSING as again:
                error = again
        raise error

    def _add(self, kind: str, body: dict[str, Any]) -> None:
        self._seq += 1
        self._committed = None
        self._pending.append(Record(self._seq, kind, body))

    # ---- encoding ----------------------------------------------------------------------------------
    def _encoded(self, event: Event) -> tuple[str, dict[str, Any]]:
        match event:
            case NodeSucceeded(one, update, at):
                encoded = self._codecs.of(one.scope.plan).encode(update)
                return "commit", {
                    "path": one.path,
                    "id": one.id,
                    "at": at,
                    "began": one.started_at,
                    "update": encoded,
                }
            case Routed(one, _, at):
                return "routed", {**_where(one), "at": at, **_route(event)}
            case ScopeEntered(one, updates, at):
                plan = one.step.inner_plan
                assert plan is not None
                codec = self._codecs.of(plan)
                return "entered", {
                    **_where(one),
                    "at": at,
                    "items": [codec.encode(update) for update in updates],
                }
            case NodeFailed():
                return "failed", _failed(event)
            case NodeSkipped(one, reason, at):
                return "skipped", {**_where(one), "at": at, "reason": reason}
            case NodeCancelled(one, at):
                return "cancelled", {**_where(one), "at": at, "began": one.started_at}
            case PersonAsked(one, question, at):
                return "asked", {
                    **_where(one),
                    "at": at,
                    "began": one.started_at,
                    "text": question.text,
                    "expires": question.expires,
                }
            case Approved(one, at):
                return "approved", {**_where(one), "at": at}
            case RetryDue(one, attempt, at):
                return "retry", {**_where(one), "at": at, "attempt": attempt}
            case StopRequested(reason, status, now, at):
                return "stopping", {"at": at, "reason": reason, "status": status, "now": now}
            case GraceExpired(at):
                return "grace", {"at": at}
            case Resumed(at):
                return "resumed", {"at": at}
            case RunStarted(update, at):
                return "started", {
                    "at": at,
                    "input": self._codecs.of(self._plan).encode(update),
                    "flow": describe(self._plan),
                    **self._about,
                }


async def _end_of(answer: Completion) -> asyncio.CancelledError | None:
    """Wait for it, whatever becomes of it; the cancellation, if there was one meanwhile."""
    try:
        await answer
    except asyncio.CancelledError as cancelled:
        return cancelled
    except Exception:
        return None  # the answer says so
    return None


def _where(activation: Activation) -> dict[str, Any]:
    return {"path": activation.path, "id": activation.id}


def _route(event: Routed) -> dict[str, Any]:
    decision = event.decision
    return {
        "loop": decision.loop,
        "exhausted": decision.exhausted,
        "edges": [edge.index for edge in decision.edges],
    }


def _failed(event: NodeFailed) -> dict[str, Any]:
    error = event.failure
    return {
        **_where(event.activation),
        "at": event.at,
        "began": event.activation.started_at,
        "attempt": event.attempt,
        "error": getattr(error, "kind", None) or type(error).__name__,
        "message": str(error),
        "retry_after": event.retry_after,
        "handler": event.handler,
        "limit": event.limit,
    }


@cache
def _responses() -> TypeAdapter[Response]:
    from graphorch.models.messages import Response  # here and below: only of runs that ask models

    return TypeAdapter(Response)


@cache
def _decisions() -> TypeAdapter[RoutingRecord]:
    from graphorch.models.decision import RoutingRecord

    return TypeAdapter(RoutingRecord)


@cache
def _usages() -> TypeAdapter[Usage]:
    from graphorch.models.messages import Usage

    return TypeAdapter(Usage)


def encode_failure(error: ModelError) -> dict[str, Any]:
    """Why a model call failed, as plain JSON: what kind of failure, the tokens it took as far as the endpoint said, and a policy's record."""
    from graphorch.models.errors import AnswerError
    from graphorch.models.policies.failure_kinds import NotAnswered, classify_failure

    decision = error.decision if isinstance(error, NotAnswered) else None
    usage = error.usage if isinstance(error, AnswerError) else None
    return {
        "error": classify_failure(error),
        "message": clean(str(error), 2000),
        "model": clean(error.model),
        "status": error.status,
        "usd": error.usd,
        "usage": None if usage is None else _usages().dump_python(usage, mode="json"),
        "decision": None if decision is None else _decisions().dump_python(decision, mode="json"),
    }


def encode_response(response: Response) -> dict[str, Any]:
    """A model's answer as plain JSON, with the decision and the findings that came with it."""
    return _responses().dump_python(response, mode="json")


def decode_response(stored: object) -> Response:
    """The answer again. Raises `JournalError` if it does not fit."""
    try:
        return _responses().validate_python(stored)
    except ValidationError as error:
        raise JournalError(
            f"A stored model answer is not one: {error.errors(include_url=False)[0]['msg']}. The journal is damaged."
        ) from error


def new_owner() -> str:
    """A name for a lease that nobody else uses."""
    return uuid.uuid4().hex
