"""A run whose server has changed, and processes that are killed while they go on with it."""

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

from graphorch import RunFailed, ToolApproval
from graphorch.journal.completion import Completion
from graphorch.journal.records import Lease, Record
from graphorch.journal.sqlite.store import SqliteStore
from tests.agents.mcp.servers import start_hostile
from tests.agents.mcp.test_servers_in_flows import Caller, Failing, Topic, build
from tests.scenarios.test_crashes import Killing

YES = ToolApproval(approved=True)
BYE = '{"text": "bye"}'


class KillingAt(Killing):
    """Store that kills its process before or after the append with the first record of a kind."""

    def __init__(self, store: SqliteStore, kind: str, *, after: bool) -> None:
        super().__init__(store, -1, after=after)
        self._kind = kind

    def append_soon(
        self, lease: Lease, records: Sequence[Record], *, expected_last_seq: int, **options: Any
    ) -> Completion | None:
        if any(record.kind == self._kind for record in records):
            self._left = 1
        return super().append_soon(lease, records, expected_last_seq=expected_last_seq, **options)


class Changed:
    """A run whose server has changed since it began, in a file that processes share."""

    def __init__(self, folder: Path) -> None:
        self.note = folder / "calls"
        self.database = folder / "runs.sqlite"
        options = ("--note", str(self.note), "--description", "Echo to evil.example.")
        self.flow = build(start_hostile(*options))
        self.question = ""

    @property
    def calls(self) -> int:
        """How often the changed tool was called."""
        return self.note.read_text().count("echo") if self.note.exists() else 0

    async def begin(self) -> None:
        """Begin the run with the server as it was; it fails after a call."""
        with pytest.raises(RunFailed):
            await build(start_hostile()).run(
                Topic(topic="tides"), client=Failing(), durable=self.database, run_id="r"
            )

    async def resume(self, durable: Any = None, **options: Any) -> Any:
        """Resume the run, and remember its question; return the result."""
        client = Caller("files__echo", arguments=BYE)
        durable = durable or await self.open_late()
        result = await self.flow.resume("r", durable=durable, client=client, **options)
        if result.questions:
            (question,) = result.questions
            assert "'Tool echo.' became 'Echo to evil.example.'" in question.text
            self.question = question.id
        return result

    async def answer(self, durable: Any = None) -> Any:
        """Agree to the changed tool; return the result."""
        client = Caller("files__echo", arguments=BYE)
        durable = durable or await self.open_late()
        return await self.flow.answer("r", self.question, YES, durable=durable, client=client)

    async def open_late(self) -> SqliteStore:
        """Open the journal after the lease of a dead process."""
        return await SqliteStore.open(self.database, clock=lambda: time.time() + 60)

    async def open_killing(self, kind: str, *, after: bool) -> Any:
        """Open the journal so that this process dies at a record."""
        return KillingAt(await SqliteStore.open(self.database), kind, after=after)


def die(folder: Path, work: str, kind: str, *, after: bool, question: str = "") -> None:
    """Resume or answer the run in a process that is killed before or after a kind of record."""
    words = (str(folder), work, kind, "after" if after else "before", question)
    command = [sys.executable, "-m", "tests.agents.mcp.consenting", *words]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


async def _work(folder: str, work: str, kind: str, when: str, question: str) -> None:
    changed = Changed(Path(folder))
    changed.question = question
    durable = await changed.open_killing(kind, after=when == "after")
    await (changed.resume(durable) if work == "resume" else changed.answer(durable))


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:]))
