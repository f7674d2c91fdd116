"""The store in a SQLite file keeps the contract, and what only a file can get wrong goes right."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch.errors import JournalError
from graphorch.journal.errors import (
    JournalDamaged,
    LeaseLost,
    NewerFormat,
    NotAJournal,
    RunNotFound,
    StoreFull,
    StoreLocked,
    StoreNotOpened,
    StoreReadOnly,
    StoreUnavailable,
)
from graphorch.journal.records import Lease, NewRun, Snapshot
from graphorch.journal.sqlite import statements
from graphorch.journal.sqlite.connection import explain, migrate
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from tests.contracts.store_contract import (
    NEW,
    Bench,
    FakeClock,
    Scenario,
    entries,
    every_scenario,
    run,
)


@every_scenario
def test_contract(check: Scenario, tmp_path: Path) -> None:
    """The store in a SQLite file keeps the contract."""

    async def make(clock: FakeClock) -> Store:
        return await SqliteStore.open(tmp_path / "runs.db", clock=clock, sync="normal")

    run(check, make)


# ---------------------------------------------------------------- the file


def opened(path: Path, **options: Any) -> SqliteStore:
    """Open a store on an event loop that is closed afterwards; others can use it, too."""
    return asyncio.run(SqliteStore.open(path, **options))


def closed(store: SqliteStore) -> None:
    asyncio.run(store.close())


async def begin(
    path: Path, *, sync: Literal["full", "normal"] = "normal", **options: Any
) -> tuple[Bench, Lease]:
    clock = FakeClock()
    bench = Bench(await SqliteStore.open(path, clock=clock, sync=sync, **options), clock)
    return bench, await bench.begin()


def test_new_file_is_private_and_stamped(tmp_path: Path) -> None:
    """A new file is for its owner only and says what it is."""
    store = opened(tmp_path / "runs.db")
    asyncio.run(store.create(NEW))
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "runs.db": 0o600, "runs.db-wal": 0o600, "runs.db-shm": 0o600,
    }  # fmt: skip
    closed(store)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]
    raw = sqlite3.connect(tmp_path / "runs.db")
    assert raw.execute("PRAGMA application_id").fetchone() == (statements.APPLICATION_ID,)
    assert raw.execute("PRAGMA user_version").fetchone() == (statements.FORMAT,)
    raw.close()


def test_file_outlives_store_and_event_loops(tmp_path: Path) -> None:
    """A file outlives its store and one store serves several event loops."""
    path = tmp_path / "with %20 #and ?.db"
    first = opened(path)
    asyncio.run(first.create(NEW))
    lease = asyncio.run(first.claim("run-1", "me", ttl=1e9))
    asyncio.run(first.append(lease, entries("a"), expected_last_seq=0))
    closed(first)
    second = opened(path)
    assert [record.body for record in asyncio.run(second.load("run-1")).records] == ["a"]
    assert repr(second) == f"SqliteStore({str(path)!r})"
    closed(second)


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1)])
def test_sync_option_sets_pragma(
    tmp_path: Path, sync: Literal["full", "normal"], level: int
) -> None:
    """The log is synced as configured."""
    asked: list[sqlite3.Connection] = []

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        asked.append(sqlite3.connect(*arguments, **options))
        return asked[-1]

    store = opened(tmp_path / "runs.db", sync=sync, connect=connect)
    assert [connection.execute("PRAGMA synchronous").fetchone() for connection in asked] == [
        (level,)
    ] * 2
    assert [connection.execute("PRAGMA journal_mode").fetchone() for connection in asked] == [
        ("wal",)
    ] * 2
    closed(store)


def refused(path: Path, **options: Any) -> JournalError:
    """Return the error of a file that does not open, and that stays byte for byte as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(JournalError) as caught:
        opened(path, **options)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert str(path) in str(caught.value)
    return caught.value


def test_newer_format_is_refused(tmp_path: Path) -> None:
    """A file of a later version is refused."""
    path = tmp_path / "runs.db"
    closed(opened(path))
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 8")
    raw.close()
    error = refused(path)
    assert isinstance(error, NewerFormat)
    knows = f"this one knows up to {statements.FORMAT}"
    assert f"has format 8, written by a later version of graphorch; {knows}" in str(error)
    assert "Upgrade graphorch" in str(error)


