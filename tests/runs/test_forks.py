"""Runs in a forked child, whose parent ran flows before the fork or is running one."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, agent, node
from graphorch.journal import MemoryStore, SqliteStore, StoreClosed
from tests.forks import run_in_fork


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: str = ""


class State(Count, Log): ...


@node
def work(count: Count) -> Log:
    return Log(log=f"{count.n} done")


def build(*steps: Any) -> Flow[Count, Log, State]:
    return Graph("forked", State, input=Count, output=Log).chain(*steps).build()


FLOW = build(work)


def run_sync(**options: Any) -> bool:
    return FLOW.run_sync(Count(n=1), **options).output.log == "1 done"


def run(**options: Any) -> bool:
    return asyncio.run(FLOW.run(Count(n=1), **options)).output.log == "1 done"


def test_fork_runs_after_run_of_parent(tmp_path: Path) -> None:
    """A child runs flows in every way in which its parent ran some, in memory and in a journal."""
    path = str(tmp_path / "runs.sqlite")
    assert [run(), run_sync(), run(durable=path), run_sync(durable=path)] == [True] * 4
    assert run_in_fork(run)
    assert run_in_fork(run_sync)
    assert run_in_fork(lambda: run(durable=path))
    assert run_in_fork(lambda: run_sync(durable=path))
    assert run_in_fork(lambda: run_in_fork(lambda: run_sync(durable=path)))
    assert run_sync(durable=path)


def test_fork_runs_beside_run_of_parent(tmp_path: Path) -> None:
    """A child uses the same journal while a run of its parent holds it open, and both are kept."""
    path = str(tmp_path / "runs.sqlite")
    began, may_end = threading.Event(), threading.Event()

    @node
    def wait(count: Count) -> Log:
        began.set()
        assert may_end.wait(20)
        return Log(log="waited")

    outputs: list[str] = []

    def run_parent() -> None:
        outputs.append(build(wait).run_sync(Count(), durable=path, run_id="parent").output.log)

    thread = threading.Thread(target=run_parent)
    thread.start()
    try:
        assert began.wait(10)
        assert run_in_fork(lambda: run_sync(durable=path, run_id="child-1"))
        assert run_in_fork(lambda: run(durable=path, run_id="child-2"))
    finally:
        may_end.set()
        thread.join()
    assert outputs == ["waited"]
    for run_id in ("child-1", "child-2"):
        assert asyncio.run(FLOW.replay(run_id, durable=path)).output.log == "1 done"


def test_fork_calls_models_after_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child has a client of its own, also where its parent has called a model already."""
    monkeypatch.chdir(tmp_path)

    @agent(output=Log)
    def write(count: Count) -> str:
        return f"Write about {count.n} tides.\n\nTides rise and fall twice a day."

    flow = build(write)

    def call() -> bool:
        return bool(flow.run_sync(Count(n=2)).output.log)

    assert call()
    assert run_in_fork(call)
    assert call()


@pytest.mark.parametrize("sync", ["full", "normal"])
def test_store_of_parent_is_refused(tmp_path: Path, sync: Any) -> None:
    """A store that the parent opened says in a fork that it has to be opened again there."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.sqlite", sync=sync)
        await FLOW.run(Count(n=1), durable=store, run_id="before")
        assert run_in_fork(lambda: is_refused(store))
        assert (await FLOW.run(Count(n=1), durable=store)).output.log == "1 done"
        await store.close()

    asyncio.run(main())


def is_refused(store: SqliteStore) -> bool:
    """Return whether every use of a store is refused; the loop of the parent goes unused."""

    async def refuse() -> bool:
        for call in (FLOW.run(Count(), durable=store), store.load("before"), store.list_runs()):
            with pytest.raises(StoreClosed, match="of which this one is a fork"):
                await call
        await store.close()
        return True

    return run_alone(refuse())


def run_alone(coroutine: Any) -> bool:
    """Return the result of a coroutine on a thread, since a fork seems to be inside a loop."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return results == [True]


def test_memory_store_is_copied() -> None:
    """A store in memory works in a fork, on a copy of what was there."""
    store = MemoryStore()
    assert run(durable=store, run_id="before")
    assert run_in_fork(
        lambda: asyncio.run(FLOW.replay("before", durable=store)).output.log == "1 done"
    )
