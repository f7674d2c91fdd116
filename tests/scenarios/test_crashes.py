"""A run that was killed at a commit, or before it, is resumed and ends like an undisturbed one.

The processes and the kills are real: a child is forked for each kill and sends itself SIGKILL
before or after its n-th append to an SQLite file.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphorch import Context, Graph, node
from graphorch.errors import JournalError
from graphorch.journal.completion import Completion
from graphorch.journal.records import Lease, Record, RunLog
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.flows import (
    FLOWS,
    AnyFlow,
    Ledger,
    Log,
    Note,
    Number,
    State,
    says,
    to_the_end,
    up,
)


class Killing:
    """Store that kills its process at the n-th append.

    It does so before the append is written, or after it is durable and before the reply.
    """

    def __init__(self, store: SqliteStore, at: int, *, after: bool) -> None:
        self._store = store
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        **options: Any,
    ) -> None:
        self._left -= 1
        self._die(not self._after)
        await self._store.append(lease, records, expected_last_seq=expected_last_seq, **options)
        self._die(self._after)

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        **options: Any,
    ) -> Completion | None:
        self._left -= 1
        self._die(not self._after)
        answer = self._store.append_soon(
            lease, records, expected_last_seq=expected_last_seq, **options
        )
        if answer is None:
            self._die(self._after)
        else:
            is_time = self._after and self._left == 0
            answer.add_done_callback(lambda _: self._die(is_time))
        return answer

    def _die(self, is_time: bool) -> None:
        if is_time and self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def commits_of(records: Sequence[Record]) -> list[str]:
    return [
        f"{record.body['path']} {record.body['id']}"
        for record in records
        if record.kind == "commit"
    ]


async def run_once(
    flow: AnyFlow,
    database: Path,
    ledger: Path,
    begin: bool,
    kill_at: int = 0,
    after: bool = False,
    late: float = 0.0,
    tell: int = 0,
) -> dict[str, Any]:
    """Do the part of a run that belongs to this process, and return the final state.

    Each execution of a node writes a line to the ledger, and a byte to the pipe `tell` if there is
    one.
    """
    with ledger.open("a") as lines:

        def write(line: str) -> None:
            lines.write(line + "\n")
            lines.flush()
            if tell:
                os.write(tell, b".")

        clock = time.time() + late
        store = await SqliteStore.open(database, sync="normal", clock=lambda: clock)
        used: Any = Killing(store, kill_at, after=after) if kill_at else store
        try:
            result = await to_the_end(flow, "r", begin, durable=used, resources=Ledger(write))
            return result.state.model_dump()
        finally:
            await store.close()


def killed_child(flow: AnyFlow, database: Path, ledger: Path, kill_at: int, after: bool) -> bool:
    """Fork a process that runs the flow and is killed; return False if it ended before that."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(run_once(flow, database, ledger, True, kill_at, after))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


async def durable_commits(database: Path) -> list[str]:
    store = await SqliteStore.open(database)
    try:
        return commits_of((await store.load("r")).records)
    finally:
        await store.close()


def check_kills(name: str, tmp_path: Path, step: int = 1) -> int:
    """Kill the flow at every `step`-th append, before and after it, and return the number of kills.

    Each time the resumed run has to end like the undisturbed one.
    """
    flow = FLOWS[name]()
    wanted = asyncio.run(run_once(flow, tmp_path / "calm.sqlite", tmp_path / "calm.txt", True))
    calm = asyncio.run(durable_commits(tmp_path / "calm.sqlite"))
    kills = 0
    for after in (False, True):
        at = 1
        while True:
            folder = tmp_path / f"{after}{at}"
            folder.mkdir()
            database, ledger = folder / "runs.sqlite", folder / "ledger.txt"
            if not killed_child(flow, database, ledger, at, after):
                break
            kills += 1
            committed, before = (
                asyncio.run(durable_commits(database)),
                ledger.read_text().splitlines() if ledger.exists() else [],
            )
            begun = at > 1 or after
            if begun:
                # the dead process's lease has run out
                state = asyncio.run(run_once(flow, database, ledger, False, late=60.0))
                assert state == wanted
                assert sorted(asyncio.run(durable_commits(database))) == sorted(calm)
                again = ledger.read_text().splitlines()[len(before) :]
                assert not set(again) & set(committed), "a committed activation ran again"
            at += step
    return kills


@pytest.mark.parametrize("name", ["loop_with_join", "mapped_flows", "asked"])
def test_killed_run_ends_undisturbed(name: str, tmp_path: Path) -> None:
    """A killed run that is resumed ends like the undisturbed one."""
    assert check_kills(name, tmp_path, step=5) >= 4


def paying() -> AnyFlow:
    """Return a flow whose sub-flow pays twice, in two rounds of a loop, for different receipts."""

    @node(effect="once")
    async def pay(ctx: Context[Ledger], number: Number) -> Note:
        ctx.resources.ran(ctx)
        receipts = [line for line in ctx.resources.entries if "/pay " in line]
        return Note(note=f"receipt {len(receipts)}")

    @node
    async def keep(note: Note) -> Log:
        return Log(log=[note.note])

    inner = Graph("inner", State).chain(pay, keep).build()
    graph = Graph("g", State)
    shop = graph.sub(
        "shop",
        inner,
        enter=lambda state: State(n=state.n),
        leave=lambda state: Log(log=state.log[-1:]),
    )
    end = says("end")
    graph.chain(up("a"), shop, end)
    graph.loop(end, back_to=shop, while_=lambda state: True, max_iterations=2)
    return graph.build()


