"""What a reader keeps of runs: it reads on, within a bound, and never shows another run."""

from __future__ import annotations

import asyncio
import time

import pytest

from graphorch.journal.errors import RunNotFound
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, RunLog
from graphorch.journal.wrappers import ForwardingStore
from graphorch.views.reading.journal_reader import JournalReader
from tests.trace.running import ran


class CountingStore(ForwardingStore):
    """A store that counts the records that are read."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.read: list[int] = []

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        log = await super().load(run_id, after_seq=after_seq)
        self.read.append(len(log.records))
        return log


async def fill(*run_ids: str) -> MemoryStore:
    store = MemoryStore()
    for run_id in run_ids:
        await ran(run_id, store=store)
    return store


def test_run_is_read_once() -> None:
    """A run that is asked for again is read on from where it was left."""

    async def main() -> None:
        store = CountingStore(await fill("one"))
        reader = JournalReader(store)
        for _ in range(3):
            async with reader.open_run("one") as run:
                assert run.seq == store.read[0]
        assert store.read[1:] == [0, 0]

    asyncio.run(main())


def test_run_stays_as_it_was_read() -> None:
    """A reader that does not follow shows a run that goes on as it was at first."""

    async def main() -> None:
        log = await (await fill("one")).load("one")
        head, store = log.head, MemoryStore()
        await store.create(NewRun("one", head.flow, head.fingerprint, head.format))
        lease = await store.claim("one", "another program", ttl=60.0)
        await store.append(lease, log.records[:3], expected_last_seq=0)
        still, following = JournalReader(store, follows=False), JournalReader(store)
        for expected in (3, len(log.records)):
            async with still.open_run("one") as run:
                assert run.seq == 3
            async with following.open_run("one") as run:
                assert run.seq == expected
            await store.append(lease, log.records[3:], expected_last_seq=3)

    asyncio.run(main())


def test_kept_runs_have_a_bound() -> None:
    """Of many runs, those that were used last are kept, as long as they weigh little enough."""

    async def main() -> None:
        store = CountingStore(await fill("one", "two", "three"))
        reader = JournalReader(store)
        async with reader.open_run("one") as run:
            weight = run.weight
        reader = JournalReader(store, most_weight=int(2.5 * weight))
        for run_id in ("one", "two", "three"):
            async with reader.open_run(run_id):
                pass
            assert reader.weight <= 2.5 * weight
        store.read.clear()
        for run_id in ("three", "two", "one"):
            async with reader.open_run(run_id):
                pass
        assert [count > 0 for count in store.read] == [False, False, True]

    asyncio.run(main())


def test_run_that_is_watched_is_kept() -> None:
    """A run that weighs somewhat more than all that is kept is read on while it is used."""

    async def main() -> None:
        store = CountingStore(await fill("one", "two"))
        reader = JournalReader(store)
        async with reader.open_run("one") as run:
            weight = run.weight
        reader = JournalReader(store, most_weight=weight // 2)
        store.read.clear()
        for run_id in ("one", "one", "two", "one"):
            async with reader.open_run(run_id):
                pass
        assert [count > 0 for count in store.read] == [True, False, True, True]

    asyncio.run(main())


def test_run_beyond_bound_is_read_all_the_same() -> None:
    """A run that weighs more than all that is kept is shown, and then forgotten."""

    async def main() -> None:
        reader = JournalReader(await fill("one"), most_weight=10)
        async with reader.open_run("one") as run:
            assert run.seq > 5
        assert reader.weight == 0

    asyncio.run(main())


def test_run_that_is_gone_is_not_shown() -> None:
    """A run that was pruned is not found, and one that was erased has no content any more."""

    async def main() -> None:
        store = await fill("one", "two")
        reader = JournalReader(store)
        for run_id in ("one", "two"):
            async with reader.open_run(run_id):
                pass
        await store.erase("two")
        async with reader.open_run("two") as run:
            assert run.head.is_erased
            assert all(record.body is None for record in run.records)
        await store.prune(before=1e12, statuses=["succeeded"])
        for run_id in ("one", "two", "three"):
            with pytest.raises(RunNotFound):
                async with reader.open_run(run_id):
                    pass
        assert reader.weight == 0

    asyncio.run(main())


def test_new_run_of_old_id_is_read_anew() -> None:
    """Another run that gets the id of one that was deleted is not taken for it."""

    async def main() -> None:
        store = await fill("one")
        reader = JournalReader(store)
        async with reader.open_run("one") as run:
            before = run.head.created_at
        await store.prune(before=1e12, statuses=["succeeded"])
        await ran("one", 12, store=store)
        async with reader.open_run("one") as run:
            assert run.head.created_at > before
            assert run.trace.status == "failed"

    asyncio.run(main())


def test_views_of_one_run_take_turns() -> None:
    """Two views of one run never see it half read; those of others do not wait."""

    async def main() -> None:
        reader = JournalReader(await fill("one", "two"))
        order: list[str] = []

        async def view(run_id: str, name: str) -> None:
            async with reader.open_run(run_id):
                order.append(f"{name} begins")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                order.append(f"{name} ends")

        await asyncio.gather(view("one", "a"), view("one", "b"), view("two", "c"))
        assert order.index("a ends") < order.index("b begins")
        assert order.index("c begins") < order.index("b begins")

    asyncio.run(main())


def test_run_of_cancelled_view_is_read_anew() -> None:
    """A view that is cancelled may go on in its thread, so that nobody else uses its run."""

    async def main() -> None:
        reader = JournalReader(await fill("one"))
        seen: list[object] = []
        has_begun = asyncio.Event()

        async def view() -> None:
            async with reader.open_run("one") as run:
                seen.append(run)
                has_begun.set()
                await asyncio.to_thread(time.sleep, 0.05)

        task = asyncio.create_task(view())
        await has_begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with reader.open_run("one") as run:
            assert run is not seen[0]

    asyncio.run(main())
