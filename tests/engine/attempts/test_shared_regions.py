"""Regions that are exclusive across the runs of a journal."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import END, START, Context, Flow, Graph, InputError, Retry, RunFailed, agent, node
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.testing import ScriptedModel, call, run_virtual


class Text(BaseModel):
    text: str = ""


AnyFlow = Flow[Any, Any, Any]


class Room:
    """What only one attempt may be in; `log` says who came and went, and when."""

    def __init__(self) -> None:
        self.inside = 0
        self.log: list[tuple[str, float]] = []

    async def visit(self, who: str, seconds: float = 1.0) -> None:
        assert not self.inside, f"{who} entered, and {self.inside} was inside"
        self.inside += 1
        try:
            self.log.append((who, round(asyncio.get_running_loop().time(), 3)))
            await asyncio.sleep(seconds)
        finally:
            self.inside -= 1


def make_flow(**options: Any) -> AnyFlow:
    @node(**options)
    async def visit(ctx: Context[Room], text: Text) -> Text:
        await ctx.resources.visit(text.text)
        return text

    graph = Graph("visits", Text).chain(START, visit, END)
    return graph.exclusive("db", visit, across="journal").build()


# ---- one process ---------------------------------------------------------------------------------
def test_runs_take_turns() -> None:
    """Of several runs of a journal one is in the region, and the others count as waiting."""

    async def main() -> None:
        flow, store, room = make_flow(), MemoryStore(), Room()
        runs = [
            flow.run(Text(text=who), run_id=who, durable=store, resources=room) for who in "abc"
        ]
        await asyncio.gather(*runs)
        assert sorted(who for who, _ in room.log) == ["a", "b", "c"]
        waits: list[float] = []
        for who in "abc":
            log = await store.load(who)
            (commit,) = (item.body for item in log.records if item.kind == "commit")
            waits.append(round(commit.get("waited", 0.0)))
        assert sorted(waits) == [0, 1, 2]

    run_virtual(main())


def test_runs_of_other_journals_do_not_wait() -> None:
    """A region belongs to one journal."""

    async def main() -> None:
        began, flow = asyncio.get_running_loop().time(), make_flow()
        await asyncio.gather(
            *(flow.run(Text(text=who), durable=MemoryStore(), resources=Room()) for who in "ab")
        )
        assert asyncio.get_running_loop().time() - began == pytest.approx(1.0)

    run_virtual(main())


def test_run_without_journal_is_refused() -> None:
    """A run in memory cannot keep others out, and says so."""
    with pytest.raises(InputError, match="exclusive across the runs of a journal"):
        asyncio.run(make_flow().run(Text(), resources=Room()))


def test_pause_before_retry_lets_other_runs_in() -> None:
    """Only an attempt is in the region, not the pause before the next one."""
    failures = [OSError("down")]

    @node(retry=Retry(attempts=2, first=10.0))
    async def visit(ctx: Context[Room], text: Text) -> Text:
        await ctx.resources.visit(text.text)
        if failures:
            raise failures.pop()
        return text

    async def main() -> None:
        store, room = MemoryStore(), Room()
        graph = Graph("retries", Text).chain(START, visit, END)
        flow = graph.exclusive("db", visit, across="journal").build()
        await asyncio.gather(
            *(flow.run(Text(text=who), durable=store, resources=room) for who in "ab")
        )
        (first, _), (second, _), (third, _) = room.log
        assert first == third != second

    run_virtual(main())


@pytest.mark.parametrize("ending", ["failure", "stop", "cancel"])
def test_ended_attempt_leaves_region(ending: str) -> None:
    """However an attempt ends, the region is free afterwards."""

    @node
    async def visit(ctx: Context[Room], text: Text) -> Text:
        await ctx.resources.visit(text.text, 2.0)
        if text.text == "failure":
            raise OSError("down")
        return text

    async def main() -> None:
        store, room = MemoryStore(), Room()
        graph = Graph("ends", Text).chain(START, visit, END)
        flow = graph.exclusive("db", visit, across="journal").build()
        first = asyncio.ensure_future(
            flow.run(Text(text=ending), run_id="first", durable=store, resources=room)
        )
        await asyncio.sleep(1.0)
        if ending == "stop":
            await flow.send_stop("first", now=True, durable=store)
        elif ending == "cancel":
            await flow.cancel("first", durable=store)
        result = await flow.run(Text(text="next"), durable=store, resources=room)
        assert result.output.text == "next"
        assert room.log[-1][1] - room.log[0][1] < 3.0
        with pytest.raises(RunFailed):
            await first

    run_virtual(main())


def test_waiting_effect_is_not_in_doubt() -> None:
    """What waits for a region has not begun: a crash leaves no doubt whether it acted."""

    async def main() -> None:
        store, room = MemoryStore(), Room()
        await store.create(NewRun("gone", "visits", "f", 6))
        lease = await store.claim("gone", "gone", ttl=60)
        assert await store.enter_regions(lease, ["db"])
        flow = make_flow(effect="once")
        waiting = asyncio.ensure_future(
            flow.run(Text(text="late"), run_id="late", durable=store, resources=room)
        )
        await asyncio.sleep(5.0)
        assert "starting" not in [item.kind for item in (await store.load("late")).records]
        await store.leave_regions(lease, ["db"])
        await waiting
        assert [who for who, _ in room.log] == ["late"]

    run_virtual(main())


# ---- several processes ---------------------------------------------------------------------------
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from pydantic import BaseModel
from graphorch import END, START, Graph, node

class Text(BaseModel):
    text: str = ""

@node
async def visit(text: Text) -> Text:
    with Path(sys.argv[2]).open("a") as log:
        log.write(f"{text.text} in\\n"); log.flush()
        await asyncio.sleep(float(sys.argv[4]))
        log.write(f"{text.text} out\\n"); log.flush()
    return text

graph = Graph("visits", Text).chain(START, visit, END)
flow = graph.exclusive("db", visit, across="journal").build()
asyncio.run(flow.run(Text(text=sys.argv[3]), durable=sys.argv[1], run_id=sys.argv[3]))
"""


