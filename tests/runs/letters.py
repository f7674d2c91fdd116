"""A flow that asks a person beside a node at work, and owners of its runs, for tests of letters."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Context, Flow, Graph, append, node
from graphorch.journal.errors import RunNotFound
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Letter, Outcome
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store


class Topic(BaseModel):
    topic: str = "tides"


class Verdict(BaseModel):
    verdict: str = ""


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Case(Topic, Verdict, Done): ...


CaseFlow = Flow[Topic, Case, Case]


class Work:
    """Resources of a run: a gate that holds the slow node, and who ran."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self.gate = asyncio.Event()
        self.ran: list[str] = []
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._write = write

    async def has_run(self, name: str) -> None:
        """Return once a node has run."""
        await self._events[name].wait()

    def add(self, name: str) -> None:
        self.ran.append(name)
        self._events[name].set()
        if self._write is not None:
            self._write(name)


@node
async def slow(ctx: Context[Work], topic: Topic) -> Done:
    """Work until the gate opens."""
    ctx.resources.add("slow")
    await ctx.resources.gate.wait()
    return Done(done=["slow"])


@node
async def act(ctx: Context[Work], verdict: Verdict) -> Done:
    """Act on the verdict, beside the slow node."""
    ctx.resources.add(f"act {verdict.verdict}")
    return Done(done=[f"act {verdict.verdict}"])


@node
async def close(done: Done) -> Done:
    """Meet both branches."""
    return Done(done=["close"])


def build_flow(expires: float | None = None) -> CaseFlow:
    """Build a flow in which `act` follows a question, beside a node that works."""
    graph = Graph("case", Case, input=Topic, output=Case)
    ask = graph.ask("ask", question=lambda s: f"{s.topic}?", answer=Verdict, expires=expires)
    graph.chain(ask, act, close)
    graph.chain(slow, close)
    return graph.build()


class Owner:
    """A run that is driven by a task of this process, and the store through which others see it."""

    def __init__(self, flow: Flow[Topic, Any, Any], store: Store, other: Store) -> None:
        self.flow = flow
        self.store = store
        self.other = other
        self.work = Work()
        self.task: asyncio.Task[Any] | None = None

    async def begin(self, **options: Any) -> None:
        """Begin the run, and return once its question is open and its node at work."""
        running = self.flow.run(
            Topic(), run_id="r", durable=self.store, resources=self.work, **options
        )
        self.task = asyncio.create_task(running)
        await self.wait_for("asked")
        await self.work.has_run("slow")

    async def wait_for(self, *kinds: str) -> None:
        """Return once the run has records of these kinds."""
        while True:
            with suppress(RunNotFound):
                records = (await self.other.load("r")).records
                if set(kinds) <= {record.kind for record in records}:
                    return
            await asyncio.sleep(0.005)

    async def finish(self) -> Any:
        """Let the slow node end, and return the result of the owner."""
        self.work.gate.set()
        assert self.task is not None
        return await self.task

    async def settled(self) -> Outcome:
        """Return the outcome of the first letter once it has one."""
        while True:
            letters = await self.letters()
            if letters and letters[0].outcome is not None:
                return letters[0].outcome
            await asyncio.sleep(0.005)

    async def letters(self) -> tuple[Letter, ...]:
        """Return all letters of the run."""
        return await self.other.list_letters("r")


Check = Callable[[Owner], Awaitable[None]]


def run_owned(
    place: str, path: Path, check: Check, flow: Flow[Topic, Any, Any] | None = None
) -> None:
    """Run a check with an owner in memory, or in a file that two stores have open."""

    async def main() -> None:
        if place == "memory":
            store = MemoryStore()
            await check(Owner(flow or build_flow(), store, store))
            return
        first = await SqliteStore.open(path / "runs.sqlite")
        second = await SqliteStore.open(path / "runs.sqlite")
        try:
            await check(Owner(flow or build_flow(), first, second))
        finally:
            await second.close()
            await first.close()

    asyncio.run(asyncio.wait_for(main(), 20))
