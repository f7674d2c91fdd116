"""Nodes of a pool go to a cluster with an engine of its own, which may lose all that it has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from graphorch import Graph, Retry, node
from graphorch.engine.scheduler import Scheduler
from graphorch.testing import run_virtual
from tests.distributed.cases import (
    Case,
    Item,
    Items,
    Ledger,
    Squares,
    Topic,
    build,
    check_journal,
    make_worker,
)
from tests.distributed.memory_engine import ALL, NONE
from tests.distributed.team import Machine, Team


def start(team: Team, flow: Any, *, count: int = 1) -> Machine:
    """Start an owner that has a cluster for pool gpu, and workers of that cluster."""
    for _ in range(count):
        team.add(flow, pools=("gpu",), is_on_cluster=True)
    return team.add(flow, served=0, clusters=("gpu",))


def build_chain(ledger: Ledger, seconds: float = 10.0, **options: Any) -> Any:
    """Return a flow of a node of the pool, and another one here."""
    far = make_worker("far", ledger, seconds, pool="gpu", **options)
    return build(far, make_worker("near", ledger, isolation="thread"))


def build_squares(ledger: Ledger) -> Any:
    """Return a flow that squares numbers, each on the cluster."""

    @node(pool="gpu", retry=Retry(3))
    async def square(item: Item) -> Item:
        await ledger.work(str(item.number), 1.0)
        return Item(number=item.number**2)

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Item]) -> Squares:
        return Squares(squares=[item.number for item in results])

    graph = Graph("squares", Case, input=Items, output=Squares)
    graph.chain(graph.map("each", square, over=split, gather=collect, max_items=50))
    return graph.build()


async def finish(team: Team, flow: Any, scheduler: Scheduler) -> None:
    """Check that a run succeeded and left nothing behind, and close the team."""
    assert scheduler.run.status == "succeeded"
    await check_journal(flow, team.store)
    await team.close()


def test_pool_goes_to_cluster() -> None:
    """Nodes of the pool run on the cluster, and all others where they would without it."""
    ledger = Ledger()
    flow = build_chain(ledger)

    async def main() -> list[str]:
        team = Team()
        owner = start(team, flow)
        team.add(flow, pools=(None, "gpu"))  # serves the pool elsewhere: it is not asked
        await team.submit(flow, "run", Topic())
        await finish(team, flow, await owner.drive(flow, "run"))
        assert team.queue.story == []
        return [worker for _, worker, _ in team.cluster.story]

    assert run_virtual(main()) == ["machine 1"]
    assert ledger.ended == ["far", "near"]


@pytest.mark.parametrize("is_lost", [False, True], ids=["kept", "lost"])
def test_cluster_that_is_away_is_waited_for(is_lost: bool) -> None:
    """What a scheduler has lost is put again once it is back; other nodes do not wait for it."""
    ledger = Ledger()
    flow = build_chain(ledger)

    async def main() -> float:
        team = Team()
        owner = start(team, flow)
        team.cluster.is_away = True
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(20)
        assert ledger.began == []
        team.cluster.is_away = False
        await asyncio.sleep(3)
        assert ledger.began == ["far"]
        if is_lost:
            team.cluster.lose_all()
        await finish(team, flow, await run)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 40
    assert "near" in ledger.ended


@pytest.mark.parametrize("effect", ["pure", "once"])
@pytest.mark.parametrize("after", [2.0, 61.0], ids=["runs", "has ended"])
@pytest.mark.parametrize("is_away", [False, True], ids=["there", "away"])
def test_call_on_cluster_outlives_owner(effect: str, after: float, is_away: bool) -> None:
    """Another owner takes over what the cluster has, also while its scheduler does not answer.

    What acts once is not begun a second time.
    """
    ledger = Ledger()
    flow = build_chain(ledger, 60.0, effect=effect)

    async def main() -> Scheduler:
        team = Team()
        owner = start(team, flow)
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(1.5)
        if after > 60:  # the owner does not hear of the result
            owner.results.unwatch("run")
        await asyncio.sleep(after - 1.5)
        await owner.kill(run)
        team.cluster.is_away = is_away
        heir = team.add(flow, served=0, clusters=("gpu",))
        taken = asyncio.create_task(heir.drive(flow, "run"))
        await asyncio.sleep(40)  # longer than the lease of the run
        team.cluster.is_away = False
        scheduler = await taken
        await check_journal(flow, team.store)
        await team.close()
        return scheduler

    scheduler = run_virtual(main())
    assert ledger.began.count("far") == 1
    if (effect, after, is_away) == ("once", 2.0, True):
        # Whether it acted is not known, so a person decides.
        assert (scheduler.run.status, scheduler.run.reason) == ("stopped", "ambiguous")
    else:
        assert ledger.ended == ["far", "near"]


@pytest.mark.parametrize("seed", range(6))
def test_map_survives_bad_cluster(seed: int) -> None:
    """A cluster that loses, doubles, delays and does not answer changes no result."""
    ledger = Ledger()
    flow = build_squares(ledger)

    async def main() -> None:
        team = Team(seed, replace(ALL, until=60.0) if seed else NONE)
        owner = start(team, flow, count=3)
        await team.submit(flow, "run", Items(items=list(range(20))))
        await finish(team, flow, await owner.drive(flow, "run"))

    run_virtual(main(), seed=seed)
    assert {int(each) for each in ledger.ended} == set(range(20))


def test_cancelled_call_ends_on_cluster() -> None:
    """A run that is cancelled ends what the cluster does for it."""
    ledger = Ledger()
    flow = build_chain(ledger)

    async def main() -> None:
        team = Team()
        owner = start(team, flow)
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(2)
        assert owner.driven is not None
        owner.driven.stop("no", status="cancelled")
        scheduler = await run
        assert scheduler.run.status == "cancelled"
        await asyncio.sleep(2)
        await team.close()

    run_virtual(main())
    assert ledger.ended == ["far cancelled"]
