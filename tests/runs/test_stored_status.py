"""The status in the head of a stored run is that of its owner, set with its first records."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.journal.completion import Completion
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Lease, Record, RunQuery
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.journal.wrappers import ForwardingStore
from graphorch.runs.durable import cancel
from tests.engine.questions.asking_flows import YES, Case
from tests.runs.continuing import build_flow


class Watched(ForwardingStore):
    """A store that keeps the status and the size of each append."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.appends: list[tuple[str | None, list[str]]] = []

    def append_soon(
        self, lease: Lease, records: Sequence[Record], **options: Any
    ) -> Completion | None:
        self.appends.append((options.get("status"), [record.kind for record in records]))
        return super().append_soon(lease, records, **options)


@pytest.mark.parametrize("place", ["memory", "sqlite"])
def test_run_says_that_it_goes_on(place: str, tmp_path: Path) -> None:
    """A run that was answered or resumed is running again, without a write of its own for that."""
    seen: list[str] = []

    async def main() -> None:
        inner: Store = MemoryStore()
        if place == "sqlite":
            inner = await SqliteStore.open(tmp_path / "runs.sqlite", sync="normal")
        store = Watched(inner)
        flow = build_flow(seen, inner)
        await flow.run(Case(), run_id="r", durable=store)
        assert (await inner.load("r")).head.status == "waiting"
        store.appends.clear()
        with pytest.raises(RunFailed):
            await flow.answer("r", "ask", YES, durable=store)
        assert [status for status, _ in store.appends] == ["running", None, None, "failed"]
        assert store.appends[0][1] == ["continued", "commit"]
        store.appends.clear()
        await flow.resume("r", durable=store)
        assert [status for status, _ in store.appends] == ["running", None, "succeeded"]
        await inner.close()

    asyncio.run(main())
    assert seen == ["running", "running"]


def test_short_engagement_sets_its_end() -> None:
    """A run that is opened and rests at once never says that it runs."""

    async def main() -> None:
        inner = MemoryStore()
        store = Watched(inner)
        flow = build_flow([])
        await flow.run(Case(), run_id="r", durable=store)
        store.appends.clear()
        await flow.cancel("r", durable=store)
        assert [status for status, _ in store.appends] == ["cancelled"]

    asyncio.run(main())


@pytest.mark.parametrize("after", [False, True])
def test_killed_engagement_is_seen(after: bool, tmp_path: Path) -> None:
    """A process that was killed while it continued a run leaves it as one that crashed.

    Killed before its first records were written, it leaves the run as it was.
    """
    database, flow = tmp_path / "runs.sqlite", build_flow([])

    async def ask() -> None:
        await flow.run(Case(), run_id="r", durable=database)

    asyncio.run(ask())
    command = [sys.executable, "-m", "tests.runs.continuing", str(database)]
    ended = subprocess.run([*command, "after" if after else "before"], check=False)
    assert ended.returncode == -signal.SIGKILL

    async def look() -> None:
        store = await SqliteStore.open(database, clock=lambda: time.time() + 60)
        expected = "running" if after else "waiting"
        page = await store.list_runs(RunQuery(status=expected))
        [head] = page.runs
        assert head.lease is not None
        assert not head.lease.is_running(time.time() + 60)
        if after:
            # Without its flow, it is not known what was under way.
            with pytest.raises(Exception, match="was under way when its process ended"):
                await cancel(store, "r", 0.0)
        resumed = await flow.resume("r", durable=store)
        assert resumed.status == ("succeeded" if after else "waiting")
        await store.close()

    asyncio.run(look())
