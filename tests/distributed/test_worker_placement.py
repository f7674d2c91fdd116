"""Nodes of a run on other machines: they return, fail and end there as they would here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, Retry, agent, node, tool
from graphorch.distributed.node_messages import LONGEST, name_node_kind
from graphorch.engine.scheduler import Scheduler
from graphorch.errors import Ambiguous
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response
from graphorch.testing import ScriptedModel, call, run_virtual
from tests.distributed.cases import (
    Case,
    CaseFlow,
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
from tests.distributed.memory_engine import Faults
from tests.distributed.team import Team
from tests.engine.crunching import Number, Square, square


def drive(
    flow: Any, input: BaseModel | None = None, **options: Any
) -> tuple[Scheduler, Team, float]:
    """Drive a run by one machine, with another for its nodes; return the seconds it took."""
    extra = options.pop("team", {})

    async def main() -> tuple[Scheduler, Team, float]:
        team = Team(**extra)
        owner = team.add(flow, served=0, slots=options.pop("slots", 100))
        team.add(flow, pools=options.pop("pools", (None,)))
        began = asyncio.get_running_loop().time()
        await team.submit(flow, "run", input or Topic())
        scheduler = await owner.drive(flow, "run", **options)
        await check_journal(flow, team.store)
        await team.close()
        return scheduler, team, asyncio.get_running_loop().time() - began

    return run_virtual(main())


def fail(flow: Any, **options: Any) -> Exception:
    """Return what a run fails with."""
    scheduler, _, _ = drive(flow, **options)
    assert scheduler.run.status == "failed"
    return scheduler.run.failed()[0].failure


def read(scheduler: Scheduler) -> list[str]:
    assert scheduler.run.root.output is not None
    return scheduler.plan.read_output.result(scheduler.run.root.output).done


def test_node_runs_on_other_machine() -> None:
    """A node that asks for it runs elsewhere, with the resources of that machine."""

    @node(isolation="worker")
    async def far(ctx: Context[list[str]], topic: Topic) -> Done:
        ctx.resources.append(f"{ctx.path} {ctx.attempt}")
        return Done(done=[f"far {topic.topic}"])

    @node
    async def near(ctx: Context[list[str]], topic: Topic) -> Done:
        ctx.resources.append(f"{ctx.path} {ctx.attempt}")
        return Done(done=["near"])

    async def main() -> None:
        team, flow = Team(), build(far, near)
        here, there = list[str](), list[str]()
        owner = team.add(flow, served=0, resources=here)
        team.add(flow, resources=there)
        await team.submit(flow, "run", Topic())
        await owner.drive(flow, "run")
        result = await flow.replay("run", durable=team.store)
        assert result.output.done == ["far tides", "near"]
        assert (here, there) == (["near 1"], ["far 1"])
        assert team.notes.stored == {}
        await team.close()

    run_virtual(main())


def test_pool_gets_its_nodes() -> None:
    """Only the machines of a pool take its nodes."""
    ledger = Ledger()
    flow = build(make_worker("train", ledger, isolation="thread", pool="gpu"))

    async def main() -> list[str]:
        team = Team()
        owner = team.add(flow)
        team.add(flow)
        drive = asyncio.create_task(_begin(team, owner, flow))
        await asyncio.sleep(30)
        assert ledger.began == []
        team.add(flow, pools=("gpu",))
        await drive
        await team.close()
        return ledger.ended

    assert run_virtual(main()) == ["train"]


async def _begin(team: Team, owner: Any, flow: CaseFlow, input: Any = None) -> Scheduler:
    await team.submit(flow, "run", input or Topic())
    return await owner.drive(flow, "run")


class Crunched(Number, Square): ...


@pytest.mark.parametrize("kind", ["async", "sync", "process"])
def test_function_of_any_kind_runs_elsewhere(kind: str) -> None:
    """Functions run elsewhere as here: on the loop, in a thread, or in a process of their own."""
    if kind == "process":
        graph = Graph("crunch", Crunched, input=Number, output=Square)
        flow = graph.chain(node(isolation="process", pool="cpu")(square.fn)).build()
        scheduler, _, _ = drive(flow, Number(n=3), pools=("cpu",))
        assert scheduler.run.root.output is not None
        assert scheduler.plan.read_output.result(scheduler.run.root.output).square == 9
        return
    if kind == "async":

        @node(isolation="worker")
        async def far(topic: Topic) -> Done:
            return Done(done=["far"])
    else:

        @node(isolation="worker")
        def far(topic: Topic) -> Done:
            return Done(done=["far"])

    assert read(drive(build(far))[0]) == ["far"]


def test_same_object_comes_back() -> None:
    """A function that returns its argument, changed, does so from elsewhere too."""

    @node(isolation="worker")
    async def change(topic: Topic) -> Topic:
        topic.topic = "moons"
        return topic

    @node
    async def look(topic: Topic) -> Done:
        return Done(done=[topic.topic])

    assert read(drive(build(change, look))[0]) == ["moons"]


# ---- failures ------------------------------------------------------------------------------------
class Broken(Exception):
    """An exception of a flow."""


class Unknown(Exception):
    """An exception that no node declares."""


def test_declared_error_is_caught_by_its_class() -> None:
    """A declared error is retried, and what it carries comes along."""
    calls: list[int] = []

    @node(isolation="worker", retry=Retry(3, on=(Broken,), first=0.0))
    async def far(ctx: Context, topic: Topic) -> Done:
        calls.append(ctx.attempt)
        if ctx.attempt < 3:
            raise Broken("once more")
        return Done(done=["far"])

    assert read(drive(build(far))[0]) == ["far"]
    assert calls == [1, 2, 3]


def test_undeclared_error_keeps_its_name() -> None:
    """An error of a class that the flow does not declare is named as it is there."""

    @node(isolation="worker")
    async def far(topic: Topic) -> Done:
        raise Unknown("no such moon")

    failure = fail(build(far))
    assert "no such moon" in str(failure)
    assert type(failure).__name__ == "ProcessError"


def test_timeout_is_measured_where_function_runs() -> None:
    """A timeout ends the function elsewhere, and its failure is that of the node."""
    ledger = Ledger()
    flow = build(make_worker("slow", ledger, 60.0, timeout=2.0, retry=Retry(2, first=0.0)))
    failure = fail(flow)
    assert str(failure).startswith("Attempt 2 took longer than timeout=2 s")
    assert ledger.ended == ["slow cancelled"] * 2


def test_deadline_cancels_function_elsewhere() -> None:
    """A deadline counts the way as well, and ends what runs."""
    ledger = Ledger()
    failure = fail(build(make_worker("slow", ledger, 60.0, deadline=2.0)))
    assert str(failure).startswith("It took longer than deadline=2 s")
    assert ledger.ended == ["slow cancelled"]


def test_wait_for_machine_is_not_timeout() -> None:
    """A node that waits for a free machine has all of its timeout when it begins."""
    ledger = Ledger()
    flow = build(make_worker("slow", ledger, 2.0, timeout=3.0))

    async def main() -> None:
        team = Team()
        owner = team.add(flow, served=0)
        run = asyncio.create_task(_begin(team, owner, flow))
        await asyncio.sleep(20)
        team.add(flow)
        assert (await run).run.status == "succeeded"
        await team.close()

    run_virtual(main())


def test_hedge_runs_twice_elsewhere() -> None:
    """The second copy of a slow call is a call of its own, and the first result counts."""
    ledger = Ledger()
    scheduler, _, seconds = drive(build(make_worker("slow", ledger, 5.0, hedge_after=1.0)))
    assert read(scheduler) == ["slow"]
    assert (ledger.began, ledger.ended) == (["slow", "slow"], ["slow", "slow cancelled"])
    assert 5 <= seconds < 6


def test_version_that_nobody_has_is_said() -> None:
    """A machine that gets a call of another graph says which versions it has."""
    ledger = Ledger()
    flow, other = build(make_worker("far", ledger)), build(make_worker("else", ledger))

    async def main() -> Exception:
        team = Team()
        owner, stranger = team.add(flow, served=0), team.add(other, served=0)
        kind = name_node_kind("case", compute_fingerprint(flow.plan))
        serving = stranger.engine.serve([kind], 5, stranger.handler.handle)
        stranger.tasks.append(asyncio.create_task(serving))
        scheduler = await _begin(team, owner, flow)
        await team.close()
        return scheduler.run.failed()[0].failure

    failure = run_virtual(main())
    assert "cannot find node 'far' of flow 'case'" in str(failure)
    assert "Start workers of the version that drives the run" in str(failure)


def test_large_slice_is_refused_by_name() -> None:
    """What is too large to be sent is one error that names the slice and its size."""

    @node
    async def grow(topic: Topic) -> Topic:
        return Topic(topic="x" * (LONGEST + 1))

    @node(isolation="worker")
    async def far(topic: Topic) -> Done:
        return Done(done=["far"])

    @node(isolation="worker", name="far")
    async def far_and_large(topic: Topic) -> Topic:
        return Topic(topic="x" * (LONGEST + 1))

    failure = str(fail(build(grow, far)))
    assert failure.startswith("What 'far' reads is too large to be sent to another worker")
    assert "'Topic' takes 7,900," in failure
    assert str(fail(build(far_and_large))).startswith("What 'far' returned is too large")


def test_uncertain_owner_begins_nothing() -> None:
    """While another worker may have taken its run, an owner begins no function."""
    began: list[float] = []

    @node
    async def near(topic: Topic) -> Done:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(3)
        return Done(done=["near"])

    flow = build(near, near.named("later"))

    async def main() -> Scheduler:
        team = Team()
        owner = team.add(flow, served=0)
        owner.may_begin = lambda: not 2 < asyncio.get_running_loop().time() < 10
        await team.submit(flow, "run", Topic())
        scheduler = await owner.drive(flow, "run")
        await team.close()
        return scheduler

    assert run_virtual(main()).run.status == "succeeded"
    assert began[0] == 0
    assert 10 <= began[1] < 10.2


def test_uncertain_owner_asks_no_model() -> None:
    """While another worker may have taken its run, an owner sends no request to a model."""
    asked: list[float] = []

    class Noting(ScriptedModel):
        async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
            asked.append(asyncio.get_running_loop().time())
            return await super().complete(request, on_text)

    @node
    async def draw(ctx: Context[None], topic: Topic) -> Done:
        await asyncio.sleep(3)
        return await ctx.complete(topic.topic, output=Done)

    flow = build(draw)

    async def main() -> Scheduler:
        team = Team()
        owner = team.add(flow, served=0)
        owner.may_begin = lambda: not 2 < asyncio.get_running_loop().time() < 10
        await team.submit(flow, "run", Topic())
        scheduler = await owner.drive(flow, "run", client=Noting('{"done": ["a"]}'))
        await team.close()
        return scheduler

    assert run_virtual(main()).run.status == "succeeded"
    [at] = asked
    assert 10 <= at < 10.2


def test_uncertain_owner_sends_nothing() -> None:
    """While another worker may have taken its run, an owner puts no job for a function of it."""
    ledger = Ledger()
    flow = build(make_worker("a", ledger, 3.0), make_worker("b", ledger, 3.0))

    async def main() -> list[float]:
        team = Team()
        owner = team.add(flow, served=0)
        owner.may_begin = lambda: not 2 < asyncio.get_running_loop().time() < 10
        team.add(flow)
        await team.submit(flow, "run", Topic())
        await owner.drive(flow, "run")
        await team.close()
        return [at for at, _, _ in team.queue.story]

    first, second = run_virtual(main())
    assert first < 1
    assert 10 <= second < 10.5


def test_stopped_machine_begins_nothing() -> None:
    """A machine that was stopped for long does not do what another one has done meanwhile."""
    ledger = Ledger()
    flow = build(make_worker("a", ledger, 5.0), make_worker("b", ledger, 5.0))

    async def main() -> Scheduler:
        team = Team()
        owner = team.add(flow, served=0)
        stopped = team.add(flow)
        stopped.engine.stopped_until = 20.0
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run"))
        await asyncio.sleep(2)
        team.add(flow)
        team.queue.expire(stopped.engine)
        scheduler = await run
        await asyncio.sleep(30)
        await team.close()
        return scheduler

    assert read(run_virtual(main())) == ["a", "b"]
    assert ledger.began == ["a", "b"]


# ---- engines that lose and double ----------------------------------------------------------------
def test_lost_job_is_put_again() -> None:
    """A job that the engine lost delays its node by seconds."""
    ledger = Ledger()
    flow = build(make_worker("far", ledger))
    scheduler, _, seconds = drive(flow, team={"faults": Faults(lose=1.0, until=1.0)})
    assert read(scheduler) == ["far"]
    assert ledger.began == ["far"]
    assert seconds < 15


def test_stop_before_first_line_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was stopped while a function went to its thread looks at the job again."""
    answers = iter([False, True])  # in the thread, twice
    began: list[str] = []

    @node(isolation="worker")
    def work(topic: Topic) -> Done:
        began.append(topic.topic)
        return Done(done=["work"])

    flow = build(work)

    async def main() -> Scheduler:
        team = Team()
        owner = team.add(flow, served=0)
        monkeypatch.setattr(team.add(flow).engine, "is_held", lambda key: next(answers))
        await team.submit(flow, "run", Topic())
        scheduler = await owner.drive(flow, "run")
        await team.close()
        return scheduler

    assert read(run_virtual(main())) == ["work"]
    assert (len(began), list(answers)) == (1, [])


