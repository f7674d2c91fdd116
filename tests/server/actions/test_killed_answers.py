"""A server that is killed between an answer and what follows from it: the effect happens once.

A child is forked for each kill: it serves the journal, answers, and sends itself SIGKILL before or
after its n-th write. Then another server goes on, as a person at its page would have it do.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphorch.journal.records import Letter, NewLetter
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.mcp_server.served_runs import ServedRuns
from graphorch.server.app import build_app
from graphorch.server.context import stop_runs
from graphorch.views.reading.journal_reader import JournalReader
from tests.scenarios.test_crashes import Killing
from tests.server.asking import begin, build_letters, give, read_question, wait_for
from tests.server.serving import AnyFlow, Client, application, opened

RUNS = "/api/flows/letters/runs"
BODY = {"input": {"topic": "tides"}}
KEY = {"idempotency-key": "order-7"}
_WRITES = 5  # the letter; what it becomes; the start and the commit of the effect; the end


class KillingAtPost(Killing):
    """Store that kills its process at the n-th write, letters included."""

    async def post(self, letter: NewLetter) -> Letter:
        self._left -= 1
        self._die(not self._after)
        posted = await self._store.post(letter)
        self._die(self._after)
        return posted


def build_flow(folder: Path) -> AnyFlow:
    """Return a flow whose effect is a line in a file."""

    def act(text: str) -> None:
        with (folder / "sent.txt").open("a") as file:
            file.write(f"{text}\n")

    return build_letters(act)


def read_effects(folder: Path) -> list[str]:
    sent = folder / "sent.txt"
    return sent.read_text().splitlines() if sent.exists() else []


@asynccontextmanager
async def serving_with(folder: Path, store: Any) -> AsyncGenerator[Client]:
    """Serve the journal of a folder through a store of the test."""
    async with opened(folder, build_flow(folder)) as context:
        runs, reader = ServedRuns(store, {}), JournalReader(store)
        try:
            given = replace(context, store=store, reader=reader, runs=runs)
            yield Client(build_app(given))
        finally:
            await stop_runs(runs)
            reader.close()


async def answer_and_die(folder: Path, run_id: str, at: int, *, after: bool) -> None:
    """Answer the question of a run, and be killed at a write; return if there are fewer."""
    store = await SqliteStore.open(folder / "runs.sqlite")
    async with serving_with(folder, KillingAtPost(store, at, after=after)) as ask:
        await give(ask, run_id, await read_question(ask, run_id), approved=True)
        await wait_for(ask, run_id, "succeeded")


async def begin_and_die(folder: Path, *, after: bool) -> None:
    """Begin the run of a key, and be killed at its first record."""
    store = await SqliteStore.open(folder / "runs.sqlite")
    async with serving_with(folder, KillingAtPost(store, 1, after=after)) as ask:
        await ask("POST", RUNS, BODY, headers=KEY)


def run_killed(work: Coroutine[Any, Any, None]) -> bool:
    """Do something in a child that is to be killed by it; return whether it was."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work)
        finally:
            os._exit(0)
    work.close()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


async def go_on(folder: Path, run_id: str) -> list[str]:
    """Do at another server, once the lease is over, what its page offers; return what that was."""
    store = await SqliteStore.open(folder / "runs.sqlite", clock=lambda: time.time() + 60)
    done: list[str] = []
    async with serving_with(folder, store) as ask:
        page = (await ask("GET", f"/api/runs/{run_id}")).value
        if page["row"]["status"] == "succeeded":
            return done
        if page["questions"]:
            answer = await give(ask, run_id, page["questions"][0], approved=False)
            done.append(f"answer {answer.status}")
            if answer.status == 202:
                await wait_for(ask, run_id, "succeeded")
                return done
        for ambiguous in ("stop", "repeat" if not read_effects(folder) else "fail"):
            resumed = await ask("POST", f"/api/runs/{run_id}/resume", {"ambiguous": ambiguous})
            assert resumed.status == 202, resumed
            row = (await wait_for(ask, run_id, "succeeded", "stopped", "failed"))["row"]
            done.append(f"resume {row['status']}")
            if row["status"] != "stopped":
                break
    await store.close()
    return done


async def begin_asking(folder: Path) -> str:
    async with application(folder, build_flow(folder)) as ask:
        return await begin(ask)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_server_acts_once(after: bool, tmp_path: Path) -> None:
    """Whichever write a server is killed at, an answer that it accepted acts once."""
    first = tmp_path / "first"
    first.mkdir()
    run_id = asyncio.run(begin_asking(first))
    stories: list[list[str]] = []
    for at in range(1, _WRITES + 1):
        folder = tmp_path / f"{at}"
        shutil.copytree(first, folder)
        assert run_killed(answer_and_die(folder, run_id, at, after=after)), at
        stories.append(asyncio.run(go_on(folder, run_id)))
        assert len(read_effects(folder)) == 1, at
    # Only an answer that was not stored can be given again, and every other one counts.
    assert [story[:1] == ["answer 202"] for story in stories] == [not after] + [False] * 4, stories


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_server_begins_one_run(after: bool, tmp_path: Path) -> None:
    """A request that is repeated after a crash finds its run, or begins it: there is one."""

    async def main() -> None:
        database = tmp_path / "runs.sqlite"
        store = await SqliteStore.open(database)
        async with serving_with(tmp_path, store) as ask:
            held = await ask("POST", RUNS, BODY, headers=KEY)
            assert (held.status, held.value.get("is_new")) == (
                (200, False) if after else (503, None)
            )
        store = await SqliteStore.open(database, clock=lambda: time.time() + 60)
        async with serving_with(tmp_path, store) as ask:
            again = await ask("POST", RUNS, BODY, headers=KEY)
            assert again.status == (200 if after else 201), again
            run_id = again.value["run_id"]
            if after:
                assert again.value["status"] == "crashed"
                resumed = await ask("POST", f"/api/runs/{run_id}/resume", {})
                assert resumed.status == 202, resumed
            await wait_for(ask, run_id, "waiting")
            assert len((await ask("GET", "/api/runs")).value["runs"]) == 1

    assert run_killed(begin_and_die(tmp_path, after=after))
    asyncio.run(main())
