"""Functions that may run elsewhere: a placement decides it, and all options keep their meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import END, START, Cache, Context, Graph, Limits, Node, Retry, node
from graphorch.core.tree import Activation
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.models.offline.client import OfflineClient
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.pricing.metering import MeteredClient
from graphorch.testing import run_virtual
from tests.models.fakes import Flat, Table
from tests.models.servers import completion, replies, serve


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: str = ""


class State(Count, Log): ...


class Elsewhere:
    """A placement that answers after a while instead of the function, or has it run here."""

    def __init__(self, answer: Callable[[Activation, list[Any]], Any] | None = None) -> None:
        self.answer = answer
        self.called: list[str] = []
        self.withdrawn: list[str] = []

    async def wait_until_certain(self) -> None:
        """Return at once."""

    def count_at_once(self, activation: Activation) -> int | None:
        return 3

    async def call(
        self, activation: Activation, arguments: list[Any], here: Callable[[], Awaitable[Any]]
    ) -> Any:
        self.called.append(f"{activation.path}:{activation.attempt}")
        if self.answer is None:
            return await here()
        try:
            await asyncio.sleep(2)
            return self.answer(activation, arguments)
        except asyncio.CancelledError:
            self.withdrawn.append(activation.path)
            raise

    async def take_over(self, vanished: Sequence[Activation]) -> Collection[Activation]:
        return ()

    def leave(self) -> None:
        """Do nothing: no test here hands its run over."""


def drive(placement: Elsewhere, *steps: Node[Any], **limits: Any) -> tuple[str, float, Scheduler]:
    """Run nodes one after another; return the log, or the failure, with the virtual seconds."""
    graph = Graph("placed", State, input=Count, output=Log)
    plan = graph.chain(*steps).build().plan
    settings = RunSettings(
        client=OfflineClient(), run_id="run", placement=placement, limits=Limits(**limits)
    )

    async def main() -> tuple[str, float, Scheduler]:
        scheduler = Scheduler(plan, settings)
        await scheduler.begin(plan.read_input.update(Count(n=1)))
        seconds = asyncio.get_running_loop().time()
        run = scheduler.run
        if run.status != "succeeded":
            return str(run.failed()[0].failure), seconds, scheduler
        assert run.root.output is not None
        return plan.read_output.result(run.root.output).log, seconds, scheduler

    return run_virtual(main())


def answer_path(activation: Activation, arguments: list[Any]) -> Log:
    return Log(log=f"{activation.path} elsewhere")


@node
async def simple(count: Count) -> Log:
    return Log(log="here")


@node
async def talking(ctx: Context, count: Count) -> Log:
    return Log(log="here")


@node
def plain(count: Count) -> Log:
    return Log(log="here")


@pytest.mark.parametrize("step", [simple, talking, plain], ids=["async", "with context", "sync"])
def test_placement_is_asked_for_every_node(step: Node[Any]) -> None:
    """A placement decides about every function, also those that the engine calls directly."""
    elsewhere = Elsewhere(answer_path)
    log, seconds, _ = drive(elsewhere, step)
    assert (log, seconds) == (f"{step.name} elsewhere", 2.0)
    here = Elsewhere()
    assert drive(here, step)[:2] == ("here", 0.0)
    assert elsewhere.called == here.called == [f"{step.name}:1"]


def test_prompt_leaves_while_run_is_certain() -> None:
    """A process whose run may be another's by now sends no prompt, however late it learns that."""

    @node
    async def ask(ctx: Context, count: Count) -> Log:
        return Log(log=await ctx.complete("hello", model="m"))

    class Uncertain(Elsewhere):
        def __init__(self) -> None:
            super().__init__()
            self.was_asked, self.is_certain = asyncio.Event(), asyncio.Event()

        async def wait_until_certain(self) -> None:
            self.was_asked.set()
            await self.is_certain.wait()

    async def main() -> None:
        async with serve(replies(completion("fine"))) as server:
            placement, client = Uncertain(), OpenAIClient(server.url, "key")
            metered = MeteredClient(client, Table({"m": Flat(0.001)}))
            plan = Graph("placed", State, input=Count, output=Log).chain(ask).build().plan
            settings = RunSettings(client=metered, run_id="run", placement=placement)
            scheduler = Scheduler(plan, settings)
            running = asyncio.create_task(scheduler.begin(plan.read_input.update(Count(n=1))))
            await asyncio.wait_for(placement.was_asked.wait(), 5)
            await asyncio.sleep(0.1)
            assert server.asked == []
            placement.is_certain.set()
            await running
            assert scheduler.run.status == "succeeded"
            assert len(server.asked) == 1
            await client.aclose()

    asyncio.run(main())


