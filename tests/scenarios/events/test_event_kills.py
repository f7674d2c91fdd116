"""Processes die at any moment while letters come: each accepted one takes effect exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from graphorch import InputError
from graphorch.errors import JournalError
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.events.owners import (
    PAYMENTS,
    Payment,
    Verdict,
    build_flow,
    drive,
)

KILLS = 3  # of each run
LEASE = 60.0  # more than the seconds for which a process holds a run
SEED = random.SystemRandom().randrange(10**9)  # of the long test


class Owners:
    """The program that starts the processes which drive runs."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program
        self._read()

    def start(self, folder: Path, late: float) -> int:
        """Start a process that drives the run in a folder; return its number."""
        assert self._program.stdin is not None
        print(folder, late, file=self._program.stdin, flush=True)
        return int(self._read())

    def _read(self) -> str:
        assert self._program.stdout is not None
        return self._program.stdout.readline()


@contextmanager
def started() -> Iterator[Owners]:
    """Start the program, and end it."""
    command = [sys.executable, "-m", "tests.scenarios.events.owners"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        yield Owners(program)
        assert program.stdin is not None
        program.stdin.close()


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def end(process: int, *, kill: bool) -> bool:
    """Wait for the end of a process, or kill it; return whether it was killed."""
    killed = False
    while is_alive(process):
        if kill and not killed:
            os.kill(process, signal.SIGKILL)
            killed = True
        await asyncio.sleep(0.002)
    return killed


class Sender:
    """Posts the letters of a run, one after the other, each at a random moment."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.flow = build_flow()
        self.left = [*range(1, PAYMENTS + 1)]
        self.has_answered = False
        self._folder = folder
        self._rng = rng

    async def post(self, *, late: float, seconds: float) -> None:
        """Post letters as long as there are some, and time is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        store = await SqliteStore.open(self._folder / "runs.sqlite", sync="normal")
        try:
            while (self.left or not self.has_answered) and loop.time() < until:
                await asyncio.sleep(self._rng.random() * 0.03)
                try:
                    await self._post_next(store)
                except (InputError, JournalError):
                    continue  # not begun, or not asked yet
        finally:
            await store.close()

    async def _post_next(self, store: Any) -> None:
        if self.left and (self.has_answered or self._rng.random() < 0.7):
            payment = Payment(amount=self.left[0])
            await self.flow.send_signal("r", "paid", payment, durable=store, wait=False)
            self.left.pop(0)
            return
        await self.flow.send_answer("r", "ask", Verdict(verdict="yes"), durable=store, wait=False)
        self.has_answered = True


async def check_run(owners: Owners, folder: Path, seed: int) -> int:
    """Kill the owners of a run, finish it, and check what took effect; return the kills."""
    rng = random.Random(seed)
    sender, kills, late = Sender(folder, rng), 0, 0.0
    for _ in range(KILLS):
        process = owners.start(folder, late)
        seconds = rng.random() * 0.25
        posting = asyncio.create_task(sender.post(late=late, seconds=seconds))
        await asyncio.sleep(seconds)
        kills += await end(process, kill=True)
        await posting
        late += LEASE
    result: Any = None
    while result is None or result.status == "waiting":
        result = await drive(sender.flow, folder, late)
        late += LEASE
        await sender.post(late=late, seconds=0.3)
    await check_effects(sender, folder, result)
    return kills


async def check_effects(sender: Sender, folder: Path, result: Any) -> None:
    """Check that every letter was taken in once, and that its effect is there once."""
    assert result.status == "succeeded"
    payments = [line for line in result.output.done if line.startswith("took")]
    assert payments == [f"took {amount}" for amount in range(1, PAYMENTS + 1)]
    others = ["acted on yes", "closed", "reminded of tea", "worked"]
    assert sorted({*result.output.done} - {*payments}) == others
    assert len(result.output.done) == PAYMENTS + len(others)
    store = await SqliteStore.open(folder / "runs.sqlite", sync="normal")
    try:
        letters = await store.list_letters("r")
        assert [each.outcome and each.outcome.error for each in letters] == [""] * (PAYMENTS + 1)
        records = (await store.load("r")).records
        kinds = Counter(record.kind for record in records)
        assert kinds["signal"] == PAYMENTS
        commits = Counter(item.body["path"] for item in records if item.kind == "commit")
        once = dict.fromkeys(("ask", "act", "later", "remind", "work", "close"), 1)
        assert commits == {**once, "paid": PAYMENTS, "take": PAYMENTS}
        assert (await sender.flow.replay("r", durable=store)).output == result.output
    finally:
        await store.close()


def kill_runs(path: Path, runs: int, seed: int) -> int:
    """Check so many runs; return how many processes were killed."""
    kills = 0
    with started() as owners:
        for number in range(runs):
            folder = path / str(number)
            folder.mkdir()
            try:
                kills += asyncio.run(asyncio.wait_for(check_run(owners, folder, seed + number), 60))
            except BaseException as error:
                error.add_note(f"seed {seed + number}")
                raise
    return kills


def test_killed_owners_lose_no_letter(tmp_path: Path) -> None:
    """Whenever processes die, each signal and answer takes effect once, and so does a timer."""
    assert kill_runs(tmp_path, 3, 0) > 3


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_1000_killed_owners_lose_no_letter(
    part: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other moments each time. A failure names its seed."""
    kills = kill_runs(tmp_path, 36, SEED + part * 1_000)
    with capsys.disabled():
        print(f"\nseed {SEED + part * 1_000}: {kills} kills of 36 runs")
    assert kills > 50
