"""Keyed chains: a person who can write the file but does not know the key cannot alter a run."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.journal import codec
from graphorch.journal.chain_key import VARIABLE, build_key, read_key
from graphorch.journal.errors import InvalidName, JournalDamaged, RunExists, WrongKey
from graphorch.journal.records import NewRun, Pruned, Record, RunQuery, Snapshot
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.journal.wrappers import MaskedStore
from graphorch.trace import SpanIndex
from graphorch.trace.analysis import statistics
from tests.contracts.store_contract import FakeClock, Scenario, entries, every_scenario, run

KEY, OTHER = "correct horse battery staple", "another key"
GOLDEN = Path(__file__).parents[1] / "golden"


@every_scenario
def test_contract(check: Scenario, tmp_path: Path) -> None:
    """A store with a key keeps the contract."""

    async def make(clock: FakeClock) -> Store:
        return await SqliteStore.open(tmp_path / "runs.db", clock=clock, sync="normal", key=KEY)

    run(check, make)


async def write_run(path: Path, run_id: str = "run-1", key: str | None = KEY) -> None:
    """Write a run of three records and a snapshot."""
    store = await SqliteStore.open(path, key=key)
    await store.create(NewRun(run_id, "flow", "f", 1, tags={"team": "red"}))
    lease = await store.claim(run_id, "me", ttl=60)
    await store.append(lease, entries("a", "b"), expected_last_seq=0)
    await store.save_snapshot(lease, Snapshot(2, {"of": run_id}))
    await store.append(lease, entries("c", after=2), expected_last_seq=2, status="succeeded")
    await store.release(lease)
    await store.close()


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("secret", ["", "  ", "\n", b""])
def test_empty_key_is_refused(secret: str | bytes) -> None:
    """A variable that is set but empty is a mistake, and not a journal without a key."""
    with pytest.raises(InvalidName, match=r"empty\. Give \$GRAPHORCH_JOURNAL_KEY"):
        build_key(secret)
    if isinstance(secret, str):
        with pytest.raises(InvalidName, match="or do not set it"):
            read_key({VARIABLE: secret})


def test_key_is_read_from_environment() -> None:
    """Any other text is a key, also one that is not UTF-8; without the variable there is none."""
    assert read_key({}) is None
    key = read_key({VARIABLE: "\udcffx"})
    assert key is not None
    assert key.secret == b"\xffx"
    assert build_key("k") == build_key(b"k") != build_key("k ")


def test_key_is_never_shown() -> None:
    """Neither the key nor an error shows the secret; the id does not hold it."""
    key = build_key(KEY)
    assert KEY not in repr(key)
    assert KEY.encode() not in key.id
    assert KEY not in str(WrongKey("r", key.id, build_key(OTHER).id))


# ---------------------------------------------------------------- who may read


def test_variable_is_key_of_opened_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without a `key` argument has the key of the environment."""
    path = tmp_path / "runs.db"
    monkeypatch.setenv(VARIABLE, KEY)
    asyncio.run(write_run(path, key=None))

    async def read(key: str) -> bool:
        store = await SqliteStore.open(path, key=key)
        try:
            return (await store.load("run-1")).head.is_keyed
        finally:
            await store.close()

    assert asyncio.run(read(KEY))
    with pytest.raises(WrongKey):
        asyncio.run(read(OTHER))


@pytest.mark.parametrize(("key", "problem"), [(None, "and none is set"), (OTHER, "by another key")])
def test_keyed_run_is_refused_without_its_key(
    key: str | None, problem: str, tmp_path: Path
) -> None:
    """Every call that reads or changes it raises `WrongKey`; the list names it."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        await write_run(path)
        await write_run(path, "mine", key)
        store = await SqliteStore.open(path, key=key)
        for call in (
            lambda: store.load("run-1"),
            lambda: store.load("run-1", after_seq=2),
            lambda: store.load_snapshot("run-1"),
            lambda: store.claim("run-1", "me", ttl=1),
            lambda: store.erase("run-1"),
            lambda: store.create(NewRun("run-1", "flow", "f", 1, tags={"team": "red"})),
        ):
            with pytest.raises(WrongKey, match=problem) as caught:
                await call()
            assert "Set GRAPHORCH_JOURNAL_KEY to the key" in str(caught.value)
        page = await store.list_runs(RunQuery())
        assert [head.run_id for head in page.runs] == ["mine"]
        assert (page.damaged, page.refused) == ((), ("run-1",))
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("key", [None, OTHER])
def test_pruning_keeps_runs_of_other_key(key: str | None, tmp_path: Path) -> None:
    """Runs of a key that is not at hand are kept and named, however many go before them."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        for number in range(3):
            await write_run(path, f"theirs-{number}")
        await write_run(path, "plain", None)
        if key:
            await write_run(path, "mine", key)
        theirs = ("theirs-0", "theirs-1", "theirs-2")
        store = await SqliteStore.open(path, key=key)
        old = time.time() + 1
        nothing = await store.prune(before=0, statuses=["succeeded"])
        assert nothing == Pruned(0)
        pruned = await store.prune(before=old, statuses=["succeeded"])
        assert pruned == Pruned(2 if key else 1, theirs)
        assert (await store.list_runs()).refused == theirs[::-1]
        assert await store.prune(before=old, statuses=["failed"]) == Pruned(0)
        await store.close()
        owner = await SqliteStore.open(path, key=KEY)
        assert await owner.load("theirs-0")
        assert await owner.prune(before=old, statuses=["succeeded"]) == Pruned(3)
        await owner.close()

    asyncio.run(main())


