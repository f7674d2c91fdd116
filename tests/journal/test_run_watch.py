"""Owners of runs are woken by letters, and looking for them costs little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreUnavailable
from graphorch.journal.run_watch import MAIL_LOOK_SECONDS, MailWatch
from graphorch.testing.virtual_clock import run_virtual


class Storage:
    """What a watch sees of a storage; `reads` counts how often the newest number was read."""

    def __init__(self, mark: object = 0) -> None:
        self.mark = mark
        self.newest = 0
        self.reads = 0
        self.is_busy = False

    def read_newest(self, take: Callable[[int], None]) -> Completion:
        self.reads += 1
        if self.is_busy:
            raise StoreUnavailable("it is busy")
        take(self.newest)
        done = Completion()
        done.set_result(None)
        return done

    def write(self, newest: int) -> None:
        """Write as another process does."""
        self.mark, self.newest = object(), newest

    def watch(self) -> MailWatch:
        return MailWatch(self.read_newest, lambda: self.mark)


def test_letter_of_other_process_wakes_all() -> None:
    """A new number in the storage wakes every run that is watched, within a look."""
    storage, woken = Storage(), list[str]()

    async def main() -> None:
        watch = storage.watch()
        ends = [watch.watch(name, lambda name=name: woken.append(name)) for name in ("r", "s")]
        await asyncio.sleep(1)
        woken.clear()
        storage.write(7)
        await asyncio.sleep(1.5 * MAIL_LOOK_SECONDS)
        assert woken == ["r", "s"]
        for end in ends:
            end()

    run_virtual(main())


def test_unchanged_storage_is_seldom_read() -> None:
    """Without a write the number is read about once a second, and nobody is woken."""
    storage, woken = Storage(), list[str]()

    async def main() -> None:
        end = storage.watch().watch("r", lambda: woken.append("r"))
        await asyncio.sleep(1)
        woken.clear()
        before = storage.reads
        await asyncio.sleep(10)
        assert 5 <= storage.reads - before <= 12
        storage.mark = object()  # a write without a letter
        await asyncio.sleep(1)
        assert woken == []
        end()

    run_virtual(main())


def test_busy_storage_is_read_later() -> None:
    """A look that fails is made up for."""
    storage, woken = Storage(), list[str]()

    async def main() -> None:
        end = storage.watch().watch("r", lambda: woken.append("r"))
        await asyncio.sleep(1)
        woken.clear()
        storage.is_busy = True
        storage.write(1)
        await asyncio.sleep(0.5)
        storage.is_busy = False
        await asyncio.sleep(1.5)
        assert woken == ["r"]
        end()

    run_virtual(main())


def test_posted_letter_wakes_its_run_alone() -> None:
    """A letter through this store wakes who watches its run, also twice, and nobody else."""
    watch, woken = Storage(mark=None).watch(), list[str]()

    async def main() -> None:
        ends = [watch.watch(name, lambda name=name: woken.append(name)) for name in "rrs"]
        watch.notify("r")
        await asyncio.sleep(0)
        assert woken == ["r", "r"]
        ends[0]()
        watch.notify("r")
        await asyncio.sleep(0)
        assert woken == ["r", "r", "r"]
        for end in ends[1:]:
            end()

    run_virtual(main())


def test_ended_watch_looks_no_more() -> None:
    """Once nothing is watched, no timer is left, and watching begins anew afterwards."""
    storage, reads = Storage(), 0

    async def main() -> None:
        nonlocal reads
        watch = storage.watch()
        for _ in range(2):
            watch.watch("r", lambda: None)()
            reads = storage.reads
            await asyncio.sleep(5)
            assert storage.reads == reads
        end = watch.watch("r", lambda: None)
        await asyncio.sleep(5)
        assert storage.reads > reads
        end()

    run_virtual(main())
