"""A process dies at any record, or in an undo: what was committed is undone, and nothing twice.

The processes, the kills and the database are real, as in `test_crashes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.engine.replay import rebuild
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.compensation.trips import Ledger, Trip, TripFlow, build_outer, build_trip
from tests.scenarios.test_crashes import Killing, stored_run

BUILD = {"run": build_trip, "region": build_outer}


class FileLedger(Ledger):
    """A ledger in a file: what is written there has happened. The process dies at a line."""

    def __init__(self, path: Path, die_at: int = 0) -> None:
        super().__init__()
        self._path = path
        self._left = die_at

    def write(self, line: str) -> None:
        with self._path.open("a") as lines:
            lines.write(line + "\n")
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def drive(
    flow: TripFlow, folder: Path, *, append: int = 0, line: int = 0, resumes: Any = None
) -> None:
    """Run, or resume once the lease of a dead process has run out."""
    late = 0.0 if resumes is None else 60.0
    store = await SqliteStore.open(
        folder / "runs.sqlite", sync="normal", clock=lambda: time.time() + late
    )
    used: Any = Killing(store, append, after=append % 2 == 0) if append else store
    options: Any = {"resources": FileLedger(folder / "ledger.txt", line), "durable": used}
    try:
        with contextlib.suppress(RunFailed):
            if resumes is None:
                await flow.run(Trip(), run_id="r", **options)
            else:
                await flow.resume("r", ambiguous=resumes, **options)
    finally:
        await store.close()


def dies(flow: TripFlow, folder: Path, **kill: int) -> bool:
    """Drive a run in a process that dies; return False if it ended before that."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(drive(flow, folder, **kill))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def check_kill(flow: TripFlow, folder: Path, **kill: int) -> bool:
    """Kill a run, resume it to its end, and check what was done; return whether it was killed."""
    folder.mkdir()
    if not dies(flow, folder, **kill):
        return False
    left = asyncio.run(stored_run(folder / "runs.sqlite"))
    if left is None or not left.records:
        return True  # it died before there was a run
    starting = {record.body["id"] for record in left.records if record.kind == "starting"}
    in_doubt = starting - {record.body["id"] for record in left.records if record.kind == "commit"}
    if left.head.status != "cancelled":
        asyncio.run(drive(flow, folder, resumes="repeat"))
    after = asyncio.run(stored_run(folder / "runs.sqlite"))
    assert after is not None
    status = rebuild(flow.plan, "r", after.records).run.status
    assert status == ("cancelled" if flow.plan.compensate else "succeeded")
    commits = [record.body for record in after.records if record.kind == "commit"]
    undone = [body["path"].rpartition("/undo")[0] for body in commits if "/undo" in body["path"]]
    done = [body["path"] for body in commits if body["path"].endswith(("book", "hold"))]
    assert undone == done[::-1], "each commit is undone once, the last first"
    lines = Counter((folder / "ledger.txt").read_text().splitlines())
    for entry, times in lines.items():
        name, key = entry.split()
        if name in ("book", "cancel"):
            assert times == 1 or (times == 2 and key in in_doubt), f"{entry} {times} times"
    return True


@pytest.mark.parametrize("case", BUILD)
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_run_undoes_once(case: str, step: int, tmp_path: Path) -> None:
    """A process that dies at an append leaves a run that undoes the rest, and nothing twice."""
    flow, number = BUILD[case](), 1
    while check_kill(flow, tmp_path / str(number), append=number):
        number += step
    assert number > 8


@pytest.mark.parametrize("case", BUILD)
def test_killed_undo_is_in_doubt(case: str, tmp_path: Path) -> None:
    """A process that dies in a node or an undo leaves a run that repeats what was interrupted."""
    flow, number = BUILD[case](), 1
    while check_kill(flow, tmp_path / str(number), line=number):
        number += 1
    assert number > 5


def test_ambiguous_undo_stops_run(tmp_path: Path) -> None:
    """An undo that acts once and was interrupted stops the run until a person has decided."""
    flow = build_trip()
    assert dies(flow, tmp_path, line=5)  # in `cancel`
    asyncio.run(drive(flow, tmp_path, resumes="stop"))
    before = asyncio.run(stored_run(tmp_path / "runs.sqlite"))
    assert before is not None
    assert before.head.status == "stopped"
    asyncio.run(drive(flow, tmp_path, resumes="fail"))
    after = asyncio.run(stored_run(tmp_path / "runs.sqlite"))
    assert after is not None
    assert after.head.status == "cancelled"
    assert [record.body["error"] for record in after.records if record.kind == "failed"] == [
        "ValueError",
        "Ambiguous",
    ]
