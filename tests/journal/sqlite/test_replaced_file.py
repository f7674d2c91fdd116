"""A journal that is deleted or replaced under a run: the run does not report a success."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from graphorch import Graph, JournalError, node
from graphorch.journal.errors import RunNotFound, StoreReplaced
from graphorch.journal.records import Lease, NewRun, RunQuery
from graphorch.journal.sqlite.store import SqliteStore
from tests.contracts.store_contract import entries

Harm = Callable[[Path], None]


def _delete_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def _move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def _move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def _replace_by_copy(path: Path) -> None:
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    os.replace(copy, path)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_journal(path: Path) -> None:
    async def make(other: Path) -> None:
        await (await SqliteStore.open(other)).close()

    other = path.with_name("other.db")
    asyncio.run(make(other))
    os.replace(other, path)


def _replace_by_link(path: Path) -> None:
    target = path.with_name("target.db")
    shutil.copy(path, target)
    path.unlink()
    path.symlink_to(target)


HARMS: list[Harm] = [
    Path.unlink, _delete_log, _move, _move_folder, _replace_by_copy, _replace_by_folder,
    _replace_by_journal, _replace_by_link,
]  # fmt: skip
every_harm = pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__.strip("_"))


def place(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "runs.db"


@every_harm
@pytest.mark.parametrize("sync", ["full", "normal"])
def test_append_after_harm_raises(
    harm: Harm, sync: Literal["full", "normal"], tmp_path: Path
) -> None:
    """Neither an append nor a renewal of the lease is reported as done."""
    path = place(tmp_path)

    async def main() -> None:
        store = await SqliteStore.open(path, sync=sync)
        await store.create(NewRun("run-1", "flow", "f", 1))
        lease = await store.claim("run-1", "me", ttl=60)
        await store.append(lease, entries("a"), expected_last_seq=0)
        assert store.is_in_place()
        await asyncio.to_thread(harm, path)
        assert not store.is_in_place()
        with pytest.raises(StoreReplaced, match=r"while it was open\. What was written"):
            await store.append(lease, entries("b", after=1), expected_last_seq=1)
        with pytest.raises(StoreReplaced):
            await store.renew(lease, ttl=60)
        with pytest.raises(StoreReplaced):
            await store.create(NewRun("run-2", "flow", "f", 1))
        await store.close()

    asyncio.run(main())


def test_overwritten_file_is_noticed(tmp_path: Path) -> None:
    """A file that was cut off in place keeps its identity, but not its size."""

    async def main() -> None:
        path = tmp_path / "runs.db"
        await (await SqliteStore.open(path)).close()
        store = await SqliteStore.open(path)
        path.write_bytes(b"")
        with pytest.raises(StoreReplaced, match="was cut off or overwritten"):
            await store.create(NewRun("run-1", "flow", "f", 1))

    asyncio.run(main())


async def _write_runs(path: Path, prefix: str, count: int, size: int = 50) -> None:
    store = await SqliteStore.open(path, sync="normal")
    for number in range(count):
        run_id = f"{prefix}-{number}"
        await store.create(NewRun(run_id, "flow", "f", 1))
        lease = await store.claim(run_id, "me", ttl=60)
        bodies = [prefix * size] * 20
        await store.append(lease, entries(*bodies), expected_last_seq=0, status="succeeded")
        await store.release(lease)
    await store.close()


def _move_log(path: Path) -> None:
    """Move the log into the file with another connection, as another process may do."""
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)")
    raw.close()


@pytest.mark.parametrize("is_moved", [False, True], ids=["log kept", "log moved"])
@pytest.mark.parametrize(
    ("sync", "mine", "others", "size"),
    [
        ("full", 30, 60, 50),
        ("normal", 30, 200, 50),
        ("normal", 3, 30, 50),
        pytest.param("normal", 28, 30, 8000, id="large"),
        pytest.param("full", 2, 28, 8000, id="by large one"),
    ],
)
def test_journal_copied_over_is_noticed(
    mine: int,
    others: int,
    size: int,
    sync: Literal["full", "normal"],
    is_moved: bool,
    tmp_path: Path,
) -> None:
    """Another journal that is copied over the file in place does not fit what is remembered.

    However large both are, and whether or not the log still holds what was written last.
    """
    path, other = tmp_path / "runs.db", tmp_path / "other.db"

    async def main() -> None:
        await _write_runs(path, "mine", mine, size)
        await _write_runs(other, "other", others, size)
        store = await SqliteStore.open(path, sync=sync)
        await store.create(NewRun("run-1", "flow", "f", 1))
        lease = await store.claim("run-1", "me", ttl=60)
        if is_moved:
            _move_log(path)
            await store.renew(lease, ttl=60)
            _move_log(path)
        shutil.copyfile(other, path)
        with pytest.raises(StoreReplaced, match=r"was (cut off or )?overwritten"):
            await store.append(lease, entries("a"), expected_last_seq=0)
        with suppress(JournalError):
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("is_leased", [False, True])
def test_older_copy_put_back_is_noticed(is_leased: bool, tmp_path: Path) -> None:
    """A copy from before a pruning is as large as the file, and holds most of it."""
    path, copy = tmp_path / "runs.db", tmp_path / "copy.db"

    async def main() -> None:
        await _write_runs(path, "a", 40)
        shutil.copyfile(path, copy)
        store = await SqliteStore.open(path, sync="normal")
        await store.prune(before=time.time() + 1, statuses=["succeeded"])
        await store.create(NewRun("run-1", "flow", "f", 1))
        lease = await store.claim("run-1", "me", ttl=60)
        await store.append(lease, entries("a"), expected_last_seq=0)
        if not is_leased:
            await store.release(lease)
        _move_log(path)
        await store.create(NewRun("run-2", "flow", "f", 1))
        _move_log(path)
        assert copy.stat().st_size >= path.stat().st_size
        shutil.copyfile(copy, path)
        with pytest.raises(StoreReplaced):
            await store.create(NewRun("run-3", "flow", "f", 1))

    asyncio.run(main())


@pytest.mark.parametrize("by_itself", [False, True])
@pytest.mark.parametrize("kept", [0, 1])
def test_pruned_runs_are_no_loss(by_itself: bool, kept: int, tmp_path: Path) -> None:
    """Runs that are dropped, here or by another process, may be all that is remembered."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        await _write_runs(path, "a", 40)
        store = await SqliteStore.open(path, sync="normal")
        lease: Lease | None = None
        if kept:
            await store.create(NewRun("run-1", "flow", "f", 1))
            lease = await store.claim("run-1", "me", ttl=60)
        pruner = store if by_itself else await SqliteStore.open(path, sync="normal")
        await pruner.prune(before=time.time() + 1, statuses=["succeeded"])
        _move_log(path)
        await store.create(NewRun("run-2", "flow", "f", 1))
        if lease:
            await store.append(lease, entries("a"), expected_last_seq=0)
        page = await store.list_runs(RunQuery())
        assert len(page.runs) == 1 + kept
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("sync", ["full", "normal"])
def test_checkpoint_of_other_process_is_no_loss(
    sync: Literal["full", "normal"], tmp_path: Path
) -> None:
    """Another connection that moves the log into the file changes it without harm."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        store = await SqliteStore.open(path, sync=sync)
        await store.create(NewRun("run-1", "flow", "f", 1))
        lease = await store.claim("run-1", "me", ttl=60)
        for last in range(5):
            _move_log(path)
            await store.append(lease, entries("a" * 9_000, after=last), expected_last_seq=last)
        assert store.is_in_place()
        await store.create(NewRun("run-2", "flow", "f", 1))
        await store.release(lease)
        await store.erase("run-2")  # moves the log as well
        await store.create(NewRun("run-3", "flow", "f", 1))
        await store.close()

    asyncio.run(main())


class Topic(BaseModel):
    topic: str


class Text(BaseModel):
    text: str = ""


class State(Topic, Text): ...


def make_flow(harm: Callable[[], None]) -> tuple[object, list[str]]:
    """Return a flow of two nodes, the first of which does harm, and the names of those that ran."""
    ran: list[str] = []

    @node
    def first(topic: Topic) -> Text:
        ran.append("first")
        harm()
        return Text(text=topic.topic)

    @node
    def second(text: Text) -> Text:
        ran.append("second")
        return Text(text=text.text.upper())

    return Graph("g", State, input=Topic, output=Text).chain(first, second).build(), ran


@every_harm
def test_run_with_lost_journal_fails(harm: Harm, tmp_path: Path) -> None:
    """The run raises at the first commit that is lost, and nothing follows from it."""
    path = place(tmp_path)
    flow, ran = make_flow(lambda: harm(path))
    with pytest.raises(StoreReplaced, match=r"runs\.db"):
        flow.run_sync(Topic(topic="tides"), durable=path, run_id="r")  # type: ignore[attr-defined]
    assert ran == ["first"]


def test_loss_during_last_node_fails(tmp_path: Path) -> None:
    """The last commit of a run is checked like any other."""
    path = tmp_path / "runs.db"

    @node
    def only(topic: Topic) -> Text:
        path.unlink()
        return Text(text=topic.topic)

    flow = Graph("g", State, input=Topic, output=Text).chain(only).build()
    with pytest.raises(StoreReplaced):
        flow.run_sync(Topic(topic="tides"), durable=path)


def test_loss_during_sub_flow_and_map_fails(tmp_path: Path) -> None:
    """A loss inside of an item of a map ends the run as well."""
    path = tmp_path / "runs.db"

    class Topics(BaseModel):
        topics: list[str] = []

    class Texts(BaseModel):
        texts: list[str] = []

    class Outer(Topics, Texts): ...

    @node
    def worker(topic: Topic) -> Text:
        if topic.topic == "b":
            path.unlink(missing_ok=True)
        return Text(text=topic.topic)

    inner = Graph("inner", State, input=Topic, output=Text).chain(worker).build()
    graph = Graph("outer", Outer, input=Topics, output=Texts)
    step = graph.map(
        "each",
        inner,
        over=lambda state: [Topic(topic=topic) for topic in state.topics],
        gather=lambda results: Texts(texts=[result.text for result in results]),
        max_items=3,
    )
    flow = graph.chain(step).build()
    with pytest.raises(StoreReplaced):
        flow.run_sync(Topics(topics=list("abc")), durable=path)


def test_next_run_uses_new_file(tmp_path: Path) -> None:
    """While a run has the lost file open, another one begins in the file that is there now."""
    path = tmp_path / "runs.db"
    flow, _ = make_flow(lambda: None)

    async def main() -> None:
        from graphorch.runs.stores import open_store

        async with open_store(path) as lost:
            path.unlink()
            result = await flow.run(Topic(topic="a"), durable=path, run_id="r")  # type: ignore[attr-defined]
            assert result.output.text == "A"
            with pytest.raises((RunNotFound, StoreReplaced)):
                await lost.load("r")
        async with open_store(path) as store:
            page = await store.list_runs(RunQuery())
            assert [head.run_id for head in page.runs] == ["r"]

    asyncio.run(main())