def test_pruning_of_any_key_needs_no_key(tmp_path: Path) -> None:
    """Runs of a lost key can be deleted, if that is asked for."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        await write_run(path)
        store = await SqliteStore.open(path)
        pruned = await store.prune(before=time.time() + 1, statuses=["succeeded"], any_key=True)
        assert pruned == Pruned(1)
        assert (await store.list_runs()).refused == ()
        await store.close()

    asyncio.run(main())


def test_owner_with_other_key_cannot_append(tmp_path: Path) -> None:
    """A lease is not enough: the store that appends must have the key of the run."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", key=KEY)
        other = await SqliteStore.open(tmp_path / "runs.db", key=OTHER)
        await store.create(NewRun("run-1", "flow", "f", 1))
        lease = await store.claim("run-1", "me", ttl=60)
        with pytest.raises(WrongKey):
            await other.append(lease, entries("a"), expected_last_seq=0)
        with pytest.raises(WrongKey):
            await other.save_snapshot(lease, Snapshot(1, "x"))
        await store.append(lease, entries("a"), expected_last_seq=0)
        await other.close()
        await store.close()

    asyncio.run(main())


def test_unkeyed_run_is_read_and_labelled(tmp_path: Path) -> None:
    """With a key set, a run that has none is read and continued, and says that it has none."""

    async def main() -> None:
        await write_run(tmp_path / "runs.db", key=None)
        store = await SqliteStore.open(tmp_path / "runs.db", key=KEY)
        assert not (await store.load("run-1")).head.is_keyed
        lease = await store.claim("run-1", "me", ttl=60)
        await store.append(lease, entries("d", after=3), expected_last_seq=3)
        log = await store.load("run-1")
        assert (log.head.is_keyed, len(log.records)) == (False, 4)
        await store.close()
        bare = await SqliteStore.open(tmp_path / "runs.db")
        assert len((await bare.load("run-1")).records) == 4
        await bare.close()

    asyncio.run(main())


def test_run_can_be_created_without_key(tmp_path: Path) -> None:
    """A run that must not have the key has none, and the call can be repeated."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", key=KEY)
        new = NewRun("run-1", "flow", "f", 1, is_keyed=False)
        for _ in range(2):
            assert not (await store.create(new)).is_keyed
        with pytest.raises(RunExists, match="flow is"):
            await store.create(replace(new, flow="other"))
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("format", [1, 2])
def test_golden_journal_is_unkeyed(format: int, tmp_path: Path) -> None:
    """A journal of a released format reads as before when a key is set, and is labelled."""
    path = tmp_path / "runs.db"
    path.write_bytes((GOLDEN / f"format_{format}" / "finished.golden").read_bytes())

    async def main() -> None:
        store = await SqliteStore.open(path, key=KEY)
        (head,) = (await store.list_runs()).runs
        assert not head.is_keyed
        assert (await store.load(head.run_id)).records
        await store.close()

    asyncio.run(main())


def test_erased_keyed_run_stays_protected(tmp_path: Path) -> None:
    """The hashes that are left can be verified only with the key."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        await write_run(path)
        store = await SqliteStore.open(path, key=KEY)
        await store.erase("run-1")
        log = await store.load("run-1")
        assert log.head.is_keyed
        assert log.head.is_erased
        assert [record.is_erased for record in log.records] == [True] * 3
        await store.close()
        other = await SqliteStore.open(path)
        with pytest.raises(WrongKey):
            await other.load("run-1")
        await other.close()

    asyncio.run(main())


