"""Where nodes on other machines meet stops, cancellations, undos, regions, caches and forks."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from graphorch import END, START, Cache, Graph, node
from graphorch.engine.scheduler import Scheduler
from graphorch.runs.mailbox import build_letter
from graphorch.testing import run_virtual
from tests.distributed.cases import (
    Case,
    Done,
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
from tests.distributed.team import Machine, Team


class Meeting:
    """An owner and a machine for its nodes; `act` is called while the run is under way."""

    def __init__(self, flow: Any, input: Any = None, **options: Any) -> None:
        self.slots = options.pop("slots", 100)
        self.flow, self.input, self.options = flow, input or Topic(), options
        self.schedulers: list[Scheduler] = []

    def run(self, act: Any, *, at: float = 5.0, again: bool = False) -> Scheduler:
        """Drive the run, act on it at a time, and drive it once more if it is to go on."""

        async def main() -> Scheduler:
            team = Team()
            owner = team.add(self.flow, served=0, slots=self.slots)
            team.add(self.flow)
            await team.submit(self.flow, "run", self.input)
            run = asyncio.create_task(owner.drive(self.flow, "run", **self.options))
            await asyncio.sleep(at)
            assert owner.driven is not None
            act(owner.driven)
            scheduler = await run
            if again:
                scheduler = await self._drive_again(team)
            await check_journal(self.flow, team.store)
            await asyncio.sleep(5)
            await team.close()
            return scheduler

        return run_virtual(main())

    async def _drive_again(self, team: Team) -> Scheduler:
        heir: Machine = team.add(self.flow, served=0)
        return await heir.drive(self.flow, "run", **self.options)


def read(scheduler: Scheduler) -> list[str]:
    assert scheduler.run.root.output is not None
    return scheduler.plan.read_output.result(scheduler.run.root.output).done


def test_stop_ends_function_elsewhere() -> None:
    """A run that is stopped cancels what runs elsewhere, and a resume runs it again."""
    ledger = Ledger()
    meeting = Meeting(build(make_worker("far", ledger, 10.0)))
    scheduler = meeting.run(lambda run: run.stop("by hand"), again=True)
    assert read(scheduler) == ["far"]
    assert ledger.ended == ["far cancelled", "far"]


@pytest.mark.parametrize("now", [False, True], ids=["in time", "at once"])
def test_run_is_handed_over(now: bool) -> None:
    """A run that is handed over goes on with another owner; what runs elsewhere is not repeated."""
    ledger = Ledger()
    meeting = Meeting(build(make_worker("a", ledger, 10.0), make_worker("b", ledger)))
    scheduler = meeting.run(lambda run: run.hand_over(now=now), again=True)
    assert read(scheduler) == ["a", "b"]
    assert ledger.ended == ["a", "b"]


@pytest.mark.parametrize("options", [{"effect": "once"}, {"undo": True}], ids=["once", "undo"])
def test_handed_over_call_is_taken_over(options: dict[str, Any]) -> None:
    """What acts once, or can be undone, ends elsewhere while its run changes its owner."""
    ledger = Ledger()

    async def take_back(topic: Topic) -> None:
        await ledger.work("undo", 0.0)

    given: Any = {"effect": "once", "undo": take_back} if "undo" in options else options
    meeting = Meeting(build(make_worker("a", ledger, 10.0, **given), make_worker("b", ledger)))
    scheduler = meeting.run(lambda run: run.hand_over(now=True), again=True)
    assert scheduler.run.status == "succeeded"
    assert ledger.ended == ["a", "b"]


def test_handed_over_map_repeats_what_ran_here() -> None:
    """Items that ran in the worker that stops are repeated, and those elsewhere are not."""
    ledger = Ledger()
    numbers = list(range(8))
    meeting = Meeting(build_map(ledger, 10.0), Items(items=numbers), slots=3)
    scheduler = meeting.run(lambda run: run.hand_over(now=True), again=True)
    assert scheduler.run.status == "succeeded"
    ended = [what for what in ledger.ended if "cancelled" not in what]
    assert sorted(ended) == [str(number) for number in numbers]
    assert len(ledger.ended) - len(ended) == 3


def test_handed_over_run_that_is_cancelled_withdraws() -> None:
    """A person who cancels a run between two owners ends what runs elsewhere too."""
    ledger = Ledger()
    flow = build(make_worker("far", ledger, 60.0))

    async def main() -> Scheduler:
        team = Team()
        owner = team.add(flow, served=0)
        team.add(flow)
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(5)
        assert owner.driven is not None
        owner.driven.hand_over(now=True)
        await run
        assert ledger.ended == []
        await team.store.post(build_letter("run", "cancel", {}))
        scheduler = await team.add(flow, served=0).drive(flow, "run")
        await asyncio.sleep(5)
        await team.close()
        return scheduler

    assert run_virtual(main()).run.status == "cancelled"
    assert ledger.ended == ["far cancelled"]


def test_cancelled_run_undoes_what_was_done_elsewhere() -> None:
    """What a node did on another machine is undone where the run is."""
    ledger = Ledger()

    async def take_back(topic: Topic) -> None:
        await ledger.work("undo", 0.0)

    first = make_worker("book", ledger, 1.0, effect="once", undo=take_back)
    flow = build(first, make_worker("far", ledger, 60.0))
    scheduler = Meeting(flow).run(lambda run: run.stop("no", status="cancelled"))
    assert scheduler.run.status == "cancelled"
    assert ledger.ended == ["book", "far cancelled", "undo"]


@pytest.mark.parametrize("policy", ["drain", "cancel"])
def test_failure_here_reaches_function_elsewhere(policy: Any) -> None:
    """When a node fails, what runs elsewhere may finish, or is cancelled, as the run says."""
    ledger = Ledger()

    @node
    async def breaks(topic: Topic) -> None:
        await asyncio.sleep(2)
        raise ValueError("broken")

    graph = Graph("case", Case, input=Topic, output=Case)
    flow = graph.chain(START, [breaks, make_worker("far", ledger, 10.0)], END).build()
    scheduler = Meeting(flow, on_failure=policy).run(lambda run: None, at=1.0)
    assert scheduler.run.status == "failed"
    assert ledger.ended == (["far"] if policy == "drain" else ["far cancelled"])


def test_region_holds_on_all_machines() -> None:
    """Members of a region run one at a time, on whatever machines."""
    ledger = Ledger()
    graph = Graph("case", Case, input=Topic, output=Case)
    members = [make_worker(name, ledger, 2.0) for name in "abc"]
    graph.chain(START, members, END).exclusive("db", members)
    scheduler = Meeting(graph.build()).run(lambda run: None)
    assert scheduler.run.status == "succeeded"
    order = [name for pair in zip(ledger.began, ledger.ended, strict=True) for name in pair]
    assert order == ["a", "a", "b", "b", "c", "c"]


def test_cached_result_of_other_machine_is_served() -> None:
    """A result from elsewhere is served from the cache to the next item that asks the same."""
    ledger = Ledger()

    @node(isolation="worker", cache=Cache(60))
    async def square(item: Item) -> Item:
        await ledger.work(str(item.number), 1.0)
        return Item(number=item.number**2)

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Item]) -> Squares:
        return Squares(squares=[item.number for item in results])

    graph = Graph("squares", Case, input=Items, output=Squares)
    each = graph.map("each", square, over=split, gather=collect, max_items=9, concurrency=1)
    scheduler = Meeting(graph.chain(each).build(), Items(items=[2, 3, 2])).run(
        lambda run: None, at=1
    )
    assert scheduler.run.root.output is not None
    assert scheduler.plan.read_output.result(scheduler.run.root.output).squares == [4, 9, 4]
    assert ledger.began == ["2", "3"]


def test_levels_of_recursion_run_elsewhere() -> None:
    """A flow that runs itself has its nodes elsewhere at each level."""
    ledger = Ledger()
    graph = Graph("deep", Case, input=Topic, output=Case)

    @node(isolation="worker")
    async def grow(topic: Topic) -> Topic:
        await ledger.work(topic.topic, 1.0)
        return Topic(topic=f"{topic.topic}!")

    @node(isolation="worker")
    async def write(topic: Topic) -> Done:
        return Done(done=[topic.topic])

    def choose(topic: Topic) -> Literal["write", "deeper"]:
        return "write" if topic.topic.count("!") > 2 else "deeper"

    deeper = graph.sub(
        "deeper",
        graph.itself(max_depth=4),
        enter=lambda case: Topic(topic=case.topic),
        leave=lambda case: Done(done=case.done),
    )
    graph.chain(START, grow)
    graph.route(grow, by=choose).when("write", write).when("deeper", deeper).exhaustive()
    scheduler = Meeting(graph.chain([write, deeper], END).build()).run(lambda run: None, at=0.5)
    assert read(scheduler) == ["tides!!!"]
    assert ledger.began == ["tides", "tides!", "tides!!"]


def test_loop_runs_elsewhere_in_each_round() -> None:
    """A node in a loop is another call in each round."""
    ledger = Ledger()
    graph = Graph("case", Case, input=Topic, output=Case)

    @node(isolation="worker")
    async def grow(topic: Topic) -> Topic:
        await ledger.work(topic.topic, 1.0)
        return Topic(topic=f"{topic.topic}!")

    def is_short(topic: Topic) -> bool:
        return len(topic.topic) < 9

    graph.chain(START, grow, END).loop(grow, back_to=grow, while_=is_short, max_iterations=9)
    scheduler = Meeting(graph.build()).run(lambda run: None, at=0.5)
    assert scheduler.run.status == "succeeded"
    assert ledger.began == ["tides", "tides!", "tides!!", "tides!!!"]


def test_run_of_machines_is_rerun_in_one_process() -> None:
    """A run of machines is forked and done again where there are none, in a plain process."""
    ledger = Ledger()
    flow = build(make_worker("a", ledger), make_worker("b", ledger))

    async def main() -> list[str]:
        team = Team()
        owner = team.add(flow, served=0)
        team.add(flow)
        await team.submit(flow, "run", Topic())
        await owner.drive(flow, "run")
        result = await flow.rerun("run", start="b", durable=team.store)
        await team.close()
        return result.result.output.done

    assert run_virtual(main()) == ["a", "b"]
    assert ledger.began == ["a", "b", "b"]
