"""Letters survive the death of whoever drives a run: nothing is lost, and nothing acts twice."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from graphorch.errors import JournalError
from graphorch.journal.sqlite.store import SqliteStore
from tests.runs.letters import CaseFlow, Topic, Verdict, Work, build_flow
from tests.scenarios.test_crashes import Killing


class Sequel(Work):
    """Resources of a run whose slow node ends when the other branch has acted."""

    def add(self, name: str) -> None:
        super().add(name)
        if name.startswith("act"):
            self.gate.set()


def fork_owner(flow: CaseFlow, database: Path, ledger: Path, at: int, after: bool) -> int:
    """Fork a process that drives the run and is killed at its n-th append; return its id."""
    child = os.fork()
    if child:
        return child

    async def drive() -> None:
        store = await SqliteStore.open(database, sync="normal")
        with ledger.open("a") as lines:
            work = Sequel(lambda name: print(name, file=lines, flush=True))
            durable: Any = Killing(store, at, after=after)
            await flow.run(Topic(), run_id="r", durable=durable, resources=work)
        await store.close()

    try:
        asyncio.run(drive())
    finally:
        os._exit(0)


async def post_when_asked(flow: CaseFlow, store: SqliteStore, child: int) -> tuple[bool, bool]:
    """Answer the run of a process as soon as it asks; return whether that was posted, and its end.

    The end is whether the process was killed.
    """
    is_posted, status = False, None
    while status is None:
        gone, code = os.waitpid(child, os.WNOHANG)  # noqa: ASYNC222  it does not wait
        status = code if gone else None
        try:
            records = (await store.load("r")).records
        except JournalError:
            records = ()
        if not is_posted and any(record.kind == "asked" for record in records):
            answer = Verdict(verdict="yes")
            await flow.send_answer("r", "ask", answer, durable=store, wait=False)
            is_posted = True
        await asyncio.sleep(0.002)
    return is_posted, os.WIFSIGNALED(status)


async def check_kill(folder: Path, at: int, *, after: bool) -> bool:
    """Kill an owner at its n-th append while a letter is under way; return if it ended before."""
    flow, ledger = build_flow(), folder / "ledger.txt"
    child = fork_owner(flow, folder / "runs.sqlite", ledger, at, after)
    store = await SqliteStore.open(folder / "runs.sqlite", sync="normal")
    is_posted, is_killed = await post_when_asked(flow, store, child)
    await store.close()
    # The lease of the dead process has run out.
    late = await SqliteStore.open(
        folder / "runs.sqlite", sync="normal", clock=lambda: time.time() + 60
    )
    work = Sequel()
    work.gate.set()
    try:
        log = await late.load("r")
        if not log.records:
            return is_killed
        result = await flow.resume("r", durable=late, resources=work)
        if result.status == "waiting":
            assert not is_posted, "the letter was lost"
            answer = Verdict(verdict="yes")
            result = await flow.answer("r", "ask", answer, durable=late, resources=work)
        assert result.output.verdict == "yes"
        assert sorted(result.output.done) == ["act yes", "close", "slow"]
        log = await late.load("r")
        commits = [item.body["path"] for item in log.records if item.kind == "commit"]
        assert sorted(commits) == ["act", "ask", "close", "slow"]
        letters = await late.list_letters("r")
        assert [letter.outcome and letter.outcome.error for letter in letters] == [""] * is_posted
        assert (await flow.replay("r", durable=late)).output == result.output
    finally:
        await late.close()
    return is_killed


@pytest.mark.parametrize("after", [False, True])
def test_killed_owner_loses_no_letter(after: bool, tmp_path: Path) -> None:
    """Whenever the owner dies, an answer acts once: by the owner, or by whoever resumes the run."""
    at = 0
    is_killed = True
    while is_killed:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        is_killed = asyncio.run(check_kill(folder, at, after=after))
    assert at > 5