def test_masked_store_is_keyed(tmp_path: Path) -> None:
    """A store around a store with a key makes keyed runs."""

    async def main() -> None:
        inner = await SqliteStore.open(tmp_path / "runs.db", key=KEY)
        store = MaskedStore(inner, lambda body: body)
        assert (await store.create(NewRun("run-1", "flow", "f", 1))).is_keyed
        await store.close()

    asyncio.run(main())


# ---------------------------------------------------------------- forgery


def _chain_again(db: sqlite3.Connection, secret: bytes | None) -> None:
    """Compute the chain of run 1 anew, as a person can who knows all but the key."""
    (run_id, flow, fingerprint, format, parent, tags, created, salt, erased) = db.execute(
        "SELECT run_id, flow, fingerprint, format, parent, tags, created_at, salt, is_erased "
        "FROM runs WHERE id = 1"
    ).fetchone()
    header = [run_id, flow, fingerprint, format, parent, codec.load(tags.encode()), repr(created)]
    link = codec.first_link(header, secret)
    last = 0
    for seq, kind, body in db.execute(
        "SELECT seq, kind, body FROM records WHERE run = 1 ORDER BY seq"
    ).fetchall():
        link = codec.next_link(link, seq, kind, codec.digest(body, salt), secret)
        db.execute("UPDATE records SET link = ? WHERE run = 1 AND seq = ?", (link, seq))
        last = seq
    (status,) = db.execute("SELECT status FROM runs WHERE id = 1").fetchone()
    db.execute(
        "UPDATE runs SET link = ?, last_seq = ?, seal = ? WHERE id = 1",
        (link, last, codec.seal(link, status, bool(erased), secret)),
    )


def _change_body(db: sqlite3.Connection) -> None:
    db.execute("UPDATE records SET body = CAST('\"forged\"' AS BLOB) WHERE run = 1 AND seq = 2")


