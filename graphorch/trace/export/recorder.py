"""A store that tells sinks what is appended to it, off the path of the runs: the live side of a trace.

    store = Recorder(await SqliteStore.open("runs.sqlite"), Otlp("http://localhost:4318"))
    await flow.run(topic, durable=store)
    await store.close()

Rules of this file: what a run waits for is the store within, and nothing else; a record costs it one append to a bounded queue; when the
queue is full, or a sink fails, that is counted and the run goes on. Nothing is lost for good: the records are in the store, and an index
or an export can be made of them later.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from graphorch.journal.completion import Completion
from graphorch.journal.records import Lease, NewRun, Record, RunHead, RunLog
from graphorch.journal.store import Store
from graphorch.journal.wrappers import ForwardingStore
from graphorch.trace.conversation.builder import ConversationBuilder, Turn
from graphorch.trace.export.propagation import continuing
from graphorch.trace.spans.builder import SpanBuilder
from graphorch.trace.spans.model import PARENT_TAG, Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace.spans.sampling import Sampling

_ROOM = 20_000  # batches of records that may wait
_MOST_RUNS = 2_000  # that are followed at once
_MOST_SPANS = 5_000  # that one run may hold back until its sampling is decided
_LOG = logging.getLogger(__name__)
_PAUSE = 0.05  # seconds between two looks at the queue

_Told: TypeAlias = tuple[str, "RunHead | None", Sequence[Record], "str | None"]


class Sink(Protocol):
    """Takes finished spans, from a thread of the recorder."""

    @property
    def needs_content(self) -> bool:
        """Whether it wants to know what was said in model calls; that costs the recorder more."""
        ...

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Turn]) -> None:
        """Spans of one run that ended; `turns` holds what was said in the model calls among them, by span id, if a sink needs that."""
        ...

    def flush(self, *, is_last: bool) -> None:
        """Called again and again between takes: send what has gathered; the last time, all of it."""
        ...


@dataclass(slots=True)
class Lost:
    """What did not reach the sinks."""

    batches: int = 0
    errors: int = 0


@dataclass(slots=True)
class _Followed:
    spans: SpanBuilder
    talk: ConversationBuilder | None
    head: RunHead
    is_kept: bool
    held: list[Span] = field(default_factory=list[Span])
    turns: dict[str, Turn] = field(default_factory=dict[str, Turn])

    def take(self, record: Record) -> list[Span]:
        """The spans that a record ends."""
        turns = self.talk.take(record) if self.talk is not None else self.spans.take(record) or []
        found, self.spans.finished = self.spans.finished, []
        said = next((turn for turn in turns if turn.kind in ("calls", "unanswered")), None)
        if said is not None:
            self.turns |= {span.id: said for span in found if span.kind == "call"}
        return found


class Recorder(ForwardingStore):
    """A `Store` that is another one, and tells sinks about it."""

    def __init__(
        self,
        store: Store,
        *sinks: Sink,
        redaction: Redaction | None = None,
        sampling: Sampling | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store)
        self._sinks = sinks
        self._redaction = redaction or Redaction()
        self._sampling = sampling or Sampling()
        self._clock = clock
        self._queue: deque[_Told] = deque()
        self._runs: OrderedDict[str, _Followed] = OrderedDict()
        self._is_closed = threading.Event()
        self._is_idle = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = Lost()

    # ---- the store -----------------------------------------------------------------------------------
    async def create(self, run: NewRun) -> RunHead:
        """See `Store.create`. A run that is begun inside of a span of OpenTelemetry becomes a part of that trace."""
        if PARENT_TAG not in run.tags and (found := continuing()):
            run = replace(run, tags={**run.tags, **found})
        head = await self._store.create(run)
        self._tell(run.run_id, head, ())
        return head

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
    ) -> None:
        """See `Store.append`."""
        await self._store.append(lease, records, expected_last_seq=expected_last_seq, status=status)
        self._tell(lease.run_id, None, records, status)

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
    ) -> Completion | None:
        """See `Store.append_soon`."""
        answer = self._store.append_soon(
            lease, records, expected_last_seq=expected_last_seq, status=status
        )
        if answer is None:
            self._tell(lease.run_id, None, records, status)
        else:
            answer.add_done_callback(
                lambda ended: ended.exception() or self._tell(lease.run_id, None, records, status)
            )
        return answer

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        """See `Store.load`. A run that is taken up again is followed from what it did before."""
        log = await self._store.load(run_id, after_seq=after_seq)
        if after_seq == 0:
            self._tell(run_id, log.head, log.records)
        return log

    async def close(self) -> None:
        """Give the sinks what is left, for at most some seconds, and close the store within."""
        self.stop()
        await self._store.close()

    # ---- the other side ------------------------------------------------------------------------------
    def stop(self, seconds: float = 5.0) -> None:
        """Give the sinks what is left, for at most so long; the store stays open."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def wait_until_told(self, seconds: float = 5.0) -> bool:
        """Wait until the sinks have taken all that was appended so far, for at most so long."""
        self._is_idle.clear()
        return self._thread is None or self._is_idle.wait(seconds)

    def _tell(
        self,
        run_id: str,
        head: RunHead | None,
        records: Sequence[Record],
        status: str | None = None,
    ) -> None:
        if len(self._queue) >= _ROOM:
            self.lost.batches += 1
            return
        self._queue.append((run_id, head, records, status))
        if self._thread is None and not self._is_closed.is_set():
            self._thread = threading.Thread(
                target=self._work, name="graphorch recorder", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while True:
            is_last = self._is_closed.wait(_PAUSE)
            while self._queue:
                self._guarded(functools.partial(self._take, self._queue.popleft()))
            for sink in self._sinks:
                self._guarded(functools.partial(sink.flush, is_last=is_last))
            if not self._queue:
                self._is_idle.set()
            if is_last:
                return

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        # the border of the thread: a trace that fails must not end, nor harm a run
        except Exception as error:
            self.lost.errors += 1
            if self.lost.errors == 1:
                _LOG.warning(
                    "a trace could not be recorded: %s: %s; the run is not affected",
                    type(error).__name__,
                    error,
                )

    def _take(self, told: _Told) -> None:
        run_id, head, records, status = told
        if head is not None:
            self._follow(head, records)
            return
        followed = self._runs.get(run_id)
        if followed is None:
            self.lost.batches += 1
            return
        if status is not None:
            followed.head = replace(followed.head, status=status)
        self._feed(followed, records)
        if records and records[-1].kind == "ended":
            self._end(followed)

    def _follow(self, head: RunHead, records: Sequence[Record]) -> None:
        """Begin with a run, or begin again with one that is taken up: what it did before was told before."""
        talk = (
            ConversationBuilder(head, self._redaction)
            if any(sink.needs_content for sink in self._sinks)
            else None
        )
        spans = talk.spans if talk is not None else SpanBuilder(head)
        followed = self._runs[head.run_id] = _Followed(
            spans, talk, head, self._sampling.chosen(head.run_id)
        )
        for record in records:
            followed.take(record)
        followed.turns.clear()
        self._runs.move_to_end(head.run_id)
        while len(self._runs) > _MOST_RUNS:
            self._runs.popitem(last=False)

    def _feed(self, followed: _Followed, records: Sequence[Record]) -> None:
        for record in records:
            followed.held += followed.take(record)
        if followed.is_kept:
            self._give(followed)
        elif len(followed.held) > _MOST_SPANS:
            self.lost.batches += 1
            followed.held.clear()
            followed.turns.clear()

    def _end(self, followed: _Followed) -> None:
        trace = followed.spans.close(followed.head, self._clock())
        if followed.is_kept or self._sampling.keeps(trace):
            self._give(followed)
        followed.held.clear()
        if followed.head.status not in ("waiting", "running"):
            self._runs.pop(followed.head.run_id, None)

    def _give(self, followed: _Followed) -> None:
        held, followed.held = followed.held, []
        turns, followed.turns = followed.turns, {}
        if held:
            for sink in self._sinks:
                sink.take(followed.spans.trace, held, turns)