def test_doubled_job_commits_once() -> None:
    """A job that two machines do has one result."""
    ledger = Ledger()
    flow = build(*(make_worker(name, ledger, 5.0) for name in "ab"))
    scheduler, _, _ = drive(flow, team={"faults": Faults(double=1.0, until=60.0)})
    assert read(scheduler) == ["a", "b"]
    assert ledger.began.count("a") > 1


def test_finished_job_is_not_done_again() -> None:
    """A job that is handed out again after its end has its result already."""
    ledger = Ledger()
    flow = build(make_worker("a", ledger), make_worker("b", ledger, 30.0))
    scheduler, team, _ = drive(flow, team={"faults": Faults(redeliver=1.0, until=10.0)})
    assert read(scheduler) == ["a", "b"]
    assert len([key for _, _, key in team.queue.story if key.endswith("/1")]) > 2
    assert ledger.began == ["a", "b"]


def test_dead_machine_is_replaced() -> None:
    """A call whose machine dies is done by another one."""
    ledger = Ledger()
    flow = build(make_worker("far", ledger, 10.0))

    async def main() -> float:
        team = Team()
        owner = team.add(flow, served=0)
        victim = team.add(flow)
        run = asyncio.create_task(_begin(team, owner, flow))
        await asyncio.sleep(5)
        await victim.kill()
        team.add(flow)
        assert read(await run) == ["far"]
        await team.close()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 20
    assert ledger.ended == ["far cancelled", "far"]