@pytest.mark.parametrize(
    "script", ["CREATE TABLE t (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]
)
def test_foreign_database_is_refused(tmp_path: Path, script: str) -> None:
    """A database of another program is refused."""
    path = tmp_path / "other.db"
    raw = sqlite3.connect(path)
    raw.execute(script)
    raw.close()
    error = refused(path)
    assert isinstance(error, NotAJournal)
    assert "is a database of another program" in str(error)


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM runs; END",
        "CREATE VIEW v AS SELECT load_extension('x')",
        "CREATE TABLE more (x)",
        "DROP TABLE snapshots",
        "DROP INDEX records_by_run",
    ],
)
def test_foreign_schema_is_refused(tmp_path: Path, script: str) -> None:
    """A file with other tables, a view or a trigger is refused."""
    path = tmp_path / "runs.db"
    closed(opened(path))
    raw = sqlite3.connect(path)
    raw.execute(script)
    raw.close()
    error = refused(path)
    assert isinstance(error, NotAJournal)
    assert "has other tables" in str(error)


@pytest.mark.parametrize("text", ["Dear diary, " * 1000, "x", "SQLite format 3"])
def test_non_database_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is not a database is refused."""
    path = tmp_path / "notes.txt"
    path.write_text(text)
    error = refused(path)
    assert isinstance(error, NotAJournal)
    assert "Choose another path" in str(error)


def test_folder_and_missing_folder_are_refused(tmp_path: Path) -> None:
    """A folder and a missing folder are refused."""
    assert isinstance(refused(tmp_path), StoreNotOpened)
    error = refused(tmp_path / "missing" / "runs.db")
    assert isinstance(error, StoreNotOpened)
    assert "Check that its folder exists" in str(error)
    assert not (tmp_path / "missing").exists()
    with pytest.raises(StoreNotOpened, match="embedded null"):
        opened(tmp_path / "a\0b")


def test_truncated_copy_is_refused(tmp_path: Path) -> None:
    """Half of a copy is refused."""
    path = tmp_path / "runs.db"

    async def filled() -> None:
        bench, lease = await begin(path)
        for number in range(20):
            await bench.add(lease, "x" * 3000, after=number)
        await bench.store.close()

    asyncio.run(filled())
    whole = path.read_bytes()
    for part in range(1, len(whole), len(whole) // 17):
        path.write_bytes(whole[:part])
        assert isinstance(refused(path), JournalDamaged | NotAJournal)


def test_empty_file_becomes_store(tmp_path: Path) -> None:
    """An empty file becomes a store."""
    (tmp_path / "runs.db").touch()
    closed(opened(tmp_path / "runs.db"))
    closed(opened(tmp_path / "runs.db"))


ADD_NOTE = "ALTER TABLE runs ADD COLUMN note TEXT"


def test_failed_migration_keeps_format() -> None:
    """A migration that fails leaves the format as it was."""
    raw, now = sqlite3.connect(":memory:", isolation_level=None), statements.FORMAT
    migrate(raw)
    with pytest.raises(sqlite3.OperationalError):
        migrate(
            raw,
            {
                now: (ADD_NOTE, f"PRAGMA user_version = {now + 1}"),
                now + 1: ("CREATE TABLE runs (x)",),
            },
        )
    assert raw.execute("PRAGMA user_version").fetchone() == (now,)
    migrate(
        raw,
        {
            now: (ADD_NOTE, f"PRAGMA user_version = {now + 1}"),
            now + 1: (f"PRAGMA user_version = {now + 2}",),
        },
    )
    assert raw.execute("PRAGMA user_version").fetchone() == (now + 2,)
    raw.close()


def test_file_of_format_5_gets_queues(tmp_path: Path) -> None:
    """A file whose regions had no queue gets one, and keeps who is in a region."""
    raw = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    migrate(raw, {format: steps for format, steps in statements.MIGRATIONS.items() if format < 5})
    raw.execute("INSERT INTO regions (name, run_id, epoch) VALUES ('db', 'run-1', 1)")
    raw.close()

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db")
        for run_id in ("run-1", "run-2"):
            await store.create(NewRun(run_id, "flow", "f", 6))
        one, two = [await store.claim(f"run-{number}", "me", ttl=60) for number in (1, 2)]
        assert not await store.enter_regions(two, ["db"])
        await store.leave_regions(one, ["db"])
        assert await store.enter_regions(two, ["db"])
        await store.close()

    asyncio.run(main())


def test_locked_new_file_raises(tmp_path: Path) -> None:
    """A new file that another process holds raises."""
    raw = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    raw.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreLocked, match="raise `lock_timeout`"):
        opened(tmp_path / "runs.db", lock_timeout=0.001)
    raw.close()


def test_concurrent_first_opens_succeed(tmp_path: Path) -> None:
    """Stores that open a new file at the same time all succeed."""

    async def all_opened() -> list[SqliteStore]:
        return await asyncio.gather(*(SqliteStore.open(tmp_path / "runs.db") for _ in range(8)))

    async def all_closed(stores: list[SqliteStore]) -> None:
        for number, store in enumerate(stores):
            await store.create(replace(NEW, run_id=f"run-{number}"))
        assert len((await stores[0].list_runs()).runs) == 8
        for store in stores:
            await store.close()

    asyncio.run(all_closed(asyncio.run(all_opened())))


def test_two_stores_append_concurrently(tmp_path: Path) -> None:
    """Two stores of one file append at the same time."""

    async def shared() -> None:
        stores = [await SqliteStore.open(tmp_path / "runs.db", sync="normal") for _ in range(2)]

        async def write(store: Store, run_id: str) -> None:
            bench = Bench(store)
            lease = await bench.begin(run_id, owner=run_id)
            for last in range(10):
                await bench.add(lease, {run_id: last}, after=last)

        await asyncio.gather(*(write(stores[number % 2], f"run-{number}") for number in range(20)))
        for number in range(20):
            log = await stores[(number + 1) % 2].load(f"run-{number}")
            assert [record.body for record in log.records] == [
                {f"run-{number}": last} for last in range(10)
            ]
        for store in stores:
            await store.close()

    asyncio.run(shared())


def test_cached_run_sees_other_store(tmp_path: Path) -> None:
    """A store caches its runs until another connection writes to the file."""

    async def shared() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        await bench.add(lease, "a")
        other = Bench(
            await SqliteStore.open(tmp_path / "runs.db", sync="normal", clock=bench.clock),
            bench.clock,
        )
        await other.add(lease, "b", after=1)
        await bench.add(lease, "c", after=2)
        bench.clock.now += 100
        taken = await other.store.claim("run-1", "other", ttl=1)
        with pytest.raises(LeaseLost):
            await bench.add(lease, "d", after=3)
        await other.add(taken, "e", after=3, status="succeeded")
        assert await bench.bodies() == ["a", "b", "c", "e"]
        bench.clock.now += 100
        await other.store.prune(before=bench.clock.now, statuses=["succeeded"])
        with pytest.raises(RunNotFound):
            await bench.add(lease, "f", after=4)
        await other.store.close()
        await bench.store.close()

    asyncio.run(shared())


# ---------------------------------------------------------------- when SQLite says no


def test_locked_file_raises_until_free(tmp_path: Path) -> None:
    """A file that another process holds raises, and can be used once it is free."""

    async def held() -> None:
        bench, lease = await begin(tmp_path / "runs.db", lock_timeout=0.001)
        raw = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        raw.execute("BEGIN IMMEDIATE")
        outcomes = await asyncio.gather(
            bench.add(lease, "a"), bench.begin("run-2"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreLocked] * 2
        assert "runs.db': SQLite says: database is locked. Another process is writing" in str(
            outcomes[0]
        )
        assert await bench.bodies() == []
        reader = await SqliteStore.open(tmp_path / "runs.db", lock_timeout=0.001)
        assert (await reader.load("run-1")).records == ()
        await reader.close()
        raw.execute("ROLLBACK")
        raw.close()
        await bench.add(lease, "a")
        assert await bench.bodies() == ["a"]
        await bench.store.close()

    asyncio.run(held())


def small_disk(pages: int) -> Callable[..., sqlite3.Connection]:
    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    return connect


def test_full_disk_raises_and_keeps_data(tmp_path: Path) -> None:
    """A full disk raises, and what is stored stays."""

    async def filled(path: Path, pages: int) -> int:
        bench, lease = await begin(path, connect=small_disk(pages))
        added = 0
        full = None
        while full is None:
            try:
                await bench.add(lease, added, "x" * 2000, after=2 * added)
                added += 1
            except StoreFull as error:
                full = str(error)
        assert full.endswith("Nothing was stored. Free some room, or delete old runs with `prune`.")
        raw = sqlite3.connect(path, isolation_level=None, timeout=0)
        raw.execute("BEGIN IMMEDIATE")  # what failed holds nobody up
        raw.close()
        assert await bench.bodies() == [
            part for number in range(added) for part in (number, "x" * 2000)
        ]
        await bench.store.close()
        return added

    counts = [asyncio.run(filled(tmp_path / f"{pages}.db", pages)) for pages in range(20, 32, 2)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_oversized_append_fails_alone(tmp_path: Path) -> None:
    """Small appends succeed in the transaction in which a large one fails."""

    async def shared() -> None:
        bench, lease = await begin(tmp_path / "runs.db", connect=small_disk(24))
        others = [await bench.begin(f"run-{number}") for number in range(2, 6)]
        outcomes = await asyncio.gather(
            *(bench.add(other, "small") for other in others[:2]),
            bench.add(lease, "x" * 200_000),
            *(bench.add(other, "small") for other in others[2:]),
            return_exceptions=True,
        )  # fmt: skip
        assert [type(outcome) for outcome in outcomes] == [
            type(None),
            type(None),
            StoreFull,
            type(None),
            type(None),
        ]
        assert [await bench.bodies(f"run-{number}") for number in range(1, 6)] == [
            [],
            ["small"],
            ["small"],
            ["small"],
            ["small"],
        ]
        await bench.store.close()

    asyncio.run(shared())


class FailingConnection(sqlite3.Connection):
    """Connection whose n-th statement fails: before it runs, or after it ran."""

    countdown = -1
    after = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.countdown -= 1
        if self.countdown == 0 and not self.after:
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(*arguments)
        if self.countdown == 0:
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


@pytest.mark.parametrize("sync", ["full", "normal"])
@pytest.mark.parametrize("after", [False, True], ids=["not run", "run"])
def test_failed_statement_is_retried(
    tmp_path: Path, after: bool, sync: Literal["full", "normal"]
) -> None:
    """A statement that fails on the caller's thread is retried on the store's, without an error."""
    made: list[FailingConnection] = []

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made.append(sqlite3.connect(*arguments, factory=FailingConnection, **options))
        return made[-1]

    async def failed_at(number: int) -> bool:
        bench, lease = await begin(tmp_path / f"{number}.db", connect=connect, sync=sync)
        writing = made[-2]
        writing.after, writing.countdown = after, number
        failed = False
        for _ in range(3):
            try:
                await bench.add(lease, "a", "b", status="waiting")
            except JournalError:
                failed = True
        writing.countdown = -1
        await bench.add(lease, "a", "b", status="waiting")
        log = await bench.store.load("run-1")
        assert ([record.body for record in log.records], log.head.status) == (["a", "b"], "waiting")
        await bench.store.close()
        return failed

    outcomes = [asyncio.run(failed_at(number)) for number in range(1, 10)]
    assert (outcomes.count(True) >= 5) if sync == "full" else not any(outcomes)


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("reported by SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreLocked, "Stop it, or raise `lock_timeout`"),
        (sqlite3.SQLITE_FULL, StoreFull, "Free some room"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, StoreReadOnly, "Allow this user to write"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, StoreNotOpened, "Check that the folder exists"),
        (sqlite3.SQLITE_NOTADB, NotAJournal, "Choose another path"),
        (sqlite3.SQLITE_CORRUPT_INDEX, JournalDamaged, "copy the '-wal' file along"),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable, "Repeat the call"),
    ],
)
def test_sqlite_errors_are_explained(code: int, kind: type[JournalError], advice: str) -> None:
    """An error of SQLite is explained with what to do."""
    error = explain(sqlite_error(code), Path("runs.db"))
    assert type(error) is kind
    assert "runs.db" in str(error)
    assert "reported by SQLite" in str(error) or kind is NotAJournal
    assert advice in str(error)


def test_read_only_file_can_be_read(tmp_path: Path) -> None:
    """A read-only file can be read; a write explains why it fails."""
    path = tmp_path / "runs.db"
    closed(opened(path))

    def connect(address: str, **options: Any) -> sqlite3.Connection:
        return sqlite3.connect(address.replace("mode=rw", "mode=ro"), **options)

    store = opened(path, connect=connect)
    assert asyncio.run(store.list_runs()).runs == ()
    with pytest.raises(StoreReadOnly, match="Allow this user to write the file and its folder"):
        asyncio.run(store.create(NEW))
    closed(store)


# ---------------------------------------------------------------- sharing commits


def test_concurrent_appends_share_commit(tmp_path: Path) -> None:
    """Appends at the same time share a commit."""
    traced: list[str] = []

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(*arguments, **options)
        connection.set_trace_callback(traced.append)
        return connection

    async def shared() -> None:
        bench, _ = await begin(tmp_path / "runs.db", connect=connect, sync="full")
        leases = [await bench.begin(f"many-{number}") for number in range(50)]
        traced.clear()
        await asyncio.gather(*(bench.add(lease, "a") for lease in leases))
        assert traced.count("COMMIT") <= 3
        await bench.store.close()

    asyncio.run(shared())


def test_faulty_operation_fails_alone(
    tmp_path: Path,
) -> None:
    """An operation with a bug fails its caller alone and the store goes on."""

    async def broken() -> None:
        bench, lease = await begin(tmp_path / "runs.db")
        other = await bench.begin("run-2")
        # what a broken clock says
        ticks = iter([bench.clock.now, None, None, *[bench.clock.now] * 9])
        store = await SqliteStore.open(tmp_path / "runs.db", clock=lambda: next(ticks))  # type: ignore[arg-type,return-value]
        outcomes = await asyncio.gather(
            store.append(lease, entries("a"), expected_last_seq=0),
            store.append(other, entries("b"), expected_last_seq=0),
            return_exceptions=True,
        )
        assert TypeError in [type(outcome) for outcome in outcomes]
        for item in (lease, other):
            await store.append(item, entries("a" if item is lease else "b"), expected_last_seq=0)
        assert [await bench.bodies("run-1"), await bench.bodies("run-2")] == [["a"], ["b"]]
        await store.close()
        await bench.store.close()

    asyncio.run(broken())


def test_faulty_operation_releases_file(tmp_path: Path) -> None:
    """An operation with a bug lets go of the file."""

    async def broken() -> None:
        bench, lease = await begin(tmp_path / "runs.db", lock_timeout=0.001)
        store = await SqliteStore.open(tmp_path / "runs.db", clock=lambda: None)  # type: ignore[arg-type,return-value]
        with pytest.raises(TypeError):
            await store.append(lease, entries("a"), expected_last_seq=0)
        await bench.add(lease, "a")
        await store.close()
        await bench.store.close()

    asyncio.run(broken())


def test_closed_event_loop_affects_no_others(tmp_path: Path) -> None:
    """An event loop that was closed does not affect others."""
    store = opened(tmp_path / "runs.db")
    asyncio.run(store.create(NEW))
    loop = asyncio.new_event_loop()
    task = loop.create_task(store.claim("run-1", "me", ttl=1))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert asyncio.run(store.claim("run-1", "me", ttl=1)).epoch == 2
    closed(store)


# ---------------------------------------------------------------- deleting


def holders(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in sorted(folder.iterdir()) if text in path.read_bytes()]


@pytest.mark.parametrize("how", ["erase", "prune"])
def test_erased_content_leaves_files(tmp_path: Path, how: str) -> None:
    """Deleted content is in no file."""

    async def deleted() -> list[str]:
        bench, lease = await begin(tmp_path / "runs.db")
        for number in range(5):
            await bench.add(lease, {"text": "canary-of-run-1 " * 10 ** (number % 4)}, after=number)
        await bench.store.save_snapshot(lease, Snapshot(3, ["canary-of-run-1"]))
        other = await bench.begin("run-2")
        await bench.add(other, "something else")
        assert holders(tmp_path, b"canary-of-run-1") != []
        await bench.store.release(lease)
        if how == "erase":
            await bench.store.erase("run-1")
            files = holders(tmp_path, b"canary-of-run-1")
        else:
            await bench.store.prune(before=bench.clock.now + 1, statuses=["running"])
            await bench.store.close()
            files = holders(tmp_path, b"canary-of-run-1")
        assert holders(tmp_path, b"something else") != []
        await bench.store.close()
        return files

    assert asyncio.run(deleted()) == []


def test_erase_with_reader_raises_locked(tmp_path: Path) -> None:
    """Erasing while another process reads the log raises that the content is still there."""

    async def erased() -> None:
        bench, lease = await begin(tmp_path / "runs.db", lock_timeout=0.001)
        await bench.add(lease, "canary-of-run-1")
        await bench.store.release(lease)
        raw = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        raw.execute("BEGIN")
        raw.execute("SELECT * FROM runs").fetchall()
        with pytest.raises(StoreLocked, match="Erase the run again"):
            await bench.store.erase("run-1")
        raw.execute("ROLLBACK")
        raw.close()
        await bench.store.erase("run-1")
        assert holders(tmp_path, b"canary-of-run-1") == []
        await bench.store.close()

    asyncio.run(erased())
