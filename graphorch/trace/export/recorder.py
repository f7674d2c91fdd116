"""A store that passes on to sinks what is appended to it, off the path of the runs.

    store = Recorder(await SqliteStore.open("runs.sqlite"), Otlp("http://localhost:4318"))
    await flow.run(topic, durable=store)
    await store.close()

Rules of this file:
1. A run waits for the store within, and for nothing else.
2. A batch of records costs the run one append to a bounded queue; a thread does the rest.
3. If the queue is full or a sink fails, that is counted and logged, and the run continues.

Nothing is lost for good: the records are in the store, and an index or an export can be made of
them later.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from graphorch.journal.completion import Completion
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Lease, NewRun, Record, RunHead, RunLog, Settlement
from graphorch.journal.store import Store
from graphorch.journal.wrappers import ForwardingStore
from graphorch.statuses import UNFINISHED_STATUSES
from graphorch.trace.conversation.builder import ConversationBuilder
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.export.propagation import continuing
from graphorch.trace.spans.builder import SpanBuilder
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace.spans.sampling import Sampling
from graphorch.trace_context import PARENT

_MOST_BATCHES = 100_000  # of records that may wait
_MOST_RUNS = 2_000  # that are followed at once
_MOST_SPANS = 5_000  # that one run may hold back until its sampling is decided
_INTERVAL = 0.05  # seconds between two looks at the queue
_LONGEST_STOP = 30.0  # seconds that sinks get for what is left
_LAST_KIND: Final[RecordKind] = "ended"
_LOG = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes finished spans, from a thread of the recorder."""

    @property
    def needs_content(self) -> bool:
        """Return whether the sink uses the texts of model calls, which cost the recorder more."""
        ...

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Turn]) -> None:
        """Take spans of one run that ended.

        `turns` holds the texts of the model calls among them by span id, if a sink needs content.
        """
        ...

    def flush(self, *, is_last: bool) -> None:
        """Send what has gathered. Called again and again between takes; the last time, send all."""
        ...


@dataclass(slots=True)
class LossCount:
    """Counts of what did not reach the sinks."""

    batches: int = 0
    errors: int = 0


class _Batch(NamedTuple):
    """One call of the store: with a `head`, all records of a run that begins or is taken up."""

    run_id: str
    head: RunHead | None
    records: Sequence[Record]
    status: str | None


@dataclass(slots=True)
class _FollowedRun:
    """A run that is followed, and the spans that wait for its sampling."""

    spans: SpanBuilder
    conversation: ConversationBuilder | None
    head: RunHead
    is_sampled: bool
    held: list[Span] = field(default_factory=list[Span])
    turns: dict[str, Turn] = field(default_factory=dict[str, Turn])

    def take(self, record: Record) -> list[Span]:
        """Return the spans that a record ends."""
        turns: list[Turn] = []
        if self.conversation is None:
            self.spans.take(record)
        else:
            turns = self.conversation.take(record)
        finished = self.spans.take_finished()
        for turn in turns:
            if turn.is_model_call:
                self.turns |= {span.id: turn for span in finished if span.kind == "call"}
            elif turn.arguments:
                self.turns |= {span.id: turn for span in finished if span.kind == "tool"}
        return finished


