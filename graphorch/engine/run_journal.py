"""A run's events on their way into a store: encoded at once, durable before anything follows them.

Rules of this file:
1. Records are appended in the order in which they happened, one append at a time.
2. Who needs its records on disk awaits `flush`; several that wait share one append.
3. After an append that failed, nothing more is written: its records may or may not be there.
4. An append that was begun is awaited to its end even when the run is cancelled, because the next
   writer has to know its outcome.
5. The first append of an engagement sets the status of the run to "running", so whoever reads its
   head sees that it goes on, or that its process is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from graphorch.core.events import Event, NodeSucceeded, Routed
from graphorch.core.tree import Activation
from graphorch.engine.prompt_log import CallDescription
from graphorch.engine.record_bodies import (
    RecordEncoder,
    encode_failed_call,
    encode_route,
    encode_sending,
)
from graphorch.errors import JournalError
from graphorch.journal.completion import Completion
from graphorch.journal.errors import LeaseExpired, StoreUnavailable
from graphorch.journal.record_kinds import (
    FORMAT,
    EndedBody,
    ListedBody,
    MomentBody,
    RecordKind,
    RulesBody,
    StartingBody,
)
from graphorch.journal.records import Lease, Letter, Outcome, Record, Settlement
from graphorch.journal.store import Store
from graphorch.journal.wrappers import is_traced
from graphorch.statuses import RunStatus

if TYPE_CHECKING:
    from graphorch.engine.report import RequestReport
    from graphorch.models.messages import Response

_RETRY_DELAYS: Final = (0.05, 0.2, 1.0)  # seconds between the tries of one append
_TRANSIENT: Final = (LeaseExpired, StoreUnavailable)
_IMMEDIATE_APPENDS: Final = 100  # appends that complete at once before other tasks get a turn


class _Batch(NamedTuple):
    """What one append writes."""

    records: Sequence[Record]
    settled: Sequence[Settlement]
    status: str | None


class RunJournal:
    """Appends the records of one run under a lease, as its encoder writes them."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        last_seq: int,
        encoder: RecordEncoder,
        tags: Mapping[str, str] | None = None,
        format: int = FORMAT,
    ) -> None:
        self.format = format  # of the run, which stays what it was when the run began
        self.tags: Mapping[str, str] = tags or {}  # of the run, which its store may have added to
        self._store = store
        self._lease = lease
        self._durable = last_seq
        self._seq = last_seq
        self._pending: list[Record] = []
        self._settled: list[Settlement] = []  # letters whose outcomes go with those records
        self._failure: BaseException | None = None  # of an append; nothing is written after it
        self._append: Completion | None = None  # the one append that is awaited
        self._immediate_appends = 0  # appends that completed at once
        # No engagement is under way: the next record with a time begins one.
        self._is_at_rest = last_seq > 0
        self._begun: RunStatus | None = (
            None  # status to set with the first records of an engagement
        )
        # Its commit was buffered last; where it goes is added to that record.
        self._committed: Activation | None = None
        self._encoder = encoder

    @property
    def is_traced(self) -> bool:
        """Whether spans of the run are sent to receivers."""
        return is_traced(self._store)

    @property
    def store(self) -> Store:
        """Store that holds the run."""
        return self._store

    @property
    def last_buffered_seq(self) -> int:
        """Number of the last record that was buffered."""
        return self._seq

    @property
    def last_durable_seq(self) -> int:
        """Number of the last record that is on disk."""
        return self._durable

    # ---- buffering ------------------------------------------------------------------------------
    def buffer(self, event: Event) -> None:
        """Encode an event for the next flush.

        Raises `Unstorable` for a value that could not be restored.

        A result and its routing become one record, unless something came between them.
        """
        if type(event) is Routed and event.activation is self._committed and self._pending:
            self._pending[-1].body["route"] = encode_route(event)
            return
        self._add(*self._encoder.encode(event))
        if type(event) is NodeSucceeded:
            self._committed = event.activation

    def require_storable(self, event: Event) -> None:
        """Raise `Unstorable` for an event that `buffer` would refuse."""
        self._encoder.encode(event)

    def buffer_rules(
        self,
        rules: RulesBody,
        *,
        budget: dict[str, float] | None = None,
        model: str = "",
    ) -> None:
        """Buffer that the run is decided by other settings from here on, and so its replay.

        A new budget holds from here on too, and so does a new model of all agents.
        """
        body = rules.copy()
        if budget is not None:
            body["budget"] = budget
        if model:
            body["model"] = model
        self._add("rules", body)

    def buffer_continued(self, at: float) -> None:
        """Buffer that an engagement begins, unless one is under way. The next record does, too."""
        if self._is_at_rest:
            self._is_at_rest, self._begun = False, "running"
            body: MomentBody = {"at": at}
            self._add("continued", body)

    def buffer_starting(self, activation: Activation) -> None:
        """Buffer that an attempt begins whose effect must not happen twice."""
        body: StartingBody = {
            "path": activation.path,
            "id": activation.id,
            "attempt": activation.attempt,
        }
        self._add("starting", body)

    def buffer_call(
        self, activation: Activation, key: str, response: Response, call: CallDescription
    ) -> None:
        """Buffer a model's response, so that an attempt after a crash need not pay for it again.

        Raises `Unstorable` for a response that could not be restored.
        """
        self._add("call", self._encoder.encode_call(activation, key, response, call))

    def buffer_sending(
        self,
        activation: Activation,
        number: int,
        began: float,
        model: str,
        sent: Sequence[RequestReport],
    ) -> None:
        """Buffer what a model call may have cost by the end of its next request."""
        self._add("sending", encode_sending(activation, number, began, model, sent))

    def buffer_failed_call(
        self, activation: Activation, error: BaseException, model: str, call: CallDescription
    ) -> None:
        """Buffer a failed model call: nothing follows from it, but it may have cost something."""
        self._add("unanswered", encode_failed_call(activation, error, model, call))

    def settle(self, letter: Letter, outcome: Outcome) -> None:
        """Buffer the outcome of a letter: it is stored with the records that were buffered."""
        self._settled.append(Settlement(letter.number, outcome))

    def buffer_listing(self, listing: ListedBody) -> None:
        """Buffer the tools of a server, which the run offers its agents from here on."""
        self._add("listed", listing)

    def _add(self, kind: RecordKind, body: Mapping[str, Any]) -> None:
        if self._is_at_rest and "at" in body:
            self.buffer_continued(body["at"])
        self._seq += 1
        self._committed = None
        self._pending.append(Record(self._seq, kind, body))

    # ---- writing ---------------------------------------------------------------------------------
    async def flush(self, status: RunStatus | None = None) -> None:
        """Return when everything buffered so far is durable, and the status is set if one is given.

        Raises `JournalError`.
        """
        last_seq = self._seq
        while self._durable < last_seq or status is not None or self._settled:
            if self._failure is not None:
                raise self._failure
            if self._append is not None:
                # Another task writes; what was buffered meanwhile goes into the next append.
                await asyncio.wait([self._append])
            elif self._pending or self._settled:
                batch = _Batch(self._pending, self._settled, status or self._begun)
                self._pending, self._settled, self._begun = [], [], None
                append = self._begin_append(batch)
                if append is not None:
                    await self._finish_append(append, batch)
                elif not self._immediate_appends % _IMMEDIATE_APPENDS:
                    # A chain that waits for nothing must not keep the loop from other tasks.
                    await asyncio.sleep(0)
                status = None
            else:
                return

    async def end(self, body: EndedBody) -> None:
        """Record how the run came to rest, and set its status."""
        self._add("ended", body)
        self._is_at_rest = True
        await self.flush(body["status"])

    async def renew_lease(self) -> None:
        """Extend the lease. Raises `LeaseLost` if another process took the run."""
        self._lease = await self._store.renew(self._lease, ttl=self._lease.seconds)

    async def release(self) -> None:
        """Let other processes have the run."""
        await self._store.release(self._lease)

    async def release_unless_mail(self) -> bool:
        """Let other processes have the run unless there are letters to take in; return which."""
        return await self._store.release_unless_mail(self._lease)

    async def enter_regions(self, names: Sequence[str], *, is_nested: bool) -> bool:
        """Have the run be alone in exclusive regions of its store; return whether it is."""
        return await self._store.enter_regions(self._lease, names, is_nested=is_nested)

    async def leave_regions(self, names: Sequence[str]) -> None:
        """Free exclusive regions that the run entered."""
        await self._store.leave_regions(self._lease, names)

    def watch_regions(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` whenever the run may have its turn in a region; return what ends that."""
        return self._store.watch_regions(self._lease.run_id, wake)

    async def list_letters(self, *, after: int = 0) -> list[Letter]:
        """Return the letters of the run after a number that are to be taken in, in order."""
        letters = await self._store.list_letters(self._lease.run_id, after=after)
        return [letter for letter in letters if letter.outcome is None]

    def watch_mail(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` whenever the run may have got a letter; return a function that ends it."""
        return self._store.watch_mail(self._lease.run_id, wake)

    async def release_if_held(self) -> None:
        """Let other processes have the run, after something failed; its cause is what counts."""
        with contextlib.suppress(JournalError):
            await self.release()

    def _begin_append(self, batch: _Batch) -> Completion | None:
        """Return the append under way; None if it is durable already."""
        try:
            append = self._store.append_soon(
                self._lease,
                batch.records,
                expected_last_seq=self._durable,
                status=batch.status,
                settled=batch.settled,
            )
        except _TRANSIENT as error:
            return Completion.of(self._retry_append(error, batch))
        except BaseException as error:
            self._failure = error if isinstance(error, Exception) else _build_interrupted()
            raise
        if append is None:
            self._durable += len(batch.records)
            self._immediate_appends += 1
        return append

    async def _finish_append(self, append: Completion, batch: _Batch) -> None:
        """Await an append to its end, even when cancelled, and keep its outcome."""
        self._append = append
        cancelled = await _await_end(append)
        if isinstance(error := append.exception(), _TRANSIENT):
            self._append = append = Completion.of(self._retry_append(error, batch))
            cancelled = await _await_end(append) or cancelled
        self._append = None
        self._failure = append.exception()
        if self._failure is None:
            self._durable += len(batch.records)
        if cancelled is not None:
            raise cancelled  # the next writer gets the failure, if there was one
        if self._failure is not None:
            raise self._failure

    async def _retry_append(self, error: BaseException, batch: _Batch) -> None:
        """Append again after a busy store, or after a lease that expired but was not taken.

        If the records were written before, the store recognizes them.
        """
        for delay in _RETRY_DELAYS:
            if isinstance(error, LeaseExpired):
                await self.renew_lease()
            else:
                await asyncio.sleep(delay)
            try:
                return await self._store.append(
                    self._lease,
                    batch.records,
                    expected_last_seq=self._durable,
                    status=batch.status,
                    settled=batch.settled,
                )
            except _TRANSIENT as next_error:
                error = next_error
        raise error


async def _await_end(append: Completion) -> asyncio.CancelledError | None:
    """Wait until an append has ended; return the cancellation if there was one meanwhile."""
    try:
        await append
    except asyncio.CancelledError as cancelled:
        return cancelled
    except Exception:
        return None  # the caller asks the append for it
    return None


def _build_interrupted() -> JournalError:
    return JournalError("The process was interrupted while it wrote. Resume the run.")


def new_owner() -> str:
    """Return a unique name for the owner of a lease."""
    return uuid.uuid4().hex
