"""Random graphs on machines that die, with servers that lose and double, end like the reference.

The graphs and the reference are those of `tests/simulation`. Each graph runs three times: by the
reference, by asyncio in one process, and on several machines: nodes go out because they say so or
because there is no room, owners and machines are killed, jobs and notes are lost, late and doubled,
and servers are away. All three have the same activations and the same state, to the last byte.

The long version is `pytest -m slow tests/distributed/test_conformance.py`. A failure names its
seed:
`run_one(seed)` repeats it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from graphorch import Context, Node, Retry
from graphorch.core.tree import Activation, Status
from graphorch.engine.replay import verify
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.flow.flow import Flow
from graphorch.models.offline.client import OfflineClient
from graphorch.testing import Injected, Schedule, around_nodes, run_virtual, with_nodes
from graphorch.testing.faults import Call
from tests.distributed.memory_engine import Faults
from tests.distributed.team import Team
from tests.simulation.behaviour import INPUT
from tests.simulation.graphs import random_graph
from tests.simulation.reference import Conflict, Result, TooLong, run_reference
from tests.simulation.simulate import as_bytes

SEED = random.SystemRandom().randrange(10**9)  # of the long simulation
AGAIN = Retry(5, on=(Injected,), first=0.3)
CALM_AFTER = 60.0  # seconds; later nothing is lost or killed, so that a run comes to its end

AnyFlow = Flow[Any, Any, Any]


@dataclass(slots=True)
class Tally:
    """Count of what happened."""

    runs: int = 0
    commits: int = 0
    happened: Counter[str] = field(default_factory=Counter[str])


def build_flow(seed: int, sample: Any) -> AnyFlow:
    """Return the flow of a graph whose nodes take their time, fail for now, and may go out."""
    rng, schedule = random.Random(seed), Schedule(seed, None)

    def change(node: Node[Any]) -> Node[Any]:
        twin = node.named(node.name)
        place: Any = rng.choice(["worker", "thread", "thread"])
        twin.options = replace(node.options, isolation=place, retry=AGAIN)
        return twin

    async def around(ctx: Context[Any], call: Call) -> Any:
        await asyncio.sleep(3 * schedule.seconds(ctx.key, ctx.attempt))
        if random.Random(f"{seed} {ctx.key} {ctx.attempt}").random() < 0.05:
            raise Injected("for now")
        return await call()

    return around_nodes(with_nodes(Flow(sample.plan), change), around)


def list_done(scheduler: Scheduler) -> dict[str, Activation]:
    """Return by their ids the activations that committed."""
    over = (Status.DONE, Status.HANDLED)
    done = [item for item in scheduler.run.history if item.status in over]
    assert len({item.id for item in done}) == len(done), "an activation committed twice"
    return {item.id: item for item in done}


def read_state(scheduler: Scheduler) -> bytes:
    version = scheduler.run.root.output
    plan = scheduler.plan
    return as_bytes(None if version is None else plan.read_state.result(version).model_dump())


async def run_alone(flow: AnyFlow) -> Scheduler:
    """Run a graph in one process."""
    settings = RunSettings(client=OfflineClient(), run_id="run", clock=lambda: 1e9)
    scheduler = Scheduler(flow.plan, settings)
    await scheduler.begin(flow.plan.read_input.update(flow.plan.input(**INPUT)))
    return scheduler


async def run_on_machines(flow: AnyFlow, seed: int, tally: Tally) -> Scheduler:
    """Run a graph on machines of which some die, with servers that are as bad as they may be."""
    rng = random.Random(seed)
    faults = Faults(
        lose=rng.choice([0.0, 0.1]),
        double=rng.choice([0.0, 0.2]),
        redeliver=rng.choice([0.0, 0.2]),
        delay=rng.choice([0.0, 2.0]),
        unavailable=rng.choice([0.0, 0.05]),
        reorder=rng.random() < 0.5,
        until=CALM_AFTER,
    )
    notes = {"delay": rng.choice([0.0, 1.5]), "double": 0.2, "unavailable": rng.choice([0.0, 0.05])}
    team = Team(seed, faults, **notes)
    await team.submit(flow, "run", flow.plan.input(**INPUT))
    helpers = [team.add(flow, served=rng.choice([1, 5, 50])) for _ in range(2)]
    while True:
        owner = team.add(flow, slots=rng.choice([1, 2, 100]), served=rng.choice([0, 5]))
        run = asyncio.create_task(owner.drive(flow, "run"))
        if rng.random() < 0.4:
            await asyncio.wait([run], timeout=rng.uniform(0, 15))
            victim = rng.randrange(2)
            await helpers[victim].kill()
            helpers[victim] = team.add(flow, served=5)
            tally.happened["helpers killed"] += 1
        is_calm = asyncio.get_running_loop().time() > CALM_AFTER
        timeout = None if is_calm else rng.choice([None, rng.uniform(0, 20)])
        await asyncio.wait([run], timeout=timeout)
        if run.done():
            break
        await owner.kill(run)
        tally.happened["owners killed"] += 1
    scheduler = run.result()
    log = await team.store.load("run")
    verify(flow.plan, "run", log.records)
    tally.happened["calls elsewhere"] += len(team.queue.story)
    await team.close()
    return scheduler


def run_one(seed: int, tally: Tally | None = None) -> bool:
    """Run a random graph in all ways; return False for one that has no single outcome."""
    tally = tally or Tally()
    sample = random_graph(seed)
    try:
        reference = run_reference(sample)
    except (Conflict, TooLong):
        return False
    if sample.races:
        return False
    try:
        _compare(reference, build_flow(seed, sample), seed, tally)
    except BaseException as error:
        error.add_note(f"repeat it with run_one({seed})")
        raise
    return True


def _compare(reference: Result, flow: AnyFlow, seed: int, tally: Tally) -> None:
    alone = run_virtual(run_alone(flow))
    spread = run_virtual(run_on_machines(flow, seed, tally), seed=seed)
    for scheduler in (alone, spread):
        assert scheduler.run.status in ("succeeded", "partial")
        assert read_state(scheduler) == as_bytes(reference.final)
    assert list_done(alone).keys() == list_done(spread).keys()
    tally.runs += 1
    tally.commits += len(list_done(spread))


def simulate(seed: int, runs: int) -> Tally:
    """Run so many graphs from a seed on."""
    tally = Tally()
    while tally.runs < runs:
        run_one(seed, tally)
        seed += 1
    return tally


@pytest.mark.parametrize("part", range(10))
def test_machines_end_like_reference(part: int) -> None:
    """Random graphs on machines have the activations and the state of the reference."""
    tally = simulate(part * 10_000, 50)
    assert tally.happened["calls elsewhere"] > 50
    assert tally.happened["owners killed"]
    assert tally.happened["helpers killed"]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_10_000_runs_end_like_reference(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Other graphs each time."""
    seed = SEED + part * 10_000
    with capsys.disabled():
        print(f"\nseed {seed}:", end=" ", flush=True)
        print(simulate(seed, 500))
