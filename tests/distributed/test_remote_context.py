"""The context of a node elsewhere: it has what the node's own context has, through its owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Budget, Context, Graph, agent, node
from graphorch.engine.scheduler import Scheduler
from graphorch.models.errors import Unreachable
from graphorch.testing import ScriptedModel, run_virtual
from tests.distributed.cases import Case, CaseFlow, Done, Topic, build, check_journal
from tests.distributed.memory_engine import Faults
from tests.distributed.team import Team


class Facts(BaseModel):
    facts: list[str]
    sure: bool


async def begin(team: Team, owner: Any, flow: CaseFlow, **options: Any) -> Scheduler:
    """Submit a run, drive it, and check its journal."""
    await team.submit(flow, "run", Topic())
    scheduler = await owner.drive(flow, "run", **options)
    await check_journal(flow, team.store)
    return scheduler


def drive(flow: CaseFlow, *, faults: Faults | None = None, **options: Any) -> Scheduler:
    """Drive a run whose nodes may run on another machine."""

    async def main() -> Scheduler:
        team = Team(faults=faults or Faults())
        owner = team.add(flow, served=0, slots=options.pop("slots", 100))
        team.add(flow)
        scheduler = await begin(team, owner, flow, **options)
        await team.close()
        return scheduler

    return run_virtual(main())


def read(scheduler: Scheduler) -> list[str]:
    assert scheduler.run.root.output is not None
    return scheduler.plan.read_output.result(scheduler.run.root.output).done


def fail(flow: CaseFlow, **options: Any) -> Exception:
    scheduler = drive(flow, **options)
    return scheduler.run.failed()[0].failure


@node(isolation="worker")
async def ask(ctx: Context, topic: Topic) -> Done:
    first = await ctx.complete(f"About {topic.topic}?")
    facts = await ctx.complete(f"More than {first}?", output=Facts, instructions="Be brief.")
    return Done(done=[first, *facts.facts])


def test_model_is_asked_by_owner() -> None:
    """Calls are made and recorded where the run is, under the activation of the node."""
    model = ScriptedModel("high", '{"facts": ["low"], "sure": true}')
    scheduler = drive(build(ask), client=model)
    assert read(scheduler) == ["high", "low"]
    assert [request.metadata["path"] for request in model.requests] == ["ask", "ask"]
    assert model.requests[1].schema is Facts
    assert model.requests[1].messages[0].content == "Be brief."
    assert sum(step.calls for step in scheduler.report.steps()) == 2


def test_answer_that_does_not_fit_is_repaired() -> None:
    """An answer is validated where the function runs, and what is wrong goes back to the model."""
    model = ScriptedModel("high", '{"facts": 7}', '{"facts": ["low"], "sure": true}')
    assert read(drive(build(ask), client=model)) == ["high", "low"]
    assert len(model.requests) == 3


def test_error_of_model_keeps_its_class() -> None:
    """What a model call raises is raised in the function, as the class that it is."""

    @node(isolation="worker")
    async def careful(ctx: Context, topic: Topic) -> Done:
        try:
            return Done(done=[await ctx.complete("Now?")])
        except Unreachable as error:
            return Done(done=[f"{error.retryable}", await ctx.complete("Later?")])

    limited = Unreachable("down", model="m")
    assert read(drive(build(careful), client=ScriptedModel(limited, "yes"))) == ["True", "yes"]


def test_budget_holds_elsewhere() -> None:
    """A call that does not fit into the budget of the run is refused in the function."""

    @node(isolation="worker")
    async def spend(ctx: Context, topic: Topic) -> Done:
        left = ctx.budget_left.calls
        first = await ctx.complete("One?")
        then = ctx.budget_left.calls
        await ctx.complete("Two?")
        return Done(done=[f"{left} {then}", first])

    scheduler = drive(build(spend), client=ScriptedModel("a", "b"), budget=Budget(calls=2))
    assert read(scheduler) == ["2 1", "a"]
    scheduler = drive(build(spend), client=ScriptedModel("a"), budget=Budget(calls=1))
    assert (scheduler.run.status, scheduler.run.reason) == ("stopped", "limit:calls")


def test_answer_outlives_machine() -> None:
    """An answer that was paid is given to the machine that repeats the call, not asked again."""
    model = ScriptedModel("high", '{"facts": ["low"], "sure": true}')
    reached: list[int] = []

    @node(isolation="worker", name="ask")
    async def slow(ctx: Context, topic: Topic) -> Done:
        first = await ctx.complete("First?")
        reached.append(ctx.attempt)
        await asyncio.sleep(10)
        facts = await ctx.complete("Then?", output=Facts)
        return Done(done=[first, *facts.facts])

    flow = build(slow)

    async def main() -> Scheduler:
        team = Team()
        owner, victim = team.add(flow, served=0), team.add(flow)
        run = asyncio.create_task(begin(team, owner, flow, client=model))
        await asyncio.sleep(5)
        await victim.kill()
        team.add(flow)
        scheduler = await run
        await team.close()
        return scheduler

    scheduler = run_virtual(main())
    assert read(scheduler) == ["high", "low"]
    assert reached == [1, 1]
    assert sum(step.calls for step in scheduler.report.steps()) == 2


@pytest.mark.parametrize("after", [3.0, 12.0], ids=["during the call", "after the answer"])
def test_answer_outlives_owner(after: float) -> None:
    """The next owner answers what the one before was asked, from the journal if it can."""

    class Slow(ScriptedModel):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            await asyncio.sleep(5)
            return await super().complete(request, on_text)

    first, second = Slow("high"), Slow("high", "higher") if after == 3.0 else Slow("higher")

    @node(isolation="worker", name="ask")
    async def slow(ctx: Context, topic: Topic) -> Done:
        answers = [await ctx.complete("First?")]
        await asyncio.sleep(60)
        return Done(done=[*answers, await ctx.complete("Then?")])

    flow = build(slow)

    async def main() -> Scheduler:
        team = Team()
        owner = team.add(flow, served=0)
        team.add(flow)
        await team.submit(flow, "run", Topic())
        run = asyncio.create_task(owner.drive(flow, "run", client=first))
        await asyncio.sleep(after)
        await owner.kill(run)
        scheduler = await team.add(flow, served=0).drive(flow, "run", client=second)
        await check_journal(flow, team.store)
        await team.close()
        return scheduler

    scheduler = run_virtual(main())
    assert read(scheduler) == ["high", "higher"]
    second.check()


def test_doubled_call_asks_model_once() -> None:
    """Two machines with one call share the answers of the model."""
    model = ScriptedModel("high", '{"facts": ["low"], "sure": true}')
    faults = Faults(double=1.0, redeliver=1.0, until=30.0)
    assert read(drive(build(ask), client=model, faults=faults)) == ["high", "low"]
    assert len(model.requests) == 2


def test_context_tells_what_it_tells_here() -> None:
    """Key, path, attempt, time and remarks are those of the activation."""
    seen: dict[str, Any] = {}

    @node(isolation="worker", timeout=30.0, deadline=50.0)
    async def look(ctx: Context, topic: Topic) -> Done:
        await asyncio.sleep(1)
        seen.update(key=ctx.key, path=ctx.path, attempt=ctx.attempt, left=ctx.time_left)
        ctx.note("second  best")
        return Done(done=["seen"])

    scheduler = drive(build(look))
    (activation,) = scheduler.report.activations()
    assert seen == {"key": activation.id, "path": "look", "attempt": 1, "left": 29.0}
    assert scheduler.report.noted == {activation: ("second best",)}


class Progress(BaseModel):
    percent: int


def test_events_reach_watchers() -> None:
    """What a function emits elsewhere comes to the watchers of the run, as it is."""
    events: list[Any] = []

    @node(isolation="worker")
    async def far(ctx: Context, topic: Topic) -> Done:
        ctx.emit(Progress(percent=50))
        await asyncio.sleep(1)
        ctx.emit(Progress(percent=100))
        return Done(done=["far"])

    drive(build(far), watch=[events.append])
    emitted = [event.event for event in events if hasattr(event, "event")]
    assert emitted == [Progress(percent=50), Progress(percent=100)]


def test_node_with_tools_runs_here_after_all() -> None:
    """A node that went out for want of room, and has its model call tools, runs with its run."""
    began: list[str] = []

    async def look_up(word: str) -> str:
        """Look it up."""
        return word

    @node
    async def wait(topic: Topic) -> None:
        await asyncio.sleep(5)

    @node
    async def with_tools(ctx: Context, topic: Topic) -> Done:
        began.append(type(ctx).__name__)
        return Done(done=[await ctx.complete("Look it up.", tools=[look_up])])

    graph = Graph("case", Case, input=Topic, output=Case)
    flow = graph.chain([wait, with_tools]).build()
    scheduler = drive(flow, client=ScriptedModel("found"), slots=1)
    assert read(scheduler) == ["found"]
    assert began == ["RemoteContext", "NodeContext"]


def test_agent_stays_with_its_run() -> None:
    """An agent never goes out, however little room there is, and takes none."""

    @node
    async def wait(topic: Topic) -> None:
        await asyncio.sleep(5)

    @agent(output=Done)
    def write(topic: Topic) -> str:
        return topic.topic

    async def main() -> tuple[list[str], float]:
        graph = Graph("case", Case, input=Topic, output=Case)
        flow = graph.chain([wait, write]).build()
        team = Team()
        owner = team.add(flow, slots=1)
        model = ScriptedModel('{"done": ["written"]}')
        scheduler = await begin(team, owner, flow, client=model)
        await team.close()
        assert team.queue.story == []
        return read(scheduler), asyncio.get_running_loop().time()

    done, seconds = run_virtual(main())
    assert done == ["written"]
    assert seconds < 6