# ---- room ----------------------------------------------------------------------------------------
def test_map_fills_all_machines() -> None:
    """What has no room here goes to other machines, without a word in the flow."""
    ledger = Ledger()
    flow = build_map(ledger, 10.0)

    async def main() -> float:
        team = Team()
        owner = team.add(flow, slots=20, served=0)
        for _ in range(2):
            team.add(flow, served=40)
        await team.submit(flow, "run", Items(items=list(range(100))))
        scheduler = await owner.drive(flow, "run")
        assert scheduler.run.root.output is not None
        output = scheduler.plan.read_output.result(scheduler.run.root.output)
        assert output.squares == [number**2 for number in range(100)]
        await check_journal(flow, team.store)
        await team.close()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 10.5
    assert len(ledger.ended) == 100


def test_short_nodes_stay_here() -> None:
    """Functions that take less than a hop wait for room instead."""
    ledger = Ledger()
    flow = build_map(ledger, 0.01)
    _, team, seconds = drive(flow, Items(items=list(range(100))), slots=10)
    assert team.queue.story == []
    assert seconds < 0.2


@pytest.mark.parametrize("count", [300, pytest.param(3_000, marks=pytest.mark.slow)])
def test_large_map_survives_faults(count: int) -> None:
    """A large map with an engine that loses and doubles ends as it would here."""
    ledger = Ledger()
    flow = build_map(ledger, 1.0)
    faults = Faults(lose=0.02, double=0.05, redeliver=0.05, delay=1.0, until=20.0)
    scheduler, _, _ = drive(flow, Items(items=list(range(count))), team={"faults": faults})
    assert scheduler.run.root.output is not None
    output: Squares = scheduler.plan.read_output.result(scheduler.run.root.output)
    assert output.squares == [number**2 for number in range(count)]


