"""Damaged bytes of a store never load as something else: they raise a typed error."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphorch.errors import JournalError
from graphorch.journal.errors import JournalDamaged
from graphorch.journal.records import NewRun, Record, RunLog, Snapshot
from graphorch.journal.sqlite.store import SqliteStore
from tests.contracts.store_contract import FakeClock, entries

RUNS = ("run-1", "run-2")
BODIES = {
    run: [{"run": run, "n": number, "text": run * (37 * number % 211)} for number in range(1, 13)]
    for run in RUNS
}


async def write_runs(path: Path, copy_to: Path | None = None) -> None:
    """Write two runs of twelve records each, three per append, in turns.

    The copy is taken while all of it is still in the log.
    """
    store = await SqliteStore.open(path, clock=FakeClock(), sync="normal")
    leases = []
    for run in RUNS:
        await store.create(NewRun(run, "flow", "f", 1, tags={"team": "red"}))
        leases.append(await store.claim(run, "me", ttl=60))
    for last in range(0, 12, 3):
        for lease in leases:
            bodies = BODIES[lease.run_id][last : last + 3]
            await store.append(
                lease, entries(*bodies, after=last), expected_last_seq=last, status=f"at-{last + 3}"
            )
    for lease in leases:
        await store.save_snapshot(lease, Snapshot(6, {"of": lease.run_id}))
    if copy_to is not None:
        _copy(path, copy_to)
    await store.close()


def _copy(path: Path, to: Path) -> None:
    for suffix in ("", "-wal"):
        Path(f"{to}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())


async def read_all(path: Path) -> list[RunLog | Snapshot | JournalError | None]:
    """Return what both runs and their snapshots load as: a log, or the error."""
    store = await SqliteStore.open(path, sync="normal", lock_timeout=0.01)
    try:
        calls = [call for run in RUNS for call in (store.load(run), store.load_snapshot(run))]
        loaded = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await store.close()
    for outcome in loaded:
        if isinstance(outcome, BaseException) and not isinstance(outcome, JournalError):
            raise outcome
    return loaded  # type: ignore[return-value]


# ---------------------------------------------------------------- rows

TAMPERINGS: list[tuple[str, int | None]] = [
    # what is done to run 1 (its row has id 1), and the record that is named
    (("UPDATE records SET body = CAST(replace(body, '\"n\":5', '\"n\":6') AS BLOB) WHERE "
"run = 1 AND seq = 5"), 5),
    ("UPDATE records SET body = CAST(body || ' ' AS BLOB) WHERE run = 1 AND seq = 1", 1),
    ("UPDATE records SET kind = 'call' WHERE run = 1 AND seq = 7", 7),
    ("UPDATE records SET link = zeroblob(32) WHERE run = 1 AND seq = 7", 7),
    ("UPDATE records SET body = NULL WHERE run = 1 AND seq = 8", 8),
    ("UPDATE records SET digest = zeroblob(32) WHERE run = 1 AND seq = 8", 8),
    ("UPDATE records SET body = NULL, digest = zeroblob(32) WHERE run = 1 AND seq = 8", 8),
    ("DELETE FROM records WHERE run = 1 AND seq = 4", 4),
    ("DELETE FROM records WHERE run = 1 AND seq = 1", 1),
    ("DELETE FROM records WHERE run = 1 AND seq = 12", 12),
    ("DELETE FROM records WHERE run = 1 AND seq > 9", 10),
    ("DELETE FROM records WHERE run = 1", 1),
    ("UPDATE runs SET last_seq = 9 WHERE id = 1", 10),
    ("DELETE FROM records WHERE run = 1 AND seq > 9; UPDATE runs SET last_seq = 9 WHERE id = 1", 9),
    ("UPDATE runs SET last_seq = 13 WHERE id = 1", 13),
    (("DELETE FROM records WHERE run = 1 AND seq = 4; UPDATE records SET seq = seq - 1 "
"WHERE run = 1 AND seq > 4"), 4),
    (("UPDATE records SET seq = 100 - seq WHERE run = 1 AND seq IN (4, 5); UPDATE records "
"SET seq = seq - 91 WHERE run = 1 AND seq > 50"), 4),
    (("INSERT INTO records SELECT run, 13, kind, body, digest, link FROM records WHERE run "
"= 1 AND seq = 12; UPDATE runs SET last_seq = 13 WHERE id = 1"), 13),
    (("DELETE FROM records WHERE run = 1 AND seq = 3; UPDATE records SET run = 1 WHERE run "
"= 2 AND seq = 3"), 3),
    (("UPDATE records SET run = run + 2; UPDATE records SET run = 1 WHERE run = 4; UPDATE "
"records SET run = 2 WHERE run = 3"), 1),
    ("UPDATE runs SET flow = 'other' WHERE id = 1", 1),
    ("UPDATE runs SET fingerprint = 'other' WHERE id = 1", 1),
    ("UPDATE runs SET format = 2 WHERE id = 1", 1),
    ("UPDATE runs SET parent = 'run-0' WHERE id = 1", 1),
    ("UPDATE runs SET tags = '{\"team\":\"blue\"}' WHERE id = 1", 1),
    ("UPDATE runs SET tags = '[]' WHERE id = 1", None),
    ("UPDATE runs SET tags = '{\"team\":1}' WHERE id = 1", None),
    ("UPDATE runs SET tags = 'nonsense' WHERE id = 1", None),
    ("UPDATE runs SET created_at = created_at + 1 WHERE id = 1", 1),
    ("UPDATE runs SET created_at = 9e999 WHERE id = 1", 1),
    ("UPDATE runs SET status = 'succeeded' WHERE id = 1", None),
    ("UPDATE runs SET link = zeroblob(32) WHERE id = 1", None),
    ("UPDATE runs SET seal = zeroblob(32) WHERE id = 1", None),
    ("UPDATE runs SET is_erased = 1 WHERE id = 1", None),
    ("UPDATE runs SET salt = zeroblob(16) WHERE id = 1", 1),
    ("UPDATE runs SET salt = zeroblob(99) WHERE id = 1", None),
    ("UPDATE runs SET status = CAST(x'ff' AS TEXT) WHERE id = 1", None),
    ("UPDATE runs SET flow = CAST(x'c3' AS TEXT) WHERE id = 1", 1),
    ("UPDATE runs SET parent = CAST(x'ff' AS TEXT) WHERE id = 1", 1),
    ("UPDATE runs SET tags = CAST(x'ff' AS TEXT) WHERE id = 1", None),
    ("UPDATE records SET kind = CAST(x'ff' AS TEXT) WHERE run = 1 AND seq = 7", 7),
]  # fmt: skip


def tampered(path: Path, script: str) -> None:
    raw = sqlite3.connect(path)
    raw.text_factory = lambda data: data.decode(errors="replace")
    before = list(raw.iterdump())
    raw.executescript(script)
    assert list(raw.iterdump()) != before, (
        "the script changed nothing, so the test would say nothing"
    )
    raw.close()


@pytest.mark.parametrize(("script", "seq"), TAMPERINGS)
def test_altered_rows_are_detected_and_named(tmp_path: Path, script: str, seq: int | None) -> None:
    """An altered, missing or moved row is detected and named."""
    asyncio.run(write_runs(tmp_path / "runs.db"))
    tampered(tmp_path / "runs.db", script)
    log, _, other, _ = asyncio.run(read_all(tmp_path / "runs.db"))
    assert isinstance(log, JournalDamaged)
    assert log.seq == seq
    assert str(log).startswith("Run 'run-1'")
    if "run = 2" not in script:  # one damaged run is no reason to lose another one
        assert isinstance(other, RunLog)
        assert [record.body for record in other.records] == BODIES["run-2"]


@pytest.mark.parametrize(
    "script",
    [
        'UPDATE snapshots SET body = CAST(\'{"of":"run-2"}\' AS BLOB) WHERE run = 1',
        "UPDATE snapshots SET seq = 7 WHERE run = 1",
        "UPDATE snapshots SET seq = 13 WHERE run = 1",
        "UPDATE snapshots SET digest = zeroblob(32) WHERE run = 1",
        "DELETE FROM snapshots WHERE run = 1; UPDATE snapshots SET run = 1 WHERE run = 2",
    ],
)
def test_unfitting_snapshot_is_refused(tmp_path: Path, script: str) -> None:
    """A snapshot that does not fit the chain is refused, and the records load without it."""
    asyncio.run(write_runs(tmp_path / "runs.db"))
    tampered(tmp_path / "runs.db", script)
    log, snapshot, _, _ = asyncio.run(read_all(tmp_path / "runs.db"))
    assert isinstance(snapshot, JournalDamaged)
    assert "load the run without it" in str(snapshot)
    assert isinstance(log, RunLog)
    assert [record.body for record in log.records] == BODIES["run-1"]


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE runs SET status = 'succeeded' WHERE id = 1",
        "UPDATE runs SET status = CAST(x'ff' AS TEXT) WHERE id = 1",
        "UPDATE runs SET tags = CAST(x'c3' AS TEXT) WHERE id = 1",
    ],
)
def test_list_names_damaged_run(script: str, tmp_path: Path) -> None:
    """A list names the damaged run and shows the others, also if its text is no UTF-8."""

    async def listed() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db")
        page = await store.list_runs()
        assert [head.run_id for head in page.runs] == ["run-2"]
        assert page.damaged == ("run-1",)
        with pytest.raises(JournalDamaged):
            await store.claim("run-1", "me", ttl=1)
        await store.close()

    asyncio.run(write_runs(tmp_path / "runs.db"))
    tampered(tmp_path / "runs.db", script)
    asyncio.run(listed())


@pytest.mark.parametrize("run_id", ["", "../x", "a b", "x" * 300])
def test_list_names_run_with_impossible_id(run_id: str, tmp_path: Path) -> None:
    """A run that cannot be loaded, since its id is none, is damaged like any other."""
    asyncio.run(write_runs(tmp_path / "runs.db"))
    tampered(tmp_path / "runs.db", f"UPDATE runs SET run_id = '{run_id}' WHERE id = 1")

    async def listed() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db")
        page = await store.list_runs()
        assert [head.run_id for head in page.runs] == ["run-2"]
        assert page.damaged == (run_id,)
        await store.close()

    asyncio.run(listed())


def test_partial_load_is_verified(tmp_path: Path) -> None:
    """Records after a number are verified from there."""

    async def loaded() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db")
        assert [
            record.body for record in (await store.load("run-1", after_seq=5)).records
        ] == BODIES["run-1"][5:]
        with pytest.raises(JournalDamaged) as caught:
            await store.load("run-1", after_seq=4)
        assert caught.value.seq == 5
        await store.close()

    asyncio.run(write_runs(tmp_path / "runs.db"))
    tampered(
        tmp_path / "runs.db",
        "UPDATE records SET body = CAST('1' AS BLOB) WHERE run = 1 AND seq = 5",
    )
    asyncio.run(loaded())


# ---------------------------------------------------------------- images of the file and its log


async def check_image(path: Path) -> str:
    """Open a damaged image, and return how that ended.

    Each run must be a prefix of what was written that ends with an append, or a typed error.
    """
    try:
        loaded = await read_all(path)
    except JournalError:
        return "not opened"
    worst = "whole"
    for run, log in zip(RUNS, loaded[::2], strict=True):
        if isinstance(log, JournalError):
            worst = "detected"
            continue
        assert isinstance(log, RunLog)
        bodies = [record.body for record in log.records]
        assert bodies == BODIES[run][: len(bodies)]
        assert len(bodies) % 3 == 0
        assert log.head.status == (f"at-{len(bodies)}" if bodies else "running")
        assert (log.head.flow, log.head.tags, log.head.format) == ("flow", {"team": "red"}, 1)
        if len(bodies) < 12 and worst == "whole":
            worst = "prefix"
    for snapshot, run in zip(loaded[1::2], RUNS, strict=True):
        assert (
            snapshot is None
            or isinstance(snapshot, JournalError)
            or snapshot == Snapshot(6, {"of": run})
        )
    return worst


def damage(image: bytes, rng: random.Random) -> bytes:
    """Return an image that is torn, flipped or zeroed somewhere."""
    made = bytearray(image)
    kind = rng.randrange(3)
    if kind == 0:
        return bytes(made[: rng.randrange(len(made))])
    if kind == 1:
        for _ in range(rng.choice([1, 1, 8])):
            made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    else:
        start = rng.randrange(0, len(made), 512)
        made[start : start + 512] = bytes(len(made[start : start + 512]))
    return bytes(made)


async def check_images(tmp_path: Path, count: int, seed: int) -> dict[tuple[str, str], int]:
    """Count how damaged images of the log, and of the file without a log, ended."""
    await write_runs(tmp_path / "runs.db", copy_to=tmp_path / "copy.db")
    images = {
        "log": ((tmp_path / "copy.db").read_bytes(), (tmp_path / "copy.db-wal").read_bytes()),
        "file": ((tmp_path / "runs.db").read_bytes(), b""),
    }
    rng = random.Random(seed)
    ends: dict[tuple[str, str], int] = {}
    for number in range(count):
        what = ("log", "file")[number % 2]
        file, log = images[what]
        path = tmp_path / f"{number}.db"
        _write(
            path,
            damage(file, rng) if what == "file" else file,
            damage(log, rng) if what == "log" else log,
        )
        end = await check_image(path)
        ends[what, end] = ends.get((what, end), 0) + 1
        _remove(path)
    return ends


def _write(path: Path, file: bytes, log: bytes) -> None:
    path.write_bytes(file)
    if log:
        Path(f"{path}-wal").write_bytes(log)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def check_ends(ends: dict[tuple[str, str], int]) -> None:
    """Check that the damage was real: some logs are cut, and damaged pages are noticed."""
    assert ends.get(("log", "prefix"), 0) > 0.3 * sum(
        count for (what, _), count in ends.items() if what == "log"
    )
    assert ends.get(("file", "detected"), 0) + ends.get(("file", "not opened"), 0) > 0.3 * sum(
        count for (what, _), count in ends.items() if what == "file"
    )
    assert ("file", "prefix") not in ends


def test_500_damaged_images_load_safely(tmp_path: Path) -> None:
    """A damaged image loads as a prefix of what was written, or raises a typed error."""
    check_ends(asyncio.run(check_images(tmp_path, 500, seed=1)))


@pytest.mark.slow
def test_5000_damaged_images_load_safely(tmp_path: Path) -> None:
    """A damaged image loads as a prefix of what was written, or raises a typed error."""
    check_ends(asyncio.run(check_images(tmp_path, 5000, seed=2)))


# ---------------------------------------------------------------- nonsense

COLUMNS = {
    "runs": (
        "run_id flow fingerprint format parent tags created_at updated_at status last_seq "
        "link seal salt is_erased owner epoch expires_at"
    ).split(),
    "records": "run seq kind body digest link".split(),
    "snapshots": "run seq body digest".split(),
}
VALUES: Sequence[Any] = (
    None, 0, -1, 2**63 - 1, -(2**63), 1e308, float("inf"), "", "run-1", "../x", "[]", "{}",
    "\0", "x" * 5000, b"", b"{}", b"[" * 5000, b"\xff",
    b'{"lc":1}', bytes(32),
)  # fmt: skip


async def fuzz_rows(tmp_path: Path, cases: int) -> int:
    """Put nonsense into random places of a file, and return how often it was refused."""
    path = tmp_path / "runs.db"
    await write_runs(path)
    store = await SqliteStore.open(path, sync="normal")
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous = OFF")
    raw.text_factory = bytes
    rng, refused = random.Random(3), 0
    for _ in range(cases):
        raw.execute("BEGIN")
        table = rng.choice(list(COLUMNS))
        column = rng.choice(COLUMNS[table])
        place = "run" if table == "snapshots" else "id" if table == "runs" else "rowid"
        raw.execute("PRAGMA ignore_check_constraints = ON")
        try:
            raw.execute(
                f"UPDATE {table} SET {column} = ? WHERE {place} = ?",
                (rng.choice(VALUES), rng.randrange(1, 3)),
            )
        except (sqlite3.IntegrityError, OverflowError):
            raw.execute("ROLLBACK")
            continue
        raw.execute("COMMIT")
        calls = [
            store.load("run-1"), store.load("run-2"), store.load_snapshot("run-1"),
            store.load_snapshot("run-2"), store.list_runs(),
            store.load("run-1", after_seq=1),
        ]  # fmt: skip
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, JournalError):
                refused += 1
            elif isinstance(outcome, BaseException):
                raise outcome
        if rng.random() < 0.3:
            raw.execute("BEGIN")
            for name in COLUMNS:
                raw.execute(f"DELETE FROM {name}")
            raw.execute("COMMIT")
            for number, run in enumerate(RUNS):
                await store.create(NewRun(run, "flow", "f", number))
                lease = await store.claim(run, "me", ttl=60)
                await store.append(
                    lease,
                    [Record(1, "commit", {"a": 1}), Record(2, "commit", [2])],
                    expected_last_seq=0,
                )
                await store.save_snapshot(lease, Snapshot(1, {}))
    raw.close()
    await store.close()
    return refused


def test_nonsense_in_rows_raises_typed_error(tmp_path: Path) -> None:
    """Nonsense in rows is a typed error."""
    assert asyncio.run(fuzz_rows(tmp_path, 300)) > 100


@pytest.mark.slow
def test_much_nonsense_in_rows_raises_typed_error(tmp_path: Path) -> None:
    """Much nonsense in rows is a typed error."""
    assert asyncio.run(fuzz_rows(tmp_path, 10_000)) > 3_000


def nonsense(rng: random.Random, whole: bytes) -> bytes:
    """Return random bytes, some with the magic of SQLite, or a file with a broken first page."""
    kind = rng.randrange(3)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 3000))
    if kind == 1:
        return b"SQLite format 3\0" + rng.randbytes(rng.choice([0, 10, 84, 496, 4080, 12272]))
    made = bytearray(whole)
    for _ in range(rng.randrange(1, 6)):
        made[rng.randrange(rng.choice([100, 400, 4096]))] = rng.randrange(256)
    return bytes(made)


async def fuzz_files(tmp_path: Path, cases: int) -> int:
    await write_runs(tmp_path / "runs.db")
    whole, rng, refused = (tmp_path / "runs.db").read_bytes(), random.Random(4), 0
    for number in range(cases):
        path = tmp_path / f"{number}.db"
        _write(path, nonsense(rng, whole), b"")
        refused += await check_image(path) in ("not opened", "detected")
        _remove(path)
    return refused


def test_nonsense_file_raises_typed_error(tmp_path: Path) -> None:
    """A file of nonsense is a typed error."""
    assert asyncio.run(fuzz_files(tmp_path, 300)) > 200


@pytest.mark.slow
def test_many_nonsense_files_raise_typed_errors(tmp_path: Path) -> None:
    """Many files of nonsense are typed errors."""
    assert asyncio.run(fuzz_files(tmp_path, 10_000)) > 6_000
