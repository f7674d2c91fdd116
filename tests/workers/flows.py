"""Flows whose runs workers take in tests, and a small team of workers in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Flow, Graph, append, node
from graphorch.clock import Clock
from graphorch.distributed.work_queue import WorkQueue
from graphorch.engine.settings import Limits
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import RunHead
from graphorch.runs.clients import open_no_calls
from graphorch.runs.durable import Claim
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from graphorch.runs.submission import submit
from graphorch.testing import virtual_now
from graphorch.workers.reconciler import Reconciler
from graphorch.workers.run_places import RunPlaces
from graphorch.workers.run_taker import RunTaker
from graphorch.workers.served_flows import AnyFlow, index_by_kind
from tests.workers.memory import MemoryEngine, MemoryPlacedRuns


class Topic(BaseModel):
    topic: str = "tides"


class Verdict(BaseModel):
    verdict: str = ""


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Case(Topic, Verdict, Done): ...


CaseFlow = Flow[Topic, Case, Case]


def build_chain(seconds: float = 0.0, name: str = "chain") -> CaseFlow:
    """Return a flow of two nodes that take so long each."""

    @node
    async def first(topic: Topic) -> Done:
        await asyncio.sleep(seconds)
        return Done(done=["first"])

    @node
    async def second(done: Done) -> Done:
        await asyncio.sleep(seconds)
        return Done(done=["second"])

    graph = Graph(name, Case, input=Topic, output=Case)
    graph.chain(first, second)
    return graph.build()


def build_asking() -> CaseFlow:
    """Return a flow that asks a person, and acts on the verdict."""

    @node
    async def act(verdict: Verdict) -> Done:
        return Done(done=[f"act {verdict.verdict}"])

    def write_question(topic: Topic) -> str:
        return f"Publish {topic.topic}?"

    graph = Graph("asking", Case, input=Topic, output=Case)
    graph.chain(graph.ask("review", question=write_question, answer=Verdict), act)
    return graph.build()


def build_timed(hours: float) -> CaseFlow:
    """Return a flow that waits so long, and then works."""

    @node
    async def remind(topic: Topic) -> Done:
        return Done(done=["reminded"])

    graph = Graph("timed", Case, input=Topic, output=Case)
    graph.chain(graph.timer("later", after=timedelta(hours=hours)), remind)
    return graph.build()


@dataclass
class Team:
    """Workers of one process, which share a store in memory, an engine and the placed runs."""

    clock: Clock = virtual_now
    store: MemoryStore = field(init=False)
    engine: MemoryEngine = field(default_factory=MemoryEngine)
    placed: MemoryPlacedRuns = field(init=False)
    fenced: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=self.clock)
        self.placed = MemoryPlacedRuns(self.store, self.clock)

    @property
    def places(self) -> RunPlaces:
        return RunPlaces(self.store, self.placed, self.engine)

    async def submit(
        self, flow: CaseFlow, run_id: str, topic: Topic | None = None, delay: float = 0.0
    ) -> str:
        """Submit a run, as `flow.submit` does."""
        manager = RunManager(flow.plan)
        settings = manager.build_settings(
            {"client": open_no_calls(), "run_id": run_id, "clock": self.clock}
        )
        update = manager.build_update(topic or Topic())
        run = await submit(self.store, flow.plan, settings, update)
        if run is not None:
            await WorkQueue(self.placed, self.engine).place(run, delay)
        return run_id

    def build_taker(self, *flows: AnyFlow, name: str = "worker", **options: Any) -> RunTaker:
        """Return what takes runs of some flows."""
        own = RunOptions(clock=self.clock, limits=Limits(waiting=0.0), **options)
        kinds = index_by_kind(flows)
        return RunTaker(
            self.places, kinds, own, claim=Claim(name), attempts=3, on_fenced=self.fenced.append
        )

    @asynccontextmanager
    async def serve(
        self,
        *flows: AnyFlow,
        name: str = "worker",
        reconciles: bool = False,
        grace: float = 0.0,
        **options: Any,
    ) -> AsyncGenerator[RunTaker]:
        """Have a worker take runs of some flows; at the end it hands over, after the grace."""
        taker = self.build_taker(*flows, name=name, **options)
        kinds = index_by_kind(flows)
        tasks = [asyncio.create_task(self.engine.serve(kinds, 20, taker.handle))]
        if reconciles:
            tasks.append(asyncio.create_task(Reconciler(self.places, list(kinds)).run()))
        try:
            yield taker
        finally:
            for task in tasks:
                task.cancel()
            taker.begin_stop()
            over = self.clock() + grace
            while taker.count:
                taker.hand_over(now=self.clock() >= over)
                await asyncio.sleep(0.05)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def read(self, run_id: str) -> RunHead:
        return (await self.store.load(run_id)).head

    async def wait_for(self, run_id: str, *statuses: str, seconds: float = 60.0) -> RunHead:
        """Return the head of a run once it has one of some statuses and no owner."""
        async with asyncio.timeout(seconds):
            while True:
                head = await self.read(run_id)
                if head.status in statuses and head.lease is None:
                    return head
                await asyncio.sleep(seconds / 1000)

    async def list_kinds(self, run_id: str) -> Sequence[str]:
        """Return the kinds of the records of a run."""
        return [record.kind for record in (await self.store.load(run_id)).records]

    async def count_commits(self, run_id: str) -> int:
        return (await self.list_kinds(run_id)).count("commit")
