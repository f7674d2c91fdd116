"""Machines in one process, in virtual time: each with runs of its own, and nodes of all others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from graphorch import Flow
from graphorch.distributed.certainty import Certainty, always_certain
from graphorch.distributed.local_slots import LocalSlots
from graphorch.distributed.node_handler import NodeHandler, WorkerFlow
from graphorch.distributed.node_messages import name_node_kind
from graphorch.distributed.outbox import Outbox
from graphorch.distributed.worker_placement import WorkerPlacement
from graphorch.engine.scheduler import Scheduler
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.errors import LeaseHeld, LeaseLost
from graphorch.journal.memory import MemoryStore
from graphorch.runs.clients import open_no_calls
from graphorch.runs.durable import Claim
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from graphorch.runs.submission import submit
from graphorch.statuses import BETWEEN_OWNERS
from graphorch.testing import virtual_now
from tests.distributed.memory_engine import NONE, Faults, MemoryQueue
from tests.distributed.memory_results import MemoryNotes

AnyFlow = Flow[Any, Any, Any]


class MortalStore:
    """The connection of one machine to the store: dead, it can do nothing more.

    It dies by itself before it has appended record number `last`, if there is one.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.is_dead = False
        self.last: int | None = None
        self.died = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or "watch" in name:
            return found

        def call(*args: Any, **options: Any) -> Any:
            expected = options.get("expected_last_seq")
            if self.last is not None and expected is not None and expected >= self.last:
                self.is_dead = True
                self.died.set()
            if self.is_dead:
                raise LeaseLost("", "the machine is dead.")
            return found(*args, **options)

        return call


@dataclass(eq=False)
class Machine:
    """One worker: it drives runs, and runs nodes for others unless it has no slots for them."""

    team: Team
    name: str
    flows: Sequence[AnyFlow]
    slots: int
    served: int
    resources: Any
    pools: Sequence[str | None] = (None,)
    clusters: Sequence[str] = ()  # pools whose nodes go to the cluster of the team
    is_on_cluster: bool = False  # whether it serves its pools there
    tasks: list[asyncio.Task[Any]] = field(default_factory=list[asyncio.Task[Any]])
    driven: Scheduler | None = None  # the run that it took last
    may_begin: Certainty = always_certain

    def __post_init__(self) -> None:
        self.engine = self.team.queue.connect(self.name)
        self.results = self.team.notes.connect()
        self.store = MortalStore(self.team.store)
        self.outbox = Outbox(self.engine, self.results, lambda: self.may_begin())
        self.cluster = self.team.cluster.connect(self.name)
        self.by_pool = dict.fromkeys(self.clusters, Outbox(self.cluster, self.results))
        self.room = LocalSlots(self.slots)
        flows = [WorkerFlow(flow.plan, self.resources) for flow in self.flows]
        holds = self.cluster if self.is_on_cluster else self.engine
        self.handler = NodeHandler(flows, self.results, holds, clock=virtual_now)

    def start(self) -> None:
        """Serve nodes, and send own ones."""
        self.tasks.append(asyncio.create_task(self._send()))
        kinds = [
            name_node_kind(flow.plan.name, compute_fingerprint(flow.plan), pool)
            for flow in self.flows
            for pool in self.pools
        ]
        if self.served:
            engine = self.cluster if self.is_on_cluster else self.engine
            work = engine.serve(kinds, self.served, self.handler.handle)
            self.tasks.append(asyncio.create_task(work))

    async def _send(self) -> None:
        async with AsyncExitStack() as stack:
            for outbox in {self.outbox, *self.by_pool.values()}:
                await stack.enter_async_context(outbox.work())
            await asyncio.Event().wait()

    async def drive(self, flow: AnyFlow, run_id: str, **options: Any) -> Scheduler:
        """Take a run, once the owner before has lost it, and drive it until it is at rest."""
        manager = RunManager(flow.plan)
        given: RunOptions = {
            "client": options.pop("client", None) or open_no_calls(),
            "resources": self.resources,
            "durable": self.store,  # type: ignore[typeddict-item]
            "clock": virtual_now,
            **options,
        }
        while True:
            try:
                async with manager.take(run_id, given, Claim(self.name)) as scheduler:
                    await self._drive(manager, scheduler, flow)
                    return scheduler
            except LeaseHeld as held:
                await asyncio.sleep(held.seconds_left + 0.05)

    async def _drive(self, manager: RunManager, scheduler: Scheduler, flow: AnyFlow) -> None:
        run_id = scheduler.settings.run_id
        placement = WorkerPlacement(
            self.outbox,
            self.room,
            run_id,
            flow.plan,
            self.team.count_served,
            self.by_pool,
            self.may_begin,
        )
        self.driven = scheduler
        scheduler.settings = replace(scheduler.settings, placement=placement)
        journal = scheduler.journal
        if journal is None:
            return  # it is over
        is_new = journal.last_durable_seq == 1
        await manager.drive(scheduler, scheduler.begin_recorded() if is_new else scheduler.resume())
        goes_on = scheduler.run.status == "running" or scheduler.run.reason in BETWEEN_OWNERS
        await placement.close(is_at_rest=not goes_on)

    async def kill(self, *drives: asyncio.Task[Any]) -> None:
        """End the machine as a power failure does; `drives` are those of its runs."""
        self.store.is_dead = True
        self.team.queue.kill(self.engine)
        self.team.cluster.kill(self.cluster)
        await self.results.close()
        for task in (*self.tasks, *drives):
            task.cancel()
        await asyncio.gather(*self.tasks, *drives, return_exceptions=True)
        self.tasks.clear()

    async def stop(self) -> None:
        """End the machine when nothing is left to do."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with suppress(Exception):
            await self.handler.close()


class Team:
    """The servers that machines share, and the machines."""

    def __init__(self, seed: int = 0, faults: Faults = NONE, **notes: float) -> None:
        self.store = MemoryStore(clock=virtual_now)
        self.queue = MemoryQueue(seed, faults)
        self.cluster = MemoryQueue(seed, faults)
        self.notes = MemoryNotes(seed, **notes)
        self.machines: list[Machine] = []

    def add(
        self,
        *flows: AnyFlow,
        slots: int = 100,
        served: int = 50,
        resources: Any = None,
        pools: Sequence[str | None] = (None,),
        clusters: Sequence[str] = (),
        is_on_cluster: bool = False,
        may_begin: Certainty = always_certain,
    ) -> Machine:
        """Start a machine with `slots` for nodes of own runs, which serves so many of others."""
        name = f"machine {len(self.machines) + 1}"
        machine = Machine(
            self, name, flows, slots, served, resources, pools, clusters, is_on_cluster
        )
        machine.may_begin = may_begin
        self.machines.append(machine)
        machine.start()
        return machine

    async def submit(self, flow: AnyFlow, run_id: str, input: Any, **options: Any) -> None:
        """Record a run that a machine may take."""
        manager = RunManager(flow.plan)
        own: Any = {"client": open_no_calls(), "run_id": run_id, "clock": virtual_now, **options}
        settings = manager.build_settings(own)
        await submit(self.store, flow.plan, settings, manager.build_update(input))

    def count_served(self) -> int:
        """Return how many functions all machines together run for others."""
        return sum(machine.served for machine in self.machines if machine.tasks)

    async def close(self) -> None:
        """Stop all machines."""
        for machine in self.machines:
            await machine.stop()