def test_quorum_cancels_what_runs_elsewhere() -> None:
    """What a map does not need any more ends on the other machines as well."""
    ledger = Ledger()
    graph = Graph("votes", Case, input=Items, output=Squares)

    @node(isolation="worker")
    async def vote(item: Item) -> Item:
        await ledger.work(str(item.number), float(item.number))
        return item

    def split(items: Items) -> list[Item]:
        return [Item(number=number) for number in items.items]

    def collect(results: list[Item]) -> Squares:
        return Squares(squares=[item.number for item in results])

    graph.chain(graph.map("votes", vote, over=split, gather=collect, need=2, max_items=9))
    scheduler, _, seconds = drive(graph.build(), Items(items=[1, 2, 30, 40]))
    assert scheduler.run.status == "succeeded"
    assert seconds < 4
    assert sorted(ledger.ended) == ["1", "2", "30 cancelled", "40 cancelled"]


# ---- effects -------------------------------------------------------------------------------------
def test_effect_on_dead_machine_is_ambiguous() -> None:
    """What began once on a machine that died is not repeated: a person decides."""
    ledger = Ledger()
    flow = build(make_worker("pay", ledger, 10.0, effect="once"))

    async def main() -> None:
        team = Team()
        owner, victim = team.add(flow, served=0), team.add(flow)
        run = asyncio.create_task(_begin(team, owner, flow))
        await asyncio.sleep(5)
        await victim.kill()
        team.add(flow)
        scheduler = await run
        failed = scheduler.run.failed()[0]
        assert isinstance(failed.failure, Ambiguous)
        assert ledger.began == ["pay"]
        again = await owner.drive(flow, "run")
        assert (again.run.status, again.run.reason) == ("stopped", "ambiguous")
        await check_journal(flow, team.store)
        await team.close()

    run_virtual(main())


def test_doubled_effect_is_not_repeated() -> None:
    """Of two machines that get a call with effect once, one makes it; the other says so."""
    ledger = Ledger()
    flow = build(make_worker("pay", ledger, 1.0, effect="once"))
    drive(flow, team={"faults": Faults(redeliver=1.0, double=1.0)})
    assert ledger.began == ["pay"]


# ---- tools ---------------------------------------------------------------------------------------
def test_tool_runs_on_other_machine() -> None:
    """A tool of an agent runs elsewhere, once for each call."""
    ledger = Ledger()

    @tool(effect="pure", pool="gpu")
    async def render(scene: str) -> str:
        """Render a scene."""
        await ledger.work(scene, 1.0)
        return f"picture of {scene}"

    @agent(output=Topic, tools=[render])
    def draw(topic: Topic) -> str:
        return topic.topic

    model = ScriptedModel(call("render", {"scene": "moon"}), '{"topic": "done"}')
    scheduler, team, _ = drive(build(draw), client=model, pools=("gpu",))
    assert scheduler.run.status == "succeeded"
    assert ledger.ended == ["moon"]
    assert [key.rpartition("/")[2] for _, _, key in team.queue.story] == ["1"]
