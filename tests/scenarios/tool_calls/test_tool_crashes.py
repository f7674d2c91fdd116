"""A process dies at any record of a tool loop, or in a tool: nothing acts twice, nothing is lost.

The processes, the kills and the database are real, as in `test_crashes`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch import RunFailed
from graphorch.journal.records import Record
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.test_crashes import Killing, stored_run
from tests.scenarios.tool_calls.acting import NAMES, ROUNDS, Ledger, Model, Topic, build_flow

Ambiguous = Literal["stop", "repeat", "fail"]


@dataclass(frozen=True)
class Kill:
    """Where a process dies: at an append to the journal or a line of the ledger, by number."""

    place: Literal["append", "line"]
    number: int
    after: bool


async def drive(folder: Path, kill: Kill | None = None, resume: Ambiguous | None = None) -> str:
    """Run, or resume once the lease of a dead process has run out; return what the model said."""
    late = 0.0 if resume is None else 60.0
    store = await SqliteStore.open(
        folder / "runs.sqlite", sync="normal", clock=lambda: time.time() + late
    )
    used: Any = store
    ledger = Ledger(folder / "ledger.txt")
    if kill is not None and kill.place == "append":
        used = Killing(store, kill.number, after=kill.after)
    elif kill is not None:
        ledger = Ledger(ledger.path, kill.number, after=kill.after)
    options: Any = {"client": Model(ledger.write), "resources": ledger, "durable": used}
    try:
        if resume is None:
            result = await build_flow().run(Topic(), run_id="r", **options)
        else:
            result = await build_flow().resume("r", ambiguous=resume, **options)
        return result.output.draft
    finally:
        await store.close()


def dies(folder: Path, kill: Kill) -> bool:
    """Drive a run in a process that dies; return False if it ended before that."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(drive(folder, kill))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def resume(folder: Path, ambiguous: Ambiguous) -> str:
    """Resume the run; return what the model said, or why the run has no result."""
    try:
        return asyncio.run(drive(folder, resume=ambiguous))
    except RunFailed as error:
        return str(error)


def ids_of(records: tuple[Record, ...], kind: str) -> set[str]:
    return {record.body["id"] for record in records if record.kind == kind}


def check_kill(folder: Path, kill: Kill, wanted: str, ambiguous: Ambiguous) -> bool:
    """Kill a run, resume it and check what happened; return whether it was killed."""
    folder.mkdir()
    ledger = Ledger(folder / "ledger.txt")
    if not dies(folder, kill):
        return False
    left, before = asyncio.run(stored_run(folder / "runs.sqlite")), ledger.read()
    if left is None or not left.records:
        return True  # it died before there was a run
    committed = ids_of(left.records, "commit")
    in_doubt = ids_of(left.records, "starting") - committed
    answered = sum(record.kind == "call" for record in left.records)

    outcome = resume(folder, ambiguous)
    after = ledger.read()[len(before) :]
    if not in_doubt or ambiguous == "repeat":
        assert outcome == wanted
    elif ambiguous == "stop":
        assert "was stopped (ambiguous)" in outcome
        assert after == [], "a run that stays stopped does nothing"
        assert resume(folder, "repeat") == wanted
    else:
        assert "Ambiguous: 'write/r" in outcome

    # 1. What acts once acts at most once, unless a person has it repeated.
    lines = Counter(ledger.read())
    may_repeat = {f"send {id}" for id in in_doubt} if ambiguous != "fail" else set[str]()
    for line, times in lines.items():
        if line.startswith("send "):
            assert times == 1 or (times == 2 and line in may_repeat), f"{line} {times} times"
    # 2. A tool that is called again has the key that it had.
    if outcome == wanted:
        keys = Counter(line.split()[0] for line in lines if not line.startswith("model"))
        assert keys == dict.fromkeys(NAMES, ROUNDS)
    # 3. What has an outcome is never called again, and no model is asked what it answered.
    after = ledger.read()[len(before) :]
    assert not {line.split()[1] for line in after} & committed
    asked = [int(line.split()[1]) for line in after if line.startswith("model ")]
    assert all(number >= answered for number in asked)
    return True


def list_kills(place: Literal["append", "line"], step: int) -> Iterator[Kill]:
    for number in itertools.count(1, step):
        yield Kill(place, number, after=False)
        yield Kill(place, number, after=True)


def check_kills(tmp_path: Path, place: Literal["append", "line"], ambiguous: Any, step: int) -> int:
    """Kill a run at every `step`-th append or line, and return how many kills that were."""
    calm = tmp_path / "calm"
    calm.mkdir()
    wanted = asyncio.run(drive(calm))
    kills = 0
    for kill in list_kills(place, step):
        if not check_kill(tmp_path / f"{kill.number}-{kill.after}", kill, wanted, ambiguous):
            break
        kills += 1
    return kills


@pytest.mark.parametrize("ambiguous", ["stop", "repeat", "fail"])
@pytest.mark.parametrize("kill", [Kill("append", 14, after=True), Kill("line", 3, after=True)])
def test_killed_loop_repeats_no_effect(kill: Kill, ambiguous: Ambiguous, tmp_path: Path) -> None:
    """A run that is killed in a tool loop, or in a tool that acts, acts once."""
    calm = tmp_path / "calm"
    calm.mkdir()
    wanted = asyncio.run(drive(calm))
    assert check_kill(tmp_path / "killed", kill, wanted, ambiguous)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["append", "line"])
@pytest.mark.parametrize("ambiguous", ["stop", "repeat", "fail"])
def test_kill_at_every_record(
    place: Literal["append", "line"], ambiguous: str, tmp_path: Path
) -> None:
    """A run that is killed at every record, and before and after every act of a tool or model."""
    kills = check_kills(tmp_path, place, ambiguous, step=1)
    print(f"{place}, {ambiguous}: {kills} kills")
    assert kills >= 2 * ROUNDS * len(NAMES)


# ---- Ctrl-C --------------------------------------------------------------------------------------
PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.scenarios.tool_calls.acting import Ledger, Model, Topic, build_flow

ledger = Ledger(Path(sys.argv[1]) / "ledger.txt")

class Slow(Ledger):
    def write(self, line):
        super().write(line)
        if line.startswith("send"):
            self.seconds = 60
            print("acting", flush=True)

slow = Slow(ledger.path)
flow = build_flow()
flow.run_sync(
    Topic(), run_id="r", client=Model(ledger.write), resources=slow,
    durable=str(Path(sys.argv[1]) / "runs.sqlite"),
)
"""


def test_interrupted_program_acts_once(tmp_path: Path) -> None:
    """Ctrl-C while a tool acts ends the program; the run is resumed, and does not act again."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "acting\n"
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert "was stopped (ambiguous)" in resume(tmp_path, "stop")
    ledger = Ledger(tmp_path / "ledger.txt")
    assert [line.split()[0] for line in ledger.read()] == ["model", "look", "send"]
    assert "Ambiguous: 'write/r1/send#1'" in resume(tmp_path, "fail")