def test_placement_gets_context_and_slices() -> None:
    """What the function would get is what a placement sends."""

    def answer(activation: Activation, arguments: list[Any]) -> Log:
        context, count = arguments
        return Log(log=f"{context.path} {context.attempt} {count.n}")

    assert drive(Elsewhere(answer), talking)[0] == "talking 1 1"


def test_deadline_ends_placed_call() -> None:
    """A deadline counts the way elsewhere, too, and withdraws the call."""
    elsewhere = Elsewhere(answer_path)
    failure, seconds, _ = drive(elsewhere, node(name="slow", deadline=1.5)(simple.fn))
    assert failure.startswith("It took longer than deadline=1.5 s")
    assert (seconds, elsewhere.withdrawn) == (1.5, ["slow"])


def test_timeout_begins_with_function() -> None:
    """Waiting for a place is not the slowness of a node: each attempt has all of its timeout."""

    @node(timeout=1.5, retry=Retry(2, first=0.0))
    async def slow(ctx: Context, count: Count) -> Log:
        assert ctx.time_left == 1.5
        await asyncio.sleep(1 if ctx.attempt == 2 else 60)
        return Log(log="in time")

    class Patient(Elsewhere):
        async def call(
            self, activation: Activation, arguments: list[Any], here: Callable[[], Awaitable[Any]]
        ) -> Any:
            await asyncio.sleep(10)
            return await here()

    assert drive(Patient(), slow)[:2] == ("in time", 22.5)


def test_hedge_asks_placement_twice() -> None:
    """The second copy of an attempt is placed for itself, and the loser is withdrawn."""
    elsewhere = Elsewhere(answer_path)
    log, seconds, _ = drive(elsewhere, node(name="hedged", hedge_after=0.5)(simple.fn))
    assert (log, seconds) == ("hedged elsewhere", 2.0)
    assert elsewhere.called == ["hedged:1", "hedged:1"]
    assert elsewhere.withdrawn == ["hedged"]


def test_cached_result_is_not_placed() -> None:
    """A result that is in the cache of nodes needs no place."""
    elsewhere = Elsewhere(answer_path)
    cached = node(name="cached", cache=Cache(60))(simple.fn)
    plan = Graph("twice", State, input=Count, output=Log).chain(cached).build().plan
    settings = RunSettings(client=OfflineClient(), run_id="run", placement=elsewhere)

    async def main() -> None:
        for _ in range(2):
            scheduler = Scheduler(plan, settings)
            await scheduler.begin(plan.read_input.update(Count(n=1)))
            assert scheduler.run.status == "succeeded"

    run_virtual(main())
    assert elsewhere.called == ["cached:1"]


def test_limit_holds_around_placed_calls() -> None:
    """Nodes that run elsewhere take the slots of their run, too."""
    elsewhere = Elsewhere(lambda *_: None)
    graph = Graph("both", State, input=Count, output=Count)

    @node
    def look(count: Count) -> None: ...

    first, second = (node(name=name)(look.fn) for name in ("first", "second"))
    plan = graph.chain(START, [first, second], END).build().plan
    limits = Limits(concurrency=1)
    settings = RunSettings(client=OfflineClient(), run_id="run", placement=elsewhere, limits=limits)

    async def main() -> float:
        await Scheduler(plan, settings).begin(plan.read_input.update(Count(n=1)))
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 4.0


def test_wrong_output_of_placement_fails_node() -> None:
    """What comes from elsewhere is checked like what comes from here."""
    failure, _, _ = drive(Elsewhere(lambda *_: Count(n=2)), simple)
    assert "Count" in failure
    assert "Log" in failure


def test_tools_of_placed_node_are_refused() -> None:
    """A node that may run on another worker has no tools, also where it runs in this process."""

    def look_up(word: str) -> str:
        return word

    @node(isolation="worker")
    async def ask(ctx: Context, count: Count) -> Log:
        return Log(log=await ctx.complete("Look it up.", tools=[look_up]))

    failure, _, _ = drive(Elsewhere(), ask)
    assert failure == (
        "'ask' has tools and isolation: it may run on another worker, and the run calls the tools. "
        "Leave isolation out."
    )
