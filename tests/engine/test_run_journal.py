"""Appends of a run: never two at once, none after a failure; observers see durable events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from graphorch import Committed, JournalError, ModelError
from graphorch.core.events import GraceExpired
from graphorch.engine.lease_heartbeat import LeaseHeartbeat
from graphorch.engine.record_bodies import (
    RecordEncoder,
    decode_response,
    encode_failure,
    encode_response,
)
from graphorch.engine.run_journal import RunJournal
from graphorch.journal.completion import Completion
from graphorch.journal.errors import LeaseExpired, StoreUnavailable
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Lease, NewRun
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.models.messages import Response, Usage
from graphorch.testing import FailNth, Schedule, around_nodes, run_virtual
from tests.scenarios.flows import FLOWS, Ledger, State


class SlowStore(MemoryStore):
    """Store whose appends take a second, and whose n-th fails; it counts those under way."""

    def __init__(self, fail_at: int = 0) -> None:
        super().__init__(clock=lambda: 0.0)
        self.appends = 0
        self.running: set[int] = set()
        self.most = 0
        self._fail_at = fail_at

    async def append(
        self, lease: Lease, records: Any, *, expected_last_seq: int, **options: Any
    ) -> None:
        self.appends += 1
        number = self.appends
        self.running.add(number)
        self.most = max(self.most, len(self.running))
        try:
            await asyncio.sleep(1)
            if number == self._fail_at:
                raise JournalError("the disk is full")
            await super().append(lease, records, expected_last_seq=expected_last_seq, **options)
        finally:
            self.running.discard(number)

    def append_soon(self, *arguments: Any, **options: Any) -> Completion | None:
        return Completion.of(self.append(*arguments, **options))


async def journal_in(store: MemoryStore) -> RunJournal:
    await store.create(NewRun("r", "chain", "f", 1))
    lease = await store.claim("r", "me", ttl=60)
    return RunJournal(store, lease, 0, RecordEncoder(FLOWS["chain"]().plan))


def test_cancelled_flush_awaits_its_append() -> None:
    """Flushing is cancelled while its append goes on; the next flush continues after it."""

    async def main() -> None:
        store = SlowStore()
        journal = await journal_in(store)
        journal.buffer(GraceExpired(1.0))
        first = asyncio.create_task(journal.flush())
        await asyncio.sleep(0.5)
        first.cancel()
        journal.buffer(GraceExpired(2.0))
        await journal.flush()
        assert first.cancelled()
        assert store.most == 1
        assert [record.seq for record in (await store.load("r")).records] == [1, 2]
        assert (journal.last_durable_seq, journal.last_buffered_seq) == (2, 2)

    run_virtual(main())


def test_failed_append_ends_journal() -> None:
    """Nothing is written after an append that failed."""

    async def main() -> None:
        store = SlowStore(fail_at=1)
        journal = await journal_in(store)
        journal.buffer(GraceExpired(1.0))
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.flush()
        journal.buffer(GraceExpired(2.0))
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.flush()
        assert store.appends == 1
        assert journal.last_durable_seq == 0

    run_virtual(main())


def test_failure_of_cancelled_flush_reaches_next() -> None:
    async def main() -> None:
        journal = await journal_in(SlowStore(fail_at=1))
        journal.buffer(GraceExpired(1.0))
        first = asyncio.create_task(journal.flush())
        await asyncio.sleep(0.5)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        journal.buffer(GraceExpired(2.0))
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.flush()

    run_virtual(main())


@pytest.mark.parametrize("n", range(2, 12))
def test_observers_see_durable_commits_only(n: int) -> None:
    seen: list[str] = []

    async def main(seed: int) -> list[str]:
        """Let appends take as long as nodes, so that branches commit while others are written."""
        store, flow = (
            SlowStore(fail_at=n),
            around_nodes(FLOWS["mapped_flows"](), Schedule(seed, longest=3.0).around),
        )
        watch: Any = (
            lambda event: seen.append(event.path) if isinstance(event, Committed) else None,
        )
        with contextlib.suppress(JournalError):
            await flow.run(State(), run_id="r", durable=store, resources=Ledger(), watch=watch)
        return [
            record.body["path"]
            for record in (await store.load("r")).records
            if record.kind == "commit"
        ]

    for seed in range(8):
        seen.clear()
        durable = run_virtual(main(seed), seed=seed)
        assert set(seen) <= set(durable)


def test_created_run_without_input_can_begin() -> None:
    async def main() -> Any:
        flow, store = FLOWS["chain"](), MemoryStore(clock=lambda: asyncio.get_running_loop().time())
        with pytest.raises(JournalError):
            await flow.run(State(), run_id="r", durable=FailNth(2).store(store), resources=Ledger())
        await asyncio.sleep(60)
        with pytest.raises(
            Exception,
            match=r"Run r was created, but its input was never written down. Begin it with run\(",
        ):
            await flow.resume("r", durable=store, resources=Ledger())
        return await flow.run(State(), run_id="r", durable=store, resources=Ledger())

    assert run_virtual(main()).state.n == 3


# ---- at once, and under way ----------------------------------------------------------------------
def test_immediate_append_is_not_awaited() -> None:
    async def main() -> None:
        journal = await journal_in(MemoryStore(clock=lambda: 0.0))
        journal.buffer(GraceExpired(1.0))
        with pytest.raises(StopIteration):
            journal.flush().send(None)
        assert journal.last_durable_seq == 1

    run_virtual(main())


def test_immediate_appends_yield_sometimes() -> None:
    """Chains that wait for nothing give other tasks a turn."""

    async def main() -> None:
        journal = await journal_in(MemoryStore(clock=lambda: 0.0))
        turns: list[int] = []
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: turns.append(journal.last_durable_seq))
        for at in range(250):
            journal.buffer(GraceExpired(float(at)))
            await journal.flush()
        assert turns
        assert turns[0] <= 100

    run_virtual(main())


def test_flush_cancelled_during_write_knows_outcome(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db")
        await store.create(NewRun("r", "chain", "f", 1))
        journal = RunJournal(
            store, await store.claim("r", "me", ttl=60), 0, RecordEncoder(FLOWS["chain"]().plan)
        )
        for at in range(50):
            journal.buffer(GraceExpired(float(at)))
            flushing = asyncio.create_task(journal.flush())
            await asyncio.sleep(0)
            flushing.cancel()
            if at % 3:
                journal.buffer(GraceExpired(float(at)))
                await journal.flush()
            await asyncio.wait([flushing])
            assert flushing.cancelled()
            assert journal.last_durable_seq == journal.last_buffered_seq
            assert (await store.load("r")).head.last_seq == journal.last_buffered_seq
        await store.close()

    asyncio.run(main())


class InterruptedStore(MemoryStore):
    """Store that is interrupted by Ctrl-C in the middle of its first append."""

    def append_soon(self, *arguments: Any, **options: Any) -> Completion | None:
        raise KeyboardInterrupt


def test_interrupted_append_ends_journal() -> None:
    async def main() -> None:
        journal = await journal_in(InterruptedStore(clock=lambda: 0.0))
        journal.buffer(GraceExpired(1.0))
        with contextlib.suppress(KeyboardInterrupt):
            await journal.flush()
        with pytest.raises(JournalError, match="interrupted"):
            await journal.flush()

    run_virtual(main())


# ---- what passes, and what does not --------------------------------------------------------------
class MoodyStore(MemoryStore):
    """Store whose appends fail by a script; it keeps the times of appends and renewals."""

    def __init__(self, *script: Exception | None) -> None:
        super().__init__(clock=lambda: asyncio.get_running_loop().time())
        self._script = list(script)
        self.tried: list[float] = []
        self.renewed: list[float] = []

    async def append(
        self, lease: Lease, records: Any, *, expected_last_seq: int, **options: Any
    ) -> None:
        self.tried.append(asyncio.get_running_loop().time())
        error = self._script.pop(0) if self._script else None
        if error is not None:
            raise error
        await super().append(lease, records, expected_last_seq=expected_last_seq, **options)

    def append_soon(self, *arguments: Any, **options: Any) -> Completion | None:
        return Completion.of(self.append(*arguments, **options))

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        self.renewed.append(asyncio.get_running_loop().time())
        return await super().renew(lease, ttl=ttl)


def busy() -> StoreUnavailable:
    return StoreUnavailable("the database is locked")


def test_busy_store_is_retried() -> None:
    """Retry an append after growing pauses while the store is busy."""

    async def main() -> None:
        store = MoodyStore(busy(), busy(), busy())
        journal = await journal_in(store)
        journal.buffer(GraceExpired(1.0))
        await journal.flush()
        assert store.tried == pytest.approx([0, 0.05, 0.25, 1.25])
        assert [record.kind for record in (await store.load("r")).records] == ["grace"]

    run_virtual(main())


def test_store_that_stays_busy_raises() -> None:
    async def main() -> None:
        store = MoodyStore(*(busy() for _ in range(9)))
        journal = await journal_in(store)
        journal.buffer(GraceExpired(1.0))
        with pytest.raises(StoreUnavailable, match="the database is locked"):
            await journal.flush()
        assert len(store.tried) == 4
        assert journal.last_durable_seq == 0

    run_virtual(main())


def test_expired_lease_is_renewed() -> None:
    """Renew an expired lease unless another process took the run."""

    async def main() -> None:
        store = MoodyStore(LeaseExpired("r", "the lease of run r ran out"))
        journal = await journal_in(store)
        journal.buffer(GraceExpired(1.0))
        await journal.flush()
        assert (store.tried, store.renewed) == ([0, 0], [0])

    run_virtual(main())


def test_lease_is_renewed_in_time() -> None:
    """Renew a lease three times before it would expire."""

    async def main() -> None:
        store = MoodyStore()
        heartbeat = LeaseHeartbeat((await journal_in(store)).renew_lease)
        keeping = asyncio.create_task(heartbeat.renew_until_cancelled())
        await asyncio.sleep(35)
        keeping.cancel()
        await asyncio.wait([keeping])
        assert store.renewed == [10, 20, 30]

    run_virtual(main())


def test_lost_lease_ends_renewal() -> None:
    async def main() -> None:
        store = MoodyStore()
        journal = await journal_in(store)
        await asyncio.sleep(61)
        await store.claim("r", "another", ttl=600)
        with pytest.raises(JournalError):
            await LeaseHeartbeat(journal.renew_lease).renew_until_cancelled()
        journal.buffer(GraceExpired(1.0))
        with pytest.raises(JournalError):
            await journal.flush()

    run_virtual(main())


def test_end_sets_status_and_releases_run() -> None:
    async def main() -> None:
        store = MoodyStore()
        journal = await journal_in(store)
        journal.buffer(GraceExpired(1.0))
        await journal.end({"at": 2.0, "status": "failed", "reason": "error"})
        await journal.release()
        log = await store.load("r")
        assert [(record.kind, record.body) for record in log.records][1] == (
            "ended",
            {"at": 2.0, "status": "failed", "reason": "error"},
        )
        assert (log.head.status, log.head.lease) == ("failed", None)
        await store.claim("r", "another", ttl=60)

    run_virtual(main())


def test_empty_flush_does_not_call_store() -> None:
    async def main() -> None:
        store = MoodyStore()
        journal = await journal_in(store)
        await journal.flush()
        assert store.tried == []
        await asyncio.gather(*(note_and_flush(journal, at) for at in range(5)))
        assert len(store.tried) < 5  # what was noted meanwhile goes with the next
        assert [record.body["at"] for record in (await store.load("r")).records] == [0, 1, 2, 3, 4]

    async def note_and_flush(journal: RunJournal, at: int) -> None:
        journal.buffer(GraceExpired(float(at)))
        await journal.flush()

    run_virtual(main())


# ---- failures of model calls as they are stored --------------------------------------------------
def test_model_failure_has_bounded_length() -> None:
    stored = encode_failure(ModelError("x" * 13_000, model="m", retryable=True, status=429))
    assert (stored["model"], stored["status"]) == ("m", 429)
    assert (stored["usage"], stored["decision"]) == (None, None)
    assert stored["message"] == "x" * 10_000 + "… (3,000 more characters)"


def test_response_is_restored_or_damage_named() -> None:
    response = Response(
        text="hello",
        model="m",
        usage=Usage(3, 2),
        usd=0.5,
        usd_source="table",
        finish_reason="stop",
        attempts=1,
        seconds=0.5,
        first_token_seconds=None,
    )
    assert decode_response(json.loads(json.dumps(encode_response(response)))) == response
    with pytest.raises(
        JournalError, match=r"A stored model response does not fit: .* The journal is damaged\."
    ):
        decode_response({"text": 3})
