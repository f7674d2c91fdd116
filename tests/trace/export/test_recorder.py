"""Recorder: what it costs a run, what it drops, and that it is a store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from graphorch.journal.completion import Completion
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Lease, Record, RunHead, RunLog
from graphorch.trace.export.recorder import Recorder
from graphorch.trace.spans.model import Span, Trace
from tests.trace.flows import Model, shop
from tests.trace.running import ran, trace


class Kept:
    """A sink that keeps what it is given."""

    needs_content = False

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, trace: Trace, spans: Sequence[Span], turns: dict[str, Any]) -> None:
        self.spans += spans

    def flush(self, *, is_last: bool) -> None: ...


class Instant(MemoryStore):
    """A store that keeps nothing, so that what lies around it can be timed."""

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        **options: Any,
    ) -> None: ...

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        **options: Any,
    ) -> Completion | None: ...


def test_sink_gets_every_span_once() -> None:
    """A sink gets every span once, equal to that of the records."""

    async def main() -> None:
        sink = Kept()
        recorder = Recorder(MemoryStore(), sink)
        store = await ran("one", store=recorder)
        assert recorder.wait_until_delivered()
        expected = await trace(store)
        recorder.stop()
        assert sorted(span.id for span in sink.spans) == sorted(span.id for span in expected.spans)
        assert {(span.id, span.parent, span.status) for span in sink.spans} == {
            (span.id, span.parent, span.status) for span in expected.spans
        }

    asyncio.run(main())


def test_resumed_run_sends_new_spans() -> None:
    """A run that is taken up again sends its spans from there on."""

    async def main() -> None:
        store = await ran("one", 12)
        before = {span.id for span in (await trace(store)).spans if span.status != "failed"}
        sink = Kept()
        recorder = Recorder(store, sink)
        with pytest.raises(ExceptionGroup):
            await shop().resume("one", durable=recorder, client=Model())
        recorder.stop()
        assert sink.spans
        assert not {span.id for span in sink.spans} & before

    asyncio.run(main())


def test_record_costs_microseconds() -> None:
    """The best of several rounds: other work on the machine only ever adds."""
    lease, batch = (
        Lease("one", "me", 1, 1e12),
        [Record(1, "commit", {"path": "a", "id": "b" * 32, "at": 1.0, "began": 1.0, "update": {}})],
    )

    async def timed(store: MemoryStore | Recorder) -> float:
        began = time.perf_counter()
        for _ in range(2_000):
            await store.append(lease, batch, expected_last_seq=0)
        return (time.perf_counter() - began) / 2_000

    async def main() -> None:
        recorder = Recorder(Instant(), Kept())
        with_it = [await timed(recorder) for _ in range(5)]
        without = [await timed(Instant()) for _ in range(5)]
        recorder.stop()
        assert min(with_it) - min(without) < 10e-6

    asyncio.run(main())


def test_full_queue_drops_and_counts() -> None:
    """A queue that is full drops and counts."""

    async def main() -> None:
        recorder = Recorder(Instant(), Kept())
        recorder.stop()  # nobody takes anything any more
        lease = Lease("one", "me", 1, 1e12)
        for _ in range(100_010):
            await recorder.append(lease, (), expected_last_seq=0)
        assert recorder.lost.batches == 10

    asyncio.run(main())


def test_recorder_forwards_to_store() -> None:
    """A recorder forwards to the store within."""

    async def main() -> None:
        inner = MemoryStore()
        recorder = Recorder(inner, Kept())
        await ran("one", store=recorder)
        log: RunLog = await recorder.load("one")
        other = await inner.load("one")
        heads: list[RunHead] = [log.head, other.head]
        assert heads[0] == heads[1]
        assert log.records == other.records
        await recorder.close()

    asyncio.run(main())
