"""A map that states no concurrency has as many items at once as the workers have slots."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from graphorch import Budget, Context, Graph, Limits, agent, node
from graphorch.engine.scheduler import Scheduler
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun
from graphorch.testing import ScriptedModel, run_virtual
from tests.distributed.cases import (
    Case,
    Done,
    Item,
    Items,
    Ledger,
    Topic,
    build_map,
    check_journal,
)
from tests.distributed.team import Team


def build_wide(ledger: Ledger, seconds: float = 1.0, **options: Any) -> Any:
    return build_map(ledger, seconds, concurrency=None, **options)


def drive(
    flow: Any, count: int, machines: int = 2, slots: int = 10, **options: Any
) -> tuple[Scheduler, MemoryStore, float]:
    """Drive a run by one of some machines; return the virtual seconds that it took, too."""

    async def main() -> tuple[Scheduler, MemoryStore, float]:
        team = Team()
        owner, *_ = [team.add(flow, slots=slots, served=slots) for _ in range(machines)]
        await team.submit(flow, "run", Items(items=list(range(count))))
        began = asyncio.get_running_loop().time()
        scheduler = await owner.drive(flow, "run", **options)
        seconds = asyncio.get_running_loop().time() - began
        await check_journal(flow, team.store)
        await team.close()
        return scheduler, team.store, seconds

    return run_virtual(main())


def read_squares(scheduler: Scheduler) -> list[int]:
    assert scheduler.run.root.output is not None
    return scheduler.plan.read_output.result(scheduler.run.root.output).squares


def test_map_fills_all_machines_unasked() -> None:
    """Six hundred items of a second on three machines take little longer than their slots need."""
    scheduler, _, seconds = drive(build_wide(Ledger()), 600, machines=3, slots=50)
    assert read_squares(scheduler) == [number**2 for number in range(600)]
    assert seconds <= 1.25 * 600 / (3 * 50)


def test_map_states_less_than_there_is() -> None:
    """A concurrency that the map states holds on many machines as well."""
    _, store, seconds = drive(build_map(Ledger(), 1.0, concurrency=2), 10)
    assert seconds == pytest.approx(5.0, abs=0.3)
    assert "at_once" not in read_entry(store)


def test_width_is_recorded() -> None:
    """The record of the map's beginning says how many items at once its place offered."""
    _, store, _ = drive(build_wide(Ledger()), 10)
    assert read_entry(store)["at_once"] == 30


def read_entry(store: MemoryStore) -> dict[str, Any]:
    records = asyncio.run(store.load("run")).records
    return next(record.body for record in records if record.kind == "entered")


def test_run_of_older_format_keeps_usual_number() -> None:
    """Readers of an older format do not know a recorded width, so its runs keep the usual one."""
    flow = build_wide(Ledger())

    async def main() -> MemoryStore:
        newer, team = Team(), Team()
        await newer.submit(flow, "run", Items(items=list(range(30))))
        first = (await newer.store.load("run")).records
        print_6 = compute_fingerprint(flow.plan, 6)
        await team.store.create(NewRun("run", flow.plan.name, print_6, 6))
        lease = await team.store.claim("run", "submitter", ttl=1.0)
        await team.store.append(lease, first, expected_last_seq=0)
        owner = team.add(flow, slots=10, served=10)
        await owner.drive(flow, "run")
        await check_journal(flow, team.store)
        await team.close()
        return team.store

    assert "at_once" not in read_entry(run_virtual(main()))


def test_map_of_agents_keeps_usual_number() -> None:
    """Agents stay with their run, so a map of them asks for no more at once than in one process."""

    @agent(output=Topic)
    def describe(item: Item) -> str:
        return f"Describe {item.number}."

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Topic]) -> Done:
        return Done(done=[each.topic for each in results])

    graph = Graph("described", Case, input=Items, output=Done)
    each = graph.map("each", describe, over=split, gather=collect, max_items=100)
    model = ScriptedModel(*['{"topic": "a number"}'] * 20)
    _, store, _ = drive(graph.chain(each).build(), 20, client=model)
    assert "at_once" not in read_entry(store)


def test_wide_map_waits_for_money() -> None:
    """Calls of more items at once than the budget has room for wait, and none is refused."""

    class Slow(ScriptedModel):
        async def complete(self, *args: Any, **options: Any) -> Any:
            await asyncio.sleep(1.0)
            answer = await super().complete(*args, **options)
            usage = replace(answer.usage, is_estimated=False)
            return replace(answer, usage=usage, usd_source="free")

    @node
    async def describe(ctx: Context[None], item: Item) -> Topic:
        return Topic(topic=await ctx.complete("Describe it.", max_tokens=1_000))

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Topic]) -> Done:
        return Done(done=[each.topic for each in results])

    graph = Graph("described", Case, input=Items, output=Done)
    each = graph.map("each", describe, over=split, gather=collect, max_items=100)
    flow, budget = graph.chain(each).build(), Budget(tokens=5_000)
    scheduler, store, seconds = drive(flow, 24, client=Slow(*["a"] * 24), budget=budget)
    assert scheduler.run.status == "succeeded"
    assert read_entry(store)["at_once"] == 30
    assert seconds > 5.0  # not all at once


@pytest.mark.parametrize(
    "options",
    [
        {"need": 5},
        {"need": 5, "rest": "finish"},
        {"until": lambda results: len(results) > 12, "rest": "finish"},
        {"on_item_error": "skip"},
    ],
    ids=["quorum", "late work", "review", "left out"],
)
def test_wide_map_replays_after_each_record(options: dict[str, Any]) -> None:
    """What items had begun when a map was decided is the same in each replay of the records."""
    scheduler, _, _ = drive(build_wide(Ledger(), 1.0, **options), 60)
    assert scheduler.run.status == "succeeded"


def test_limit_stops_wide_map_as_recorded() -> None:
    """A limit of activations that a wide map reaches at its beginning is reached in a replay."""
    scheduler, _, _ = drive(build_wide(Ledger()), 60, limits=Limits(activations=15))
    assert scheduler.run.status == "stopped"
    assert len(scheduler.run.history) == 14


def test_wide_map_goes_on_in_plain_process() -> None:
    """A run whose owner died goes on without workers, as wide as it began; no item is lost."""
    ledger = Ledger()
    flow = build_wide(ledger, 2.0)

    async def main() -> tuple[list[int], int]:
        team = Team()
        owner = team.add(flow, slots=10, served=10)
        team.add(flow, slots=10, served=10)
        await team.submit(flow, "run", Items(items=list(range(60))))
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(3.0)
        await owner.kill(run)
        begun = len(ledger.began)
        await asyncio.sleep(60.0)
        result = await flow.resume("run", durable=team.store)
        await check_journal(flow, team.store)
        await team.close()
        return result.output.squares, begun

    squares, begun = run_virtual(main())
    assert squares == [number**2 for number in range(60)]
    assert begun > 20
