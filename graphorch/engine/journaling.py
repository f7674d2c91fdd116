"""A run's events on their way into a store: encoded when they happen, durable before anything follows from them.

Kinds of records, each an event of the core or a step around it: `started` `entered` `commit` `routed` `failed` `skipped` `cancelled` `asked`
`approved` `retry` `stopping` `grace` `resumed` from the core; `starting` before a node whose effect must not happen twice; `call` for an
answered model call; `ended` when nothing is left to do. A record names its activation by path (one activation of a path is open at a time)
and by id.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from graphorch.core.activation import Activation
from graphorch.core.events import (
    Approved,
    Asked,
    Entered,
    Event,
    GraceOver,
    NodeCancelled,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    Resumed,
    RetryDue,
    Routed,
    RunStarted,
    StopRequested,
)
from graphorch.engine.encoding import Codecs
from graphorch.errors import JournalError
from graphorch.graph.fingerprint import described
from graphorch.graph.plan import Plan
from graphorch.journal.records import Lease, Record
from graphorch.journal.store import Store
from graphorch.models.messages import Response

FORMAT = 1  # of the records; a newer one is refused, an older one is migrated
LEASE_SECONDS = 30.0


class RunJournal:
    """Appends the records of one run under a lease, in the order in which they happened; whoever needs them on disk awaits `flush`."""

    def __init__(self, store: Store, lease: Lease, last_seq: int, plan: Plan) -> None:
        self._store = store
        self._lease = lease
        self._durable = last_seq
        self._seq = last_seq
        self._pending: list[Record] = []
        self._turn = asyncio.Lock()
        self._codecs = Codecs()
        self._plan = plan

    # ---- writing -----------------------------------------------------------------------------------
    def note(self, event: Event) -> None:
        """Encode an event. Raises `Unstorable` for a value that would not come back."""
        kind, body = self._encoded(event)
        self._add(kind, body)

    def note_start(self, one: Activation) -> None:
        """An attempt begins whose effect must not happen twice."""
        self._add("starting", {**_where(one), "attempt": one.attempt})

    def note_call(self, one: Activation, key: str, response: Response) -> None:
        """A model answered: an attempt after a crash is served this instead of paying again."""
        self._add("call", {**_where(one), "attempt": one.attempt, "key": key, "response": encoded_response(response)})

    async def flush(self, status: str | None = None) -> None:
        """Return when everything noted so far is durable; with a status, that is set too. Raises `JournalError`."""
        wanted = self._seq
        while self._durable < wanted or status is not None:
            async with self._turn:
                batch, self._pending = self._pending, []
                if batch:
                    await asyncio.shield(self._append(batch, status))
                    status = None
                elif status is not None:
                    return

    async def end(self, status: str, reason: str) -> None:
        """The run does not go on for now."""
        self._add("ended", {"status": status, "reason": reason})
        await self.flush(status)

    async def keep(self) -> None:
        """Renew the lease for as long as the run is under way. Raises `LeaseLost` if somebody else took the run."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            self._lease = await self._store.renew(self._lease, ttl=LEASE_SECONDS)

    async def release(self) -> None:
        """Let others have the run."""
        await self._store.release(self._lease)

    async def _append(self, batch: list[Record], status: str | None) -> None:
        await self._store.append(self._lease, batch, expected_last_seq=self._durable, status=status)
        self._durable += len(batch)

    def _add(self, kind: str, body: dict[str, Any]) -> None:
        self._seq += 1
        self._pending.append(Record(self._seq, kind, body))

    # ---- encoding ----------------------------------------------------------------------------------
    def _encoded(self, event: Event) -> tuple[str, dict[str, Any]]:
        match event:
            case NodeSucceeded(one, update, at):
                return "commit", {**_where(one), "at": at, "began": one.began, "update": self._codecs.of(one.scope.plan).encode(update)}
            case Routed(one, decision, at):
                edges = [edge.index for edge in decision.edges]
                return "routed", {**_where(one), "at": at, "loop": decision.loop, "exhausted": decision.exhausted, "edges": edges}
            case Entered(one, updates, at):
                plan = one.step.inner_plan
                assert plan is not None
                codec = self._codecs.of(plan)
                return "entered", {**_where(one), "at": at, "items": [codec.encode(update) for update in updates]}
            case NodeFailed():
                return "failed", _failed(event)
            case NodeSkipped(one, reason, at):
                return "skipped", {**_where(one), "at": at, "reason": reason}
            case NodeCancelled(one, at):
                return "cancelled", {**_where(one), "at": at}
            case Asked(one, question, at):
                return "asked", {**_where(one), "at": at, "text": question.text, "expires": question.expires}
            case Approved(one, at):
                return "approved", {**_where(one), "at": at}
            case RetryDue(one, attempt, at):
                return "retry", {**_where(one), "at": at, "attempt": attempt}
            case StopRequested(reason, status, now, at):
                return "stopping", {"at": at, "reason": reason, "status": status, "now": now}
            case GraceOver(at):
                return "grace", {"at": at}
            case Resumed(at):
                return "resumed", {"at": at}
            case RunStarted(update, at):
                return "started", {"at": at, "input": self._codecs.of(self._plan).encode(update), "flow": described(self._plan)}


def _where(one: Activation) -> dict[str, Any]:
    return {"path": one.path, "id": one.id}


def _failed(event: NodeFailed) -> dict[str, Any]:
    error = event.failure
    return {
        **_where(event.activation),
        "at": event.at,
        "attempt": event.attempt,
        "error": getattr(error, "kind", None) or type(error).__name__,
        "message": str(error),
        "retry_after": event.retry_after,
        "handler": event.handler,
        "limit": event.limit,
    }


@cache
def _responses() -> TypeAdapter[Response]:
    return TypeAdapter(Response)


def encoded_response(response: Response) -> dict[str, Any]:
    """A model's answer as plain JSON, with the decision and the findings that came with it."""
    return _responses().dump_python(response, mode="json")


def decoded_response(stored: object) -> Response:
    """The answer again. Raises `JournalError` if it does not fit."""
    try:
        return _responses().validate_python(stored)
    except ValidationError as error:
        raise JournalError(f"A stored model answer is not one: {error.errors(include_url=False)[0]['msg']}. The journal is damaged.") from error


def new_owner() -> str:
    """A name for a lease that nobody else uses."""
    return uuid.uuid4().hex
