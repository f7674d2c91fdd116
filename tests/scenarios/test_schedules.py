"""Random graphs on a virtual clock, disturbed in every way, end as the reference says.

The graphs and the reference are those of `tests/simulation`, which drives the core alone. Here the
asyncio scheduler runs them: attempts fail and are repeated, hang and time out, nodes fail for good,
the caller cancels or stops the run at any step of the loop, gates ask people, who answer in any
order; and stopped runs are resumed. A run is a function of (graph, seed).

The long version is `pytest -m slow tests/scenarios/test_schedules.py`: 100,000 runs of other graphs
each time. It prints its seed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from graphorch import Approval, Context, Node, Retry
from graphorch.core.invariants import check_invariants
from graphorch.core.tree import Status
from graphorch.engine.events import Committed, Ended, RunEvent
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import Limits, RunSettings
from graphorch.errors import InternalError, WriteConflict
from graphorch.flow.flow import Flow
from graphorch.graph.plan import Plan
from graphorch.models.offline.client import OfflineClient
from graphorch.testing import Injected, Schedule, VirtualLoop, around_nodes, run_virtual, with_nodes
from graphorch.testing.faults import Call
from tests.simulation.behaviour import INPUT
from tests.simulation.graphs import Sample, random_graph
from tests.simulation.reference import Conflict, Result, TooLong, run_reference
from tests.simulation.simulate import as_bytes

SEED = random.SystemRandom().randrange(10**9)  # of the long simulation
CLIENT = OfflineClient()
AGAIN = Retry(4, on=(Injected, TimeoutError), first=0.3)


class Broken(AssertionError):
    """Error of a run that did not end as it has to."""


@dataclass(frozen=True, slots=True)
class Mishaps:
    """Chances, in percent, of what happens to an attempt.

    They also say whether the run as a whole is disturbed at a step of its loop.
    """

    retried: int = 0
    hanging: int = 0
    failing: int = 0
    gates: int = 0
    cancelled: bool = False
    stopped: bool = False
    policy: Any = "drain"


KINDS: dict[str, Mishaps] = {
    "free": Mishaps(),
    "retries and timeouts": Mishaps(retried=15, hanging=10),
    "failures": Mishaps(failing=8),
    "cancelled by failures": Mishaps(failing=8, policy="cancel"),
    "cancelled": Mishaps(cancelled=True),
    "stopped": Mishaps(stopped=True),
    "people": Mishaps(gates=30),
    "everything": Mishaps(5, 5, 4, 15, cancelled=True, stopped=True),
}


@dataclass(slots=True)
class Tally:
    """Count of what was run."""

    runs: int = 0
    graphs: int = 0
    commits: int = 0
    resumed: int = 0
    answered: int = 0
    ends: Counter[str] = field(default_factory=Counter)


class Subject:
    """Graph that is run again and again, with what is known about it."""

    def __init__(self, sample: Sample, reference: Result | None) -> None:
        self.sample = sample
        # None: timing decides
        self.wanted = as_bytes(reference.final) if reference is not None else None
        self.ids: frozenset[str] | None = None
        self.steps = 40  # of the loop, in one run; corrected by each

    def plan(self, mishaps: Mishaps, trial: Trial) -> Plan:
        flow: Flow[Any, Any, Any] = Flow(self.sample.plan)
        return around_nodes(
            with_nodes(flow, lambda node: trial.changed(node, mishaps)), trial.around
        ).plan


class Trial:
    """Run that is driven to its end through everything that stops it."""

    def __init__(self, subject: Subject, kind: str, seed: int, tally: Tally) -> None:
        self.subject = subject
        self.mishaps = KINDS[kind]
        self.rng = random.Random(seed)
        self.seed = seed
        self.tally = tally
        self.schedule = Schedule(seed, self.rng.choice([None, None, 1, 2, 3]))
        self.committed: list[str] = []
        self.ended: list[str] = []
        self.problem: Exception | None = None
        self.may_fail = True
        plan = subject.plan(self.mishaps, self)
        limits = Limits(concurrency=self.schedule.concurrency)
        settings = RunSettings(
            client=CLIENT,
            run_id="r",
            limits=limits,
            on_failure=self.mishaps.policy,
            watchers=(self.watch,),
            clock=lambda: 1e9,
        )
        self.scheduler = Scheduler(plan, settings)

    # ---- what happens to nodes ------------------
    def changed(self, node: Node[Any], mishaps: Mishaps) -> Node[Any]:
        twin = node.named(node.name)
        gate = (
            self.rng.choice(["before", "after"])
            if self.rng.randrange(100) < mishaps.gates
            else None
        )
        again = mishaps.retried or mishaps.hanging
        twin.options = replace(
            node.options,
            gate=gate,
            retry=AGAIN if again else None,
            timeout=50.0 if mishaps.hanging else None,
        )
        return twin

    async def around(self, ctx: Context[Any], call: Call) -> Any:
        await asyncio.sleep(self.schedule.seconds(ctx.key, ctx.attempt))
        drawn, mishaps = self.rng.randrange(100), self.mishaps
        if ctx.attempt < 3 and drawn < mishaps.retried:
            raise Injected("for now")
        if ctx.attempt < 3 and drawn < mishaps.retried + mishaps.hanging:
            await asyncio.sleep(1000)
        # a map may leave out items that fail
        if self.may_fail and drawn >= 100 - mishaps.failing and "[" not in ctx.path:
            raise ZeroDivisionError("for good")
        return await call()

    def watch(self, event: RunEvent) -> None:
        if isinstance(event, Committed):
            self.committed.append(event.path)
        elif isinstance(event, Ended):
            self.ended.append(event.status)
        if self.seed % 4 == 0 and self.problem is None:
            try:
                check_invariants(self.scheduler.run)
            except InternalError as error:
                self.problem = error

    # ---- the run ------------------
    async def main(self) -> None:
        loop, run = cast(VirtualLoop, asyncio.get_running_loop()), self.scheduler.run
        update = run.plan.read_input.update(run.plan.input(**INPUT))
        work: Any = self.scheduler.begin(update)
        for round_ in range(400):
            self.may_fail = round_ < 12
            task = loop.create_task(work)
            if round_ < 6:
                self.disturb(loop, task)
            await asyncio.wait([task])
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if left:
                raise Broken(f"tasks are left: {left}")
            if not task.cancelled():
                task.result()
            if run.status in ("succeeded", "partial"):
                self.subject.steps = loop.steps
                return self.check()
            if self.subject.wanted is None and any(
                isinstance(activation.failure, WriteConflict) for activation in run.errors
            ):
                return None  # two branches of a race; `build()` would have refused them
            work = await self.next(run)
        raise Broken("it does not come to an end")

    def disturb(self, loop: VirtualLoop, task: asyncio.Task[Any]) -> None:
        at = loop.steps + self.rng.randint(1, self.subject.steps)
        if self.mishaps.cancelled and not (self.mishaps.stopped and self.rng.random() < 0.5):
            loop.at_step(at, task.cancel)
        elif self.mishaps.stopped:
            loop.at_step(
                at, lambda: self.scheduler.request_stop("asked to", now=self.rng.random() < 0.5)
            )

    async def next(self, run: Any) -> Any:
        """Return the next work on a run that is not over: an answer, or resuming it."""
        before = len(self.committed)
        await asyncio.sleep(20)
        if len(self.committed) != before:
            raise Broken("something was committed after the end")
        open_ = self.scheduler.open_questions()
        if run.status == "waiting" or (open_ and self.rng.random() < 0.3):
            self.tally.answered += 1
            return self.scheduler.answer(self.rng.choice(open_), Approval(approved=True))
        if run.status == "running" and not run.started:
            # cancelled before it began
            return self.scheduler.begin(run.plan.read_input.update(run.plan.input(**INPUT)))
        self.tally.resumed += 1
        return self.scheduler.resume()

    def check(self) -> None:
        run, subject = self.scheduler.run, self.subject
        if self.problem is not None:
            raise self.problem
        # A loser of a join that lets its losers finish may fail, which the run survives.
        ends = {"succeeded", "partial"} if subject.sample.lets_finish else {"succeeded"}
        if self.ended[-1] not in ends:
            raise Broken(f"it ended as {self.ended}")
        done = [
            activation
            for activation in run.history
            if activation.status in (Status.DONE, Status.HANDLED)
        ]
        ids = frozenset(activation.id for activation in done)
        if len(ids) != len(done):
            raise Broken("an activation committed twice")
        self.tally.commits += len(done)
        if subject.wanted is None:
            return
        version = run.root.output
        state = run.plan.read_state.result(version).model_dump() if version is not None else None
        if as_bytes(state) != subject.wanted:
            raise Broken(f"the state is {state}, not {subject.wanted!r}")
        subject.ids = subject.ids or ids
        if ids != subject.ids:
            raise Broken(
                f"other activations: {len(ids - subject.ids)} more, {len(subject.ids - ids)} fewer"
            )


def run_one(subject: Subject, kind: str, seed: int, tally: Tally) -> None:
    """Do a random run; raise what went wrong, with a note on how to repeat it."""
    trial = Trial(subject, kind, seed, tally)
    try:
        run_virtual(trial.main(), seed=seed)
    except BaseException as error:
        error.add_note(
            f"graph {subject.sample.seed}, '{kind}', seed {seed}: "
            f"repeat({subject.sample.seed}, {kind!r}, {seed})"
        )
        raise
    tally.runs += 1
    tally.ends[kind] += 1


def repeat(graph: int, kind: str, seed: int) -> None:
    """Repeat one run that went wrong."""
    subject = subject_of(graph)
    assert subject is not None
    run_one(subject, kind, seed, Tally())


def subject_of(seed: int) -> Subject | None:
    sample = random_graph(seed)
    try:
        reference = run_reference(sample)
    except (Conflict, TooLong):
        return None
    return Subject(sample, None if sample.races else reference)


def simulate(seed: int, runs: int, *, each: int = 4) -> Tally:
    """Run random graphs from a seed on, each of them `each` times in every way, `runs` in all."""
    tally = Tally()
    while tally.runs < runs:
        subject = subject_of(seed)
        if subject is not None:
            tally.graphs += 1
            for number in range(each):
                for at, kind in enumerate(KINDS):
                    run_one(subject, kind, seed * 1000 + number * 10 + at, tally)
        seed += 1
    return tally


@pytest.mark.parametrize("part", range(4))
def test_random_runs_equal_reference(part: int) -> None:
    """Over a thousand random runs, in four parts, end as the reference says."""
    tally = simulate(part * 50_000, 256, each=1)
    assert tally.resumed > 60
    assert tally.answered > 60
    assert min(tally.ends[kind] for kind in KINDS) > 25


@pytest.mark.slow
@pytest.mark.parametrize("part", range(50))
def test_100_000_random_runs_equal_reference(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred thousand random runs end as the reference says."""
    seed, begun = SEED + part * 10_000, time.perf_counter()
    with capsys.disabled():
        print(f"\nseed {seed}:", end=" ", flush=True)
        tally = simulate(seed, 2000, each=5)
        print(tally, f"{time.perf_counter() - begun:.1f} s")
    assert tally.runs >= 2000
