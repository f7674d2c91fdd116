"""A signal that ends a sub-flow survives the death of the process that drives the run."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from graphorch import GraphorchError
from graphorch.engine.replay import verify
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.events.team import Stop, TeamFlow, Topic, team_flow
from tests.scenarios.test_crashes import Killing


def fork_owner(flow: TeamFlow, database: Path, at: int, after: bool) -> int:
    """Fork a process that drives the run and is killed at its n-th append; return its id."""
    child = os.fork()
    if child:
        return child

    async def drive() -> None:
        store = await SqliteStore.open(database, sync="normal")
        durable: Any = Killing(store, at, after=after)
        await flow.run(Topic(), run_id="r", durable=durable)
        await store.close()

    try:
        asyncio.run(drive())
    finally:
        os._exit(0)


async def stop_when_committed(flow: TeamFlow, store: SqliteStore, child: int) -> tuple[bool, bool]:
    """End the sub-flow once something is committed inside; return if that was sent, and the end.

    The end is whether the process was killed.
    """
    sender: asyncio.Task[Any] | None = None
    status = None
    while status is None:
        gone, code = os.waitpid(child, os.WNOHANG)  # noqa: ASYNC222  it does not wait
        status = code if gone else None
        try:
            records = (await store.load("r")).records
        except GraphorchError:
            records = ()
        if sender is None and any(record.kind == "commit" for record in records):
            sender = asyncio.create_task(flow.send("r", "stop", Stop(), durable=store))
        await asyncio.sleep(0.002)
    if sender is not None:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
    return bool(await store.list_letters("r")) if sender else False, os.WIFSIGNALED(status)


async def check_kill(database: Path, at: int, *, after: bool) -> bool:
    """Kill an owner at its n-th append while a signal is under way; return if it ended before."""
    flow = team_flow(second=0.05)
    child = fork_owner(flow, database, at, after)
    store = await SqliteStore.open(database, sync="normal")
    is_sent, is_killed = await stop_when_committed(flow, store, child)
    await store.close()
    # The lease of the dead process has run out.
    late = await SqliteStore.open(database, sync="normal", clock=lambda: time.time() + 60)
    try:
        if not (await late.load("r")).records:
            return is_killed
        result = await flow.resume("r", durable=late)
        records = (await late.load("r")).records
        taken = [record.seq for record in records if record.kind == "signal"]
        commits = [record.body["path"] for record in records if record.kind == "commit"]
        assert len(taken) == is_sent
        assert (result.output.found[0] == "kept") is is_sent
        assert len(commits) == len(set(commits))
        verify(flow.plan, "r", records)
    finally:
        await late.close()
    return is_killed


@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.slow), True])
def test_killed_owner_loses_no_signal(after: bool, tmp_path: Path) -> None:
    """Whenever the owner dies, a signal that was sent ends the sub-flow once."""
    at, is_killed = 0, True
    while is_killed:
        at += 1
        is_killed = asyncio.run(check_kill(tmp_path / f"{at}.sqlite", at, after=after))
    assert at > 4