async def rerun_once(database: Path, ledger: Path, kill_at: int = 0, *, after: bool = False) -> Any:
    """Rerun the paid run from its beginning, with what its effects returned, and die on the way."""
    store = await SqliteStore.open(database, sync="normal")
    used: Any = Killing(store, kill_at, after=after) if kill_at else store
    with ledger.open("a") as lines:
        resources = Ledger(lambda line: print(line, file=lines, flush=True))
        again = await paying().rerun(
            "r", start="a", durable=used, run_id="again", effects="serve", resources=resources
        )
    await store.close()
    return again.result.state.model_dump()


async def resume_again(database: Path, ledger: Path) -> Any:
    """Resume the rerun once the lease of its process has run out."""
    store = await SqliteStore.open(database, sync="normal", clock=lambda: time.time() + 60)
    with ledger.open("a") as lines:
        resources = Ledger(lambda line: print(line, file=lines, flush=True))
        result = await paying().resume("again", durable=store, resources=resources)
    await store.close()
    return result.state.model_dump()


@pytest.mark.slow
def test_killed_rerun_serves_effects(tmp_path: Path) -> None:
    """A rerun that serves effects is killed at any commit, resumed, and still serves them."""
    flow, first, ledger = paying(), tmp_path / "first.sqlite", tmp_path / "ledger.txt"
    wanted = asyncio.run(run_once(flow, first, ledger, True))
    assert [text for text in wanted["log"] if "receipt" in text] == ["receipt 1", "receipt 2"]
    kills = 0
    for after in (False, True):
        for at in range(2, 99):  # the first append makes the run
            database = tmp_path / f"{after}{at}.sqlite"
            shutil.copyfile(first, database)
            child = os.fork()
            if child == 0:
                try:
                    asyncio.run(rerun_once(database, ledger, at, after=after))
                finally:
                    os._exit(0)
            if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
                break
            kills += 1
            assert asyncio.run(resume_again(database, ledger)) == wanted
    assert kills >= 20
    assert ledger.read_text().count("/pay ") == 2, "an effect was repeated"


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_kill_at_every_commit(name: str, tmp_path: Path) -> None:
    """A run killed at every commit ends like the undisturbed one."""
    kills = check_kills(name, tmp_path)
    print(f"{name}: {kills} kills")
    assert kills >= 8


def kill_while_running(flow: AnyFlow, database: Path, ledger: Path, nodes: int, later: int) -> None:
    """Fork a process that runs the flow, and kill it from outside.

    That is once so many nodes ran, and so many spins of the processor later: in the middle of one,
    between its effect and its commit, or in the commit.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(run_once(flow, database, ledger, True, tell=writing))
            signal.pause()  # a kill always meets a process that lives
        finally:
            os._exit(1)
    os.close(writing)
    for _ in range(nodes):
        os.read(reading, 1)
    os.close(reading)
    for _ in range(later):
        pass
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


async def stored_run(database: Path) -> RunLog | None:
    """Return what a killed process left of the run; None if there was no run, or no database."""
    try:
        store = await SqliteStore.open(database)
    except JournalError:
        return None
    try:
        return await store.load("r")
    except JournalError:
        return None
    finally:
        await store.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_kill_at_any_moment(name: str, tmp_path: Path) -> None:
    """A run killed at any moment ends like an undisturbed one.

    The moments between an effect and its commit are included. With 140 kills per flow, there are
    more than 1,500 together with those at each commit. Most of them meet a run in the middle of its
    records, however fast the machine is.
    """
    flow, chance = FLOWS[name](), random.Random(name)
    wanted = asyncio.run(run_once(flow, tmp_path / "calm.sqlite", tmp_path / "calm.txt", True))
    calm = asyncio.run(stored_run(tmp_path / "calm.sqlite"))
    assert calm is not None
    executions = len((tmp_path / "calm.txt").read_text().splitlines())
    in_the_middle = 0
    for number in range(140):
        folder = tmp_path / str(number)
        folder.mkdir()
        database, ledger = folder / "runs.sqlite", folder / "ledger.txt"
        nodes, later = chance.randrange(executions), chance.randrange(20_000)
        kill_while_running(flow, database, ledger, nodes, later)
        left = asyncio.run(stored_run(database))
        if left is None or not left.records:
            continue
        in_the_middle += len(left.records) < len(calm.records)
        before = ledger.read_text().splitlines()
        assert asyncio.run(run_once(flow, database, ledger, False, late=60.0)) == wanted
        again = ledger.read_text().splitlines()[len(before) :]
        assert not set(again) & set(commits_of(left.records)), "a committed activation ran again"
    print(f"{name}: {in_the_middle} of 140 kills in the middle of the run")
    assert in_the_middle > 50
