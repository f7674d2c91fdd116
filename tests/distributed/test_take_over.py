"""A run whose owner died: what runs or has ended elsewhere counts for the next owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphorch import Graph, Missing, Retry, node
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
    build_map,
    check_journal,
    make_worker,
)
from tests.distributed.memory_engine import Faults
from tests.distributed.team import Machine, Team


async def lose_owner(
    team: Team, flow: Any, owner: Machine, input: Any, *, after: float, **options: Any
) -> Scheduler:
    """Kill the owner of a run after some seconds, and return how another one ends it."""
    await team.submit(flow, "run", input)
    run = asyncio.create_task(owner.drive(flow, "run"))
    await asyncio.sleep(after)
    await owner.kill(run)
    heir = team.add(flow, served=0, resources=owner.resources)
    scheduler = await heir.drive(flow, "run", **options)
    await check_journal(flow, team.store)
    assert team.notes.stored == {}
    await team.close()
    return scheduler


@pytest.mark.parametrize("after", [5.0, 12.0, 40.0], ids=["waits", "runs", "has ended"])
@pytest.mark.parametrize("effect", ["pure", "once"])
def test_call_outlives_owner(effect: str, after: float) -> None:
    """A call that waits, runs or has ended elsewhere is neither lost nor made again."""
    ledger = Ledger()
    flow = build(make_worker("far", ledger, 10.0, effect=effect), make_worker("next", ledger))

    async def main() -> None:
        faults = Faults(delay=20.0, until=5.0) if after == 5.0 else Faults()
        team = Team(faults=faults)
        owner = team.add(flow, served=0)
        team.add(flow)
        if after == 40.0:
            # The owner does not hear of the result, as if it died in the same moment.
            await team.submit(flow, "run", Topic())
            run = asyncio.create_task(owner.drive(flow, "run"))
            await asyncio.sleep(5)
            owner.results.unwatch("run")
            await asyncio.sleep(10)
            assert team.notes.list_keys()
            await owner.kill(run)
            heir = team.add(flow, served=0)
            scheduler = await heir.drive(flow, "run")
            await check_journal(flow, team.store)
            await team.close()
        else:
            scheduler = await lose_owner(team, flow, owner, Topic(), after=after)
        assert scheduler.run.status == "succeeded"

    run_virtual(main())
    assert ledger.ended == ["far", "next"]


@pytest.mark.parametrize("last", range(1, 12))
def test_owner_dies_at_every_record(last: int) -> None:
    """Wherever the owner dies, what ended elsewhere is not made again."""
    ledger = Ledger()
    graph = Graph("squares", Case, input=Items, output=Squares)

    @node(isolation="worker", retry=Retry(2, first=0.5))
    async def square(item: Item) -> Item:
        await ledger.work(str(item.number), 2.0 + item.number)
        if item.number == 3 and ledger.began.count("3") == 1:
            raise ValueError("once more")
        return Item(number=item.number**2)

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Item], missing: list[Missing]) -> Squares:
        return Squares(squares=[item.number for item in results])

    graph.chain(graph.map("each", square, over=split, gather=collect, max_items=9))
    flow = graph.build()

    async def main() -> list[int]:
        team = Team()
        owner = team.add(flow, served=0)
        team.add(flow)
        owner.store.last = last
        await team.submit(flow, "run", Items(items=[1, 2, 3]))
        run = asyncio.create_task(owner.drive(flow, "run"))
        died = asyncio.create_task(owner.store.died.wait())
        await asyncio.wait([run, died], return_when=asyncio.FIRST_COMPLETED)
        if owner.store.died.is_set():
            await owner.kill(run)
            scheduler = await team.add(flow, served=0).drive(flow, "run")
        else:
            scheduler = await run
        died.cancel()
        await check_journal(flow, team.store)
        await team.close()
        assert scheduler.run.root.output is not None
        return scheduler.plan.read_output.result(scheduler.run.root.output).squares

    assert run_virtual(main()) == [1, 4, 9]
    assert sorted(ledger.began) == ["1", "2", "3", "3"]


def test_owner_and_machine_die_together() -> None:
    """What ran on both machines that died is made again, and nothing else."""
    ledger = Ledger()
    flow = build_map(ledger, 10.0)

    async def main() -> list[int]:
        team = Team()
        owner = team.add(flow, slots=2, served=2)
        team.add(flow, served=2)
        await team.submit(flow, "run", Items(items=list(range(8))))
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(15)
        await owner.kill(run)
        heir = team.add(flow, slots=2, served=0)
        scheduler = await heir.drive(flow, "run")
        await check_journal(flow, team.store)
        await team.close()
        assert scheduler.run.root.output is not None
        return scheduler.plan.read_output.result(scheduler.run.root.output).squares

    assert run_virtual(main()) == [number**2 for number in range(8)]
    ended = [what for what in ledger.ended if "cancelled" not in what]
    assert sorted(ended) == [str(number) for number in range(8)]


def test_owners_die_in_turn() -> None:
    """Owner after owner dies, and the call that the first one sent is waited for by each."""
    ledger = Ledger()
    flow = build(make_worker("far", ledger, 200.0))

    async def main() -> None:
        team = Team()
        team.add(flow)
        await team.submit(flow, "run", Topic())
        for _ in range(3):
            owner = team.add(flow, served=0)
            run = asyncio.create_task(owner.drive(flow, "run"))
            await asyncio.sleep(45)
            await owner.kill(run)
        scheduler = await team.add(flow, served=0).drive(flow, "run")
        assert scheduler.run.status == "succeeded"
        await check_journal(flow, team.store)
        await team.close()

    run_virtual(main())
    assert ledger.ended == ["far"]


def test_failure_of_orphan_is_that_of_its_attempt() -> None:
    """A call that fails while nobody drives the run fails the attempt of the next owner."""
    ledger = Ledger()

    @node(isolation="worker")
    async def far(topic: Topic) -> None:
        await ledger.work("far", 10.0)
        raise ValueError("broken")

    flow = Graph("case", Case, input=Topic, output=Case).chain(far).build()

    async def main() -> str:
        team = Team()
        owner = team.add(flow, served=0)
        team.add(flow)
        scheduler = await lose_owner(team, flow, owner, Topic(), after=5.0)
        return str(scheduler.run.failed()[0].failure)

    assert "broken" in run_virtual(main())
    assert ledger.began == ["far"]


def test_vanished_effect_stays_in_doubt() -> None:
    """An effect whose owner and machine died is not repeated by the next owner."""
    ledger = Ledger()
    flow = build(make_worker("pay", ledger, 10.0, effect="once"))

    async def main() -> tuple[str, str]:
        team = Team()
        owner, machine = team.add(flow, served=0), team.add(flow)
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(5)
        await machine.kill()
        await owner.kill(run)
        team.add(flow)
        scheduler = await team.add(flow, served=0).drive(flow, "run")
        await check_journal(flow, team.store)
        await team.close()
        return scheduler.run.status, scheduler.run.reason

    assert run_virtual(main()) == ("stopped", "ambiguous")
    assert ledger.began == ["pay"]