class Recorder(ForwardingStore):
    """A store around another one that passes its records on to sinks."""

    def __init__(
        self,
        store: Store,
        *sinks: Sink,
        redaction: Redaction | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        super().__init__(store)
        self._sinks = sinks
        self._redaction = redaction or Redaction()
        self._sampling = sampling or Sampling()
        self._queue: deque[_Batch] = deque()
        self._runs: OrderedDict[str, _FollowedRun] = OrderedDict()
        self._is_closed = threading.Event()
        self._is_idle = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = LossCount()

    @property
    def is_traced(self) -> bool:
        """See `is_traced` of `journal.wrappers`."""
        return bool(self._sinks)

    # ---- the store -----------------------------------------------------------------------------
    async def create(self, run: NewRun) -> RunHead:
        """See `Store.create`. A run begun inside a span of OpenTelemetry becomes part of it."""
        if PARENT not in run.tags and (parent := continuing()):
            run = replace(run, tags={**run.tags, **parent})
        head = await self._store.create(run)
        self._enqueue(_Batch(run.run_id, head, (), None))
        return head

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        """See `Store.append`."""
        await self._store.append(
            lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
        )
        self._enqueue(_Batch(lease.run_id, None, records, status))

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> Completion | None:
        """See `Store.append_soon`."""
        completion = self._store.append_soon(
            lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
        )
        batch = _Batch(lease.run_id, None, records, status)
        if completion is None:
            self._enqueue(batch)
        else:
            completion.add_done_callback(lambda done: done.exception() or self._enqueue(batch))
        return completion

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """See `Store.load`. A run that is taken up again is followed from its earlier records."""
        log = await self._store.load(run_id, after_seq=after_seq)
        if after_seq == 0:
            self._enqueue(_Batch(run_id, log.head, log.records, None))
        return log

    async def close(self) -> None:
        """Give the sinks what is left, for at most 30 seconds, and close the store within."""
        await asyncio.to_thread(self.stop)
        await self._store.close()

    # ---- the thread of the sinks ---------------------------------------------------------------
    def stop(self, seconds: float = _LONGEST_STOP) -> None:
        """Give the sinks what is left, for at most `seconds`; the store stays open.

        A program that forgets it does it when it ends.
        """
        self._is_closed.set()
        atexit.unregister(self.stop)
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                _LOG.warning(
                    "the sinks of traces were not done after %g s: what is left may be lost",
                    seconds,
                )

    def wait_until_delivered(self, seconds: float = 5.0) -> bool:
        """Wait until the sinks have taken all that was appended so far, for at most `seconds`."""
        self._is_idle.clear()
        return self._thread is None or self._is_idle.wait(seconds)

    def _enqueue(self, batch: _Batch) -> None:
        if len(self._queue) >= _MOST_BATCHES:
            self._lose_batch("records come faster than the sinks take them")
            return
        self._queue.append(batch)
        if self._thread is None and not self._is_closed.is_set():
            self._thread = threading.Thread(
                target=self._work, name="graphorch recorder", daemon=True
            )
            self._thread.start()
            atexit.register(self.stop)

    def _lose_batch(self, why: str) -> None:
        self.lost.batches += 1
        if self.lost.batches == 1:
            _LOG.warning("spans are missing in traces: %s; later losses are only counted", why)

    def _work(self) -> None:
        while True:
            is_last = self._is_closed.wait(_INTERVAL)
            while self._queue:
                self._run_guarded(functools.partial(self._take, self._queue.popleft()))
            for sink in self._sinks:
                self._run_guarded(functools.partial(sink.flush, is_last=is_last))
            if not self._queue:
                self._is_idle.set()
            if is_last:
                return

    def _run_guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        # The border of the thread: a trace that fails must neither end it nor harm a run.
        except Exception as error:
            self.lost.errors += 1
            if self.lost.errors == 1:
                _LOG.warning(
                    "a trace could not be recorded: %s: %s; the run is not affected",
                    type(error).__name__,
                    error,
                )

    def _take(self, batch: _Batch) -> None:
        if batch.head is not None:
            self._follow(batch.head, batch.records)
            return
        run = self._runs.get(batch.run_id)
        if run is None:
            self._lose_batch(f"more than {_MOST_RUNS:,} runs are under way")
            return
        if batch.status is not None:
            run.head = replace(run.head, status=batch.status)
        self._feed(run, batch.records)
        if batch.records and batch.records[-1].kind == _LAST_KIND:
            self._end(run)

    def _follow(self, head: RunHead, records: Sequence[Record]) -> None:
        """Begin to follow a run.

        Spans of its earlier records reached the sinks before, unless it was not sampled: then they
        wait for what becomes of it now. Once a run was kept, what follows is.
        """
        conversation = None
        if any(sink.needs_content for sink in self._sinks):
            conversation = ConversationBuilder(head, self._redaction)
        spans = SpanBuilder(head) if conversation is None else conversation.spans
        is_sampled = self._sampling.includes(head.run_id)
        run = self._runs[head.run_id] = _FollowedRun(spans, conversation, head, is_sampled)
        for record in records:
            run.held += run.take(record)
            self._note_outcome(run, record)
        if run.is_sampled:
            run.held.clear()
            run.turns.clear()
        self._runs.move_to_end(head.run_id)
        while len(self._runs) > _MOST_RUNS:
            self._runs.popitem(last=False)

    def _note_outcome(self, run: _FollowedRun, record: Record) -> None:
        """Keep a run from here on if it was kept at the end of an earlier engagement."""
        if record.kind == _LAST_KIND and self._sampling.keeps(run.spans.trace):
            run.is_sampled = True

    def _feed(self, run: _FollowedRun, records: Sequence[Record]) -> None:
        for record in records:
            finished = run.take(record)
            run.held += finished
            if self._sampling.failures and any(_has_crashed(span) for span in finished):
                run.is_sampled = True
        if run.is_sampled:
            self._deliver(run)
        elif len(run.held) > _MOST_SPANS:
            self._lose_batch(f"a run that is not sampled yet has more than {_MOST_SPANS:,} spans")
            run.held.clear()
            run.turns.clear()

    def _end(self, run: _FollowedRun) -> None:
        trace = run.spans.close(run.head)
        if run.is_sampled or self._sampling.keeps(trace):
            self._deliver(run)
        run.held.clear()
        if run.head.status not in UNFINISHED_STATUSES:
            self._runs.pop(run.head.run_id, None)

    def _deliver(self, run: _FollowedRun) -> None:
        held, run.held = run.held, []
        turns, run.turns = run.turns, {}
        if held:
            for sink in self._sinks:
                sink.take(run.spans.trace, held, turns)


def _has_crashed(span: Span) -> bool:
    """Return whether this is the span of a run whose process is gone."""
    return span.kind == "run" and span.status == "lost"