def _drop_last(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM records WHERE run = 1 AND seq = 3")


def _change_status(db: sqlite3.Connection) -> None:
    db.execute("UPDATE runs SET status = 'failed' WHERE id = 1")


def _change_header(db: sqlite3.Connection) -> None:
    db.execute('UPDATE runs SET tags = \'{"team":"blue"}\' WHERE id = 1')


def _add_record(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO records VALUES (1, 4, 'commit', CAST('1' AS BLOB), NULL, zeroblob(32))")


@pytest.mark.parametrize("secret", [None, b"a guess"])
@pytest.mark.parametrize(
    "forge",
    [_change_body, _drop_last, _change_status, _change_header, _add_record],
    ids=lambda forge: forge.__name__.strip("_"),
)
def test_forgery_needs_the_key(
    forge: Callable[[sqlite3.Connection], None], secret: bytes | None, tmp_path: Path
) -> None:
    """A chain that was computed again hides a forgery in a plain journal, not in a keyed one."""

    async def load(path: Path, key: str | None) -> tuple[Record, ...]:
        store = await SqliteStore.open(path, key=key)
        try:
            return (await store.load("run-1")).records
        finally:
            await store.close()

    for name, key in (("plain.db", None), ("keyed.db", KEY)):
        path = tmp_path / name
        asyncio.run(write_run(path, key=key))
        with sqlite3.connect(path, isolation_level=None) as db:
            forge(db)
            _chain_again(db, None if key is None else secret)
        db.close()
        if key is None:
            asyncio.run(load(path, None))
        else:
            with pytest.raises(JournalDamaged, match="is not what"):
                asyncio.run(load(path, key))


def test_forged_run_without_key_is_labelled(tmp_path: Path) -> None:
    """A person who takes the key of a run away gets a run that says that it has none."""
    path = tmp_path / "runs.db"
    asyncio.run(write_run(path))
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("UPDATE runs SET key_id = x''")
        _change_body(db)
        _chain_again(db, None)
    db.close()

    async def main() -> None:
        store = await SqliteStore.open(path, key=KEY)
        assert not (await store.load("run-1")).head.is_keyed
        await store.close()

    asyncio.run(main())


def test_forged_snapshot_is_noticed(tmp_path: Path) -> None:
    """A snapshot is tied to the chain by the key."""
    path = tmp_path / "runs.db"
    asyncio.run(write_run(path))
    with sqlite3.connect(path, isolation_level=None) as db:
        link, salt = db.execute(
            "SELECT records.link, salt FROM runs JOIN records ON run = runs.id WHERE seq = 2"
        ).fetchone()
        body = b'{"forged":true}'
        db.execute("UPDATE snapshots SET body = ?, digest = ?", (body, codec.tie(link, body, salt)))
    db.close()

    async def main() -> None:
        store = await SqliteStore.open(path, key=KEY)
        with pytest.raises(JournalDamaged, match="snapshot at record 2 was altered"):
            await store.load_snapshot("run-1")
        await store.close()

    asyncio.run(main())


# ---------------------------------------------------------------- runs of a flow


class Topic(BaseModel):
    topic: str


class Text(BaseModel):
    text: str = ""


class State(Topic, Text): ...


@node
def first(topic: Topic) -> Text:
    return Text(text=topic.topic)


@node
def second(text: Text) -> Text:
    if os.environ.get("FAILS"):
        raise ValueError("not yet")
    return Text(text=text.text.upper())


FLOW = Graph("g", State, input=Topic, output=Text, remember=[Text]).chain(first, second).build()


def test_flow_keeps_key_over_resume_and_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that failed is resumed, replayed and followed only with its key."""
    path = tmp_path / "runs.db"
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(ExceptionGroup):
        FLOW.run_sync(Topic(topic="tides"), run_id="r", durable=path)
    monkeypatch.delenv("FAILS")

    async def use() -> list[str]:
        resumed = await FLOW.resume("r", durable=path)
        replayed = await FLOW.replay("r", durable=path)
        turn = await FLOW.run(Topic(topic="b"), durable=path, after="r", run_id="s")
        fork = await FLOW.fork("r", start="second", durable=path)
        again = await FLOW.rerun("r", start="second", durable=path)
        assert fork
        return [item.output.text for item in (resumed, replayed, turn, again.result)]

    for key in (None, OTHER):
        monkeypatch.delenv(VARIABLE) if key is None else monkeypatch.setenv(VARIABLE, key)
        with pytest.raises(WrongKey):
            asyncio.run(use())
    monkeypatch.setenv(VARIABLE, KEY)
    assert asyncio.run(use()) == ["TIDES", "TIDES", "B", "TIDES"]

    async def chains() -> list[bool]:
        store = await SqliteStore.open(path)
        page = await store.list_runs()
        await store.close()
        return [head.is_keyed for head in page.runs]

    assert asyncio.run(chains()) == [True] * 4


def test_fork_of_unkeyed_run_is_unkeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of records that anybody may have altered does not become trustworthy by a key."""
    path = tmp_path / "runs.db"
    FLOW.run_sync(Topic(topic="tides"), run_id="r", durable=path)
    monkeypatch.setenv(VARIABLE, KEY)

    async def main() -> None:
        fork = await FLOW.fork("r", start="second", durable=path)
        again = await FLOW.rerun("r", start="second", durable=path)
        store = await SqliteStore.open(path)
        for run_id in ("r", fork, again.result.run_id):
            assert not (await store.load(run_id)).head.is_keyed
        await store.close()

    asyncio.run(main())


def test_statistics_leave_refused_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key a keyed run is not counted; rows that anybody can alter are not either."""
    path = tmp_path / "runs.db"
    monkeypatch.setenv(VARIABLE, KEY)
    FLOW.run_sync(Topic(topic="a"), run_id="keyed", durable=path)
    monkeypatch.delenv(VARIABLE)
    FLOW.run_sync(Topic(topic="b"), run_id="plain", durable=path)

    async def count(key: str | None) -> tuple[int, list[str], int]:
        monkeypatch.delenv(VARIABLE, raising=False)
        store = await SqliteStore.open(path, key=key)
        try:
            with SpanIndex.open(store) as index:
                progress = await index.catch_up(store)
                runs = sum(row.runs for row in statistics.runs(index))
                return runs, progress.refused, progress.unkeyed
        finally:
            await store.close()

    assert asyncio.run(count(KEY)) == (2, [], 1)
    assert asyncio.run(count(None)) == (1, ["keyed"], 1)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE spans SET seconds = 1e9")
        db.execute("UPDATE traces SET flow = 'forged'")
        db.commit()
    db.close()

    async def flows() -> list[str]:
        store = await SqliteStore.open(path, key=KEY)
        try:
            with SpanIndex.open(store) as index:
                await index.catch_up(store)
                return [row.key[0] for row in statistics.runs(index)]
        finally:
            await store.close()

    assert asyncio.run(flows()) == ["g"]
