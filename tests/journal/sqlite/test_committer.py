"""Commits that need not wait run on the caller's thread, all others on the store's."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch.journal.completion import Completion
from graphorch.journal.errors import AppendConflict, LeaseLost, StoreClosed, StoreLocked
from graphorch.journal.records import Lease
from graphorch.journal.sqlite import committer
from graphorch.journal.sqlite.store import SqliteStore
from tests.contracts.store_contract import Bench, FakeClock, entries

HOLDER = """
import sqlite3, sys
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
raw.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
raw.execute("ROLLBACK")
raw.close()
"""


class Holder:
    """Another process that holds the write lock of a file."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    def let_go(self) -> None:
        self._process.communicate("\n")


async def begin(
    path: Path, *, sync: Literal["full", "normal"] = "normal", **options: Any
) -> tuple[Bench, Lease]:
    clock = FakeClock()
    bench = Bench(
        await SqliteStore.open(path, clock=options.pop("clock", clock), sync=sync, **options), clock
    )
    return bench, await bench.begin()


def soon(bench: Bench, lease: Lease, *bodies: Any, after: int = 0) -> Completion | None:
    return bench.store.append_soon(lease, entries(*bodies, after=after), expected_last_seq=after)


@pytest.fixture
def sent() -> list[tuple[str, str]]:
    """Return a list that `tracing` fills: each statement, with the thread that sent it."""
    return []


def tracing(sent: list[tuple[str, str]]) -> Callable[..., sqlite3.Connection]:
    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **options)
        connection.set_trace_callback(
            lambda text: sent.append((threading.current_thread().name, text))
        )
        return connection

    return connect


def senders(sent: list[tuple[str, str]], statement: str) -> set[str]:
    return {thread for thread, text in sent if text == statement}


# ---------------------------------------------------------------- at once


def test_append_without_sync_commits_at_once(tmp_path: Path, sent: list[tuple[str, str]]) -> None:
    """An append that waits for no disk is committed on return."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db", connect=tracing(sent))
        sent.clear()
        assert soon(bench, lease, "a") is None
        raw = sqlite3.connect(tmp_path / "runs.db")
        assert raw.execute("SELECT count(*) FROM records").fetchone() == (1,)
        raw.close()
        assert senders(sent, "COMMIT") == {threading.current_thread().name}
        await bench.add(lease, "b", after=1)  # and so does the call that may be waited for
        assert senders(sent, "COMMIT") == {threading.current_thread().name}
        assert await bench.bodies() == ["a", "b"]
        await bench.store.close()

    asyncio.run(main())


def test_append_with_sync_waits_on_thread(tmp_path: Path, sent: list[tuple[str, str]]) -> None:
    """An append that waits for the disk does so on the thread."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db", sync="full", connect=tracing(sent))
        sent.clear()
        answer = soon(bench, lease, "a")
        assert answer is not None
        await answer
        assert senders(sent, "COMMIT") == {"graphorch journal writer"}
        assert await bench.bodies() == ["a"]
        await bench.store.close()

    asyncio.run(main())


def test_large_body_goes_to_thread(tmp_path: Path) -> None:
    """A large body goes to the thread."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        answer = soon(bench, lease, "x" * committer.AT_ONCE)
        assert answer is not None
        await answer
        assert soon(bench, lease, "y", after=1) is None
        assert [len(body) for body in await bench.bodies()] == [committer.AT_ONCE, 1]
        await bench.store.close()

    asyncio.run(main())


def test_appends_keep_their_order(tmp_path: Path) -> None:
    """An append never overtakes one that was begun before it."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        large = soon(bench, lease, "x" * committer.AT_ONCE)
        small = soon(bench, lease, "y", after=1)
        assert large is not None
        assert small is not None
        await small
        await asyncio.gather(
            *(
                bench.add(lease, "z" * committer.AT_ONCE * (number == 2), after=number)
                for number in range(2, 5)
            )
        )
        assert soon(bench, lease, "at once", after=5) is None
        assert [body[:1] for body in await bench.bodies()] == ["x", "y", "z", "", "", "a"]
        await bench.store.close()

    asyncio.run(main())


def test_wrong_append_raises_at_once(tmp_path: Path) -> None:
    """A wrong append raises at once, and changes nothing."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        assert soon(bench, lease, "a") is None
        with pytest.raises(AppendConflict):
            soon(bench, lease, "b", after=3)
        assert soon(bench, lease, "a") is None  # the same again is found
        await bench.store.claim("run-1", "me", ttl=60)
        with pytest.raises(LeaseLost):
            soon(bench, lease, "b", after=1)
        assert await bench.bodies() == ["a"]
        await bench.store.close()
        with pytest.raises(StoreClosed):
            soon(bench, lease, "b", after=1)

    asyncio.run(main())


def test_two_event_loops_append_concurrently(tmp_path: Path) -> None:
    """Two event loops append to one store at the same time."""
    store = asyncio.run(SqliteStore.open(tmp_path / "runs.db", sync="normal"))
    lease_of: dict[str, Lease] = {
        run_id: asyncio.run(Bench(store).begin(run_id, owner=run_id, ttl=1e6))
        for run_id in ("run-1", "run-2")
    }

    async def write(run_id: str) -> None:
        for last in range(300):
            answer = store.append_soon(
                lease_of[run_id], entries(last, after=last), expected_last_seq=last
            )
            if answer is not None:
                await answer

    threads = [
        threading.Thread(target=lambda run_id=run_id: asyncio.run(write(run_id)))
        for run_id in lease_of
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run_id in lease_of:
        assert asyncio.run(Bench(store).bodies(run_id)) == list(range(300))
    asyncio.run(store.close())


# ---------------------------------------------------------------- what has to be waited for


def test_locked_file_does_not_block_event_loop(tmp_path: Path) -> None:
    """The event loop goes on while another process writes."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        holder = Holder(tmp_path / "runs.db")
        began = time.perf_counter()
        answer = soon(bench, lease, "a")
        # the file is locked for five seconds at least before anybody gives up
        assert time.perf_counter() - began < 1
        assert answer is not None
        await asyncio.sleep(0.05)
        assert not answer.done()
        assert await bench.bodies() == []
        await asyncio.to_thread(holder.let_go)
        await answer
        assert await bench.bodies() == ["a"]
        assert soon(bench, lease, "b", after=1) is None
        await bench.store.close()

    asyncio.run(main())


