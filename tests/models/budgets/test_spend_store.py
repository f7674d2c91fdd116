"""Stores of spending that several processes share."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from graphorch.clock import Runtime
from graphorch.errors import JournalError, ModelError
from graphorch.models.budgets.ledger import Persistence
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from graphorch.models.policies.rate_bucket import BucketRules, SharedLimits
from graphorch.models.policies.rate_limiter import RateLimiter, RateLimits
from graphorch.models.policies.target import Target, TargetRules
from tests.contracts.spend_contract import Scenario, Spender, every_spending_scenario
from tests.contracts.spend_contract import run as run_scenario
from tests.forks import run_in_fork
from tests.models.fakes import Answer, FakeModel, request_to, status
from tests.models.virtual import run
from tests.open_files import list_open_files


@every_spending_scenario
def test_memory_keeps_contract(check: Scenario) -> None:
    """Spending in memory, which all runs of a process share, keeps the contract."""
    store = MemorySpend()

    async def leave() -> None:
        pass

    run_scenario(check, lambda: Spender(Persistence(store), leave))


@every_spending_scenario
def test_file_keeps_contract(check: Scenario, tmp_path: Path) -> None:
    """A file that the processes of a machine share keeps the contract."""

    def enter() -> Spender:
        store = SqliteSpend(tmp_path / "spend.db")

        async def leave() -> None:
            store.close()

        return Spender(Persistence(store), leave)

    run_scenario(check, enter)


# ---- the file ------------------------------------------------------------------------------------
def list_modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_spend_file_is_private(mode: int | None, tmp_path: Path) -> None:
    """Only the owner can read it, and what SQLite keeps beside it, also if it was open before."""
    path = tmp_path / "spend.db"
    before = os.umask(0)
    try:
        if mode is not None:
            sqlite3.connect(path).close()
            path.touch()
            path.chmod(mode)
        store = SqliteSpend(path)
        store.add("day", (1, 2, 3))
        assert list_modes(tmp_path) == {
            "spend.db": 0o600, "spend.db-wal": 0o600, "spend.db-shm": 0o600,
        }  # fmt: skip
        store.close()
    finally:
        os.umask(before)


def _make_journal(path: Path) -> None:
    import asyncio

    from graphorch.journal.sqlite.store import SqliteStore

    async def make() -> None:
        await (await SqliteStore.open(path)).close()

    asyncio.run(make())


def _make_other_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT)")
    db.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Path.mkdir, "is not a file but a folder"),
        (lambda path: path.symlink_to(path.with_name("nothing")), "nothing is created through"),
        (lambda path: path.write_text("text " * 500), "file is not a database"),
        (_make_journal, "is a database, but not one of spending"),
        (_make_other_database, "is a database, but not one of spending"),
    ],
)
def test_other_file_is_refused(
    make: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    """What is not a file of spending is left as it is."""
    path = tmp_path / "spend.db"
    make(path)
    content = path.read_bytes() if path.is_file() else b""
    with pytest.raises(JournalError, match=problem) as caught:
        SqliteSpend(path)
    assert "`kept` in [budgets]" in str(caught.value)
    assert content == (path.read_bytes() if path.is_file() else b"")


def test_lost_file_is_noticed(tmp_path: Path) -> None:
    """A cap of a day does not begin anew because its file was deleted under the process."""
    path = tmp_path / "spend.db"
    store = SqliteSpend(path)
    store.add("day", (1, 2, 3))
    path.unlink()
    with pytest.raises(JournalError, match="It was deleted or moved while it was open"):
        store.add("day", (1, 2, 3))
    store.close()


def test_spend_file_survives_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path stays what it was when the process goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    store = SqliteSpend("spend.db")
    monkeypatch.chdir("/")
    assert store.add("day", (1, 2, 3)) == (1, 2, 3)
    store.close()


# ---- limits of targets --------------------------------------------------------------------------


OpenTwice: TypeAlias = Callable[[Callable[[], float]], tuple[SqliteSpend, SqliteSpend]]


@pytest.fixture
def open_twice(tmp_path: Path) -> Iterator[OpenTwice]:
    """Return a function that opens one file as two processes would; both are closed at the end."""
    opened: list[SqliteSpend] = []

    def open_both(now: Callable[[], float]) -> tuple[SqliteSpend, SqliteSpend]:
        opened.extend(SqliteSpend(tmp_path / "spend.db", now=now) for _ in range(2))
        return opened[-2], opened[-1]

    yield open_both
    for store in opened:
        store.close()


def test_processes_share_requests_per_minute(open_twice: OpenTwice) -> None:
    """Two processes together send no more requests in a minute than one may."""

    async def main(runtime: Runtime) -> None:
        times: list[float] = []
        for store in open_twice(runtime.clock):
            limiter = RateLimiter("m", RateLimits(rpm=60), runtime, SharedLimits(store, "m"))

            async def call(limiter: RateLimiter = limiter) -> None:
                async with limiter.turn().wait(0, None):
                    times.append(runtime.clock())

            group.extend(asyncio.ensure_future(call()) for _ in range(90))
        await asyncio.gather(*group)
        busiest = max(sum(start <= time < start + 60 for time in times) for start in times)
        assert (len(times), busiest) == (180, pytest.approx(60, abs=6))
        assert busiest <= 60

    group: list[asyncio.Future[None]] = []
    run(main)


def test_processes_share_pauses(open_twice: OpenTwice) -> None:
    """A pause that one process was asked for holds for the other one."""

    async def main(runtime: Runtime) -> None:
        first, second = (
            Target(
                "m",
                FakeModel(status(429, retry_after=20), Answer()),
                rules=TargetRules(shared=SharedLimits(store, "m")),
                runtime=runtime,
            )
            for store in open_twice(runtime.clock)
        )
        with pytest.raises(ModelError, match="429"):
            await first.complete(request_to())
        assert second.limiter.blocked_for == pytest.approx(20, abs=0.1)
        refused = second.check_availability(request_to(), None)
        assert refused is not None
        assert "asked to be left alone" in refused.reason
        await runtime.sleep(20)
        assert (await first.complete(request_to())).text == "fine"

    run(main)


def test_unused_tokens_come_back_to_all(open_twice: OpenTwice) -> None:
    """Tokens that one process took and did not use are there for the other one."""

    async def main(runtime: Runtime) -> None:
        first, second = (
            RateLimiter("m", RateLimits(tpm=6_000), runtime, SharedLimits(store, "m"))
            for store in open_twice(runtime.clock)
        )
        async with first.turn().wait(600, None) as turn:
            turn.settle(10)
        async with second.turn().wait(590, None):
            assert runtime.clock() == 0

    run(main)


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_jumping_clock_locks_no_target(open_twice: OpenTwice, hours: float) -> None:
    """A clock that is set back or ahead does not stop the calls for as long."""
    now = [1_000_000.0]
    store, other = open_twice(lambda: now[0])
    rules = BucketRules.of(60)
    for _ in range(6):
        store.take("m", 1, rules)
    store.pause("m", 30)
    now[0] += hours * 3600
    assert other.take("m", 1, rules) >= 1
    assert other.pause("m", 0) == 0


def test_limits_hold_between_processes(tmp_path: Path) -> None:
    """Four processes that start at once take from one bucket, each amount once."""
    program = (
        "import sys\n"
        "from graphorch.models.budgets.spend_store import SqliteSpend\n"
        "from graphorch.models.policies.rate_bucket import BucketRules\n"
        "store = SqliteSpend(sys.argv[1], now=lambda: 5.0)\n"
        "print(sum(store.take('m', 1, BucketRules(100, 1)) >= 1 for _ in range(50)))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "spend.db")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    taken = [int(process.communicate(timeout=60)[0]) for process in running]
    assert sum(taken) == 100


def test_closed_file_opens_when_used(tmp_path: Path) -> None:
    """A closed store holds no file open; its next use opens it, and counts on."""
    store = SqliteSpend(tmp_path / "spend.db")
    store.add("day", (1, 1, 1))
    store.close()
    assert not list_open_files(tmp_path)
    assert store.add("day", (1, 1, 1)) == (2, 2, 2)
    assert list_open_files(tmp_path)
    store.close()
    store.close()


def test_fork_adds_to_the_same_total(tmp_path: Path) -> None:
    """A forked child adds through a connection of its own, and both see the total of all."""
    store = SqliteSpend(tmp_path / "spend.db")
    assert store.add("day", (1, 1, 1)) == (1, 1, 1)
    assert run_in_fork(lambda: store.add("day", (1, 1, 1)) == (2, 2, 2))
    assert store.add("day", (1, 1, 1)) == (3, 3, 3)
    assert run_in_fork(lambda: store.close() is None)
    assert store.add("day", (0, 0, 0)) == (3, 3, 3)
    store.close()