def start(tmp_path: Path, who: str, seconds: float) -> subprocess.Popen[bytes]:
    arguments = [str(tmp_path / "j.db"), str(tmp_path / "log"), who, str(seconds)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])


def read_log(tmp_path: Path) -> list[str]:
    path = tmp_path / "log"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_processes_take_turns(tmp_path: Path) -> None:
    """Runs of several processes on one file never overlap in the region."""
    asyncio.run(_make_file(tmp_path))
    processes = [start(tmp_path, who, 0.05) for who in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = read_log(tmp_path)
    entered, left = lines[::2], lines[1::2]
    assert sorted(entered) == ["a in", "b in", "c in"]
    assert [line.replace(" in", " out") for line in entered] == left


def test_killed_process_frees_region_with_its_lease(tmp_path: Path) -> None:
    """The region of a process that was killed is taken until the lease of its run has ended."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "j.db", clock=lambda: time.time() + ahead)
        try:
            lease = await store.claim("other", "me", ttl=1000)
            assert not await store.enter_regions(lease, ["db"])
        finally:
            await store.close()
        later = await SqliteStore.open(tmp_path / "j.db", clock=lambda: time.time() + 31)
        try:
            lease = await later.claim("other", "me", ttl=1000)
            assert await later.enter_regions(lease, ["db"])
        finally:
            await later.close()

    ahead = 0.0
    asyncio.run(_make_file(tmp_path))
    process = start(tmp_path, "a", 60.0)
    while not read_log(tmp_path):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    asyncio.run(main())


async def _make_file(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "j.db")
    await store.create(NewRun("other", "visits", "f", 6))
    await store.close()


# ---- the queue -----------------------------------------------------------------------------------
ROUNDS = """
import asyncio, sys, time
from pathlib import Path
from pydantic import BaseModel
from graphorch import END, START, Graph, node

class Count(BaseModel):
    count: int = 0

@node
async def visit(count: Count) -> Count:
    with Path(sys.argv[2]).open("a") as log:
        log.write(f"{sys.argv[3]} {time.time()} in\\n"); log.flush()
        await asyncio.sleep(0.01)
        log.write(f"{sys.argv[3]} {time.time()} out\\n"); log.flush()
    return Count(count=count.count + 1)

graph = Graph("rounds", Count).chain(START, visit, END)
graph.loop(visit, back_to=visit, while_=lambda c: c.count < int(sys.argv[4]), max_iterations=1000)
flow = graph.exclusive("db", visit, across="journal").build()
asyncio.run(flow.run(Count(), durable=sys.argv[1], run_id=sys.argv[3]))
"""


def test_processes_share_region_again_and_again(tmp_path: Path) -> None:
    """Two processes that want a region again and again both have all of their turns, alone."""
    asyncio.run(_make_file(tmp_path))
    arguments = [str(tmp_path / "j.db"), str(tmp_path / "log")]
    processes = [
        subprocess.Popen([sys.executable, "-c", ROUNDS, *arguments, who, "10"]) for who in "ab"
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    lines = [line.split() for line in read_log(tmp_path)]
    entered, left = lines[::2], lines[1::2]
    assert [(who, what) for who, _, what in left] == [(who, "out") for who, _, _ in entered]
    assert sorted(who for who, _, _ in entered) == ["a"] * 10 + ["b"] * 10


def test_runs_of_process_enter_in_order() -> None:
    """Runs have their turns in the order in which they came, also a late one of many waiters."""

    async def main() -> None:
        flow, store, room = make_flow(), MemoryStore(), Room()
        await flow.run(Text(text="first"), run_id="first", durable=store, resources=room)
        room.log.clear()  # what a first run imports takes time that is not virtual
        runs: list[Any] = []
        for who in "abcdefgh":
            run = flow.run(Text(text=who), run_id=who, durable=store, resources=room)
            runs.append(asyncio.ensure_future(run))
            await asyncio.sleep(0.1)
        await asyncio.gather(*runs)
        assert [who for who, _ in room.log] == [*"abcdefgh"]
        gaps = [after - before for (_, before), (_, after) in pairwise(room.log)]
        assert gaps == pytest.approx([1.0] * 7, abs=0.01)  # no pause between two turns

    run_virtual(main())


def test_region_inside_region_waits_for_no_queue() -> None:
    """What runs inside a region enters another one before a run that waits for both of them."""

    @node
    async def rest(text: Text) -> None:
        await asyncio.sleep(2.0)

    @node
    async def dig(text: Text) -> Text:
        return Text(text=f"{text.text} dug")

    @node
    async def take_both(text: Text) -> Text:
        return Text(text="both")

    inner = Graph("inner", Text).chain(rest, dig).exclusive("inner", dig, across="journal").build()

    @agent(output=Text, tools=[inner.as_tool("dig", description="Dig.")])
    def write(text: Text) -> str:
        return text.text

    outer = Graph("outer", Text).chain(write).exclusive("outer", write, across="journal").build()
    graph = Graph("both", Text).chain(take_both, last := rest.named("last"))
    graph.exclusive("inner", take_both, across="journal")
    graph.exclusive("outer", [take_both, last], across="journal")
    both, model = graph.build(), ScriptedModel(call("dig", {"text": "here"}), Text(text="done"))

    async def main() -> None:
        store = MemoryStore()
        first = asyncio.ensure_future(outer.run(Text(text="go"), durable=store, client=model))
        await asyncio.sleep(1.0)
        second = asyncio.ensure_future(both.run(Text(), durable=store))
        async with asyncio.timeout(60):
            assert (await first).output.text == "done"
            assert (await second).output.text == "both"

    run_virtual(main())


def test_stopped_waiter_gives_up_its_place() -> None:
    """A run that is stopped while it waits blocks nobody behind it."""

    async def main() -> None:
        flow, store, room = make_flow(), MemoryStore(), Room()
        runs: list[Any] = []
        for who in "abc":
            run = flow.run(Text(text=who), run_id=who, durable=store, resources=room)
            runs.append(asyncio.ensure_future(run))
            await asyncio.sleep(0.1)
        await flow.send_stop("b", now=True, durable=store)
        await asyncio.gather(*runs, return_exceptions=True)
        assert [who for who, _ in room.log] == ["a", "c"]
        result = await flow.resume("b", durable=store, resources=room)
        assert result.output.text == "b"

    run_virtual(main())


def test_killed_waiter_blocks_nobody(tmp_path: Path) -> None:
    """A process that was killed while it waited is passed over once its lease has ended."""
    ahead = [0.0]

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "j.db", clock=lambda: time.time() + ahead[0])
        try:
            await store.create(NewRun("late", "visits", "f", 6))
            holder = await store.claim("other", "me", ttl=1000)
            late = await store.claim("late", "me", ttl=1000)
            assert await store.enter_regions(holder, ["db"])
            process = start(tmp_path, "a", 0.0)
            while not _has_ticket(tmp_path, "a"):
                time.sleep(0.01)  # noqa: ASYNC251  (the other process is to go on)
            assert not await store.enter_regions(late, ["db"])
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
            await store.leave_regions(holder, ["db"])
            assert not await store.enter_regions(late, ["db"])
            ahead[0] = 31.0
            assert await store.enter_regions(late, ["db"])
        finally:
            await store.close()

    asyncio.run(_make_file(tmp_path))
    asyncio.run(main())
    assert read_log(tmp_path) == []


def _has_ticket(tmp_path: Path, run_id: str) -> bool:
    db = sqlite3.connect(tmp_path / "j.db")
    try:
        found = db.execute("SELECT 1 FROM tickets WHERE run_id = ?", (run_id,)).fetchall()
    finally:
        db.close()
    return bool(found)