def test_file_that_stays_locked_raises(tmp_path: Path) -> None:
    """A file that stays locked raises, and nothing was stored."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db", lock_timeout=0.01)
        holder = Holder(tmp_path / "runs.db")
        answer = soon(bench, lease, "a")
        assert answer is not None
        with pytest.raises(StoreLocked, match="Another process is writing"):
            await answer
        holder.let_go()
        assert await bench.bodies() == []
        assert soon(bench, lease, "a") is None
        await bench.store.close()

    asyncio.run(main())


def test_appends_during_batch_share_next_commit(
    tmp_path: Path, sent: list[tuple[str, str]]
) -> None:
    """Appends that begin during a batch of the thread wait for it and share the next commit."""
    is_slow, entered, let_go, times = (
        threading.Event(),
        threading.Event(),
        threading.Event(),
        FakeClock(),
    )

    def clock() -> float:
        if is_slow.is_set():
            entered.set()
            let_go.wait(10)
        return times.now

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db", clock=clock, connect=tracing(sent))
        others = [await bench.begin(f"run-{number}") for number in range(2, 12)]
        is_slow.set()
        renewing = asyncio.create_task(bench.store.renew(lease, ttl=90))
        await asyncio.to_thread(entered.wait, 10)
        is_slow.clear()
        sent.clear()
        answers = [soon(bench, other, "a") for other in others]
        assert None not in answers
        let_go.set()
        await asyncio.gather(renewing, *(answer for answer in answers if answer is not None))
        assert [text for _, text in sent].count("COMMIT") == 2
        assert soon(bench, lease, "b") is None
        for other in others:
            assert await bench.bodies(other.run_id) == ["a"]
        await bench.store.close()

    asyncio.run(main())


def test_appends_of_same_turn_share_commit(tmp_path: Path, sent: list[tuple[str, str]]) -> None:
    """Appends of one turn of an event loop share a commit and keep their order."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db", sync="full", connect=tracing(sent))
        others = [await bench.begin(f"run-{number}") for number in range(2, 52)]
        sent.clear()
        answers = [soon(bench, other, "a") for other in others]
        await asyncio.gather(*(answer for answer in answers if answer is not None))
        assert [text for _, text in sent].count("COMMIT") == 1
        first = soon(bench, lease, "a")
        await bench.add(lease, "b", after=1)  # comes after what was begun before it
        assert first is not None
        assert first.done()
        second = soon(bench, lease, "c", after=2)
        await bench.store.close()  # finishes what was begun
        assert second is not None
        assert await second is None
        with pytest.raises(StoreClosed):
            soon(bench, lease, "d", after=3)
        again = Bench(await SqliteStore.open(tmp_path / "runs.db"))
        assert await again.bodies() == ["a", "b", "c"]
        await again.store.close()

    asyncio.run(main())


# ---------------------------------------------------------------- the log


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> int:
    """Move the log into the file after a few pages."""
    monkeypatch.setattr(committer, "ROOM", 100)
    return 100


@pytest.mark.parametrize("sync", ["full", "normal"])
def test_thread_checkpoints_log(
    tmp_path: Path, little_room: int, sent: list[tuple[str, str]], sync: Literal["full", "normal"]
) -> None:
    """The log is moved into the file by the thread and does not grow."""
    log, most = tmp_path / "runs.db-wal", 0

    async def main() -> None:
        nonlocal most
        bench, lease = await begin(tmp_path / "runs.db", sync=sync, connect=tracing(sent))
        for last in range(500):
            await bench.add(lease, "x" * 1000, after=last)
            most = max(most, log.stat().st_size)
        assert await bench.bodies() == ["x" * 1000] * 500
        await bench.store.close()

    asyncio.run(main())
    assert senders(sent, "PRAGMA wal_checkpoint(PASSIVE)") == {"graphorch journal writer"}
    assert len([text for _, text in sent if text == "PRAGMA wal_checkpoint(PASSIVE)"]) >= 5
    assert most <= 2 * little_room * 4120 + (1024 * 1024 if sync == "full" else 0)


def test_full_log_being_read_stays(tmp_path: Path, little_room: int) -> None:
    """A full log that is being read stays, and appends go to the thread."""

    async def main() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        raw = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        raw.execute("BEGIN")
        raw.execute("SELECT * FROM runs").fetchall()
        last = 0
        for last in range(80):
            await bench.add(lease, "x" * 1000, after=last)
        assert soon(bench, lease, "y", after=last + 1) is not None
        raw.execute("ROLLBACK")
        raw.close()
        await bench.add(lease, "z", after=last + 2)
        assert soon(bench, lease, "at once", after=last + 3) is None
        assert (await bench.bodies())[-3:] == ["y", "z", "at once"]
        await bench.store.close()

    asyncio.run(main())
