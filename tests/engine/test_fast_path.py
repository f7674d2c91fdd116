"""Fast paths equal the rules that they copy: every flow runs both ways, and nothing differs."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any, Literal

import pytest

from graphorch import Approval, Context, Failure, Flow, Graph, Node, Retry, RunEvent, node
from graphorch.engine.scheduler import Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.testing import ScriptedModel, run_virtual
from tests.scenarios.flows import FLOWS, Choice, Ledger, Log, Number, State

AnyFlow = Flow[Any, Any, Any]
Observed = dict[str, Any]
OBSERVED = pytest.mark.parametrize("is_observed", [False, True], ids=["alone", "observed"])


def add(name: str, seconds: float = 0.0, **options: Any) -> Node[Any]:
    """Build a node of the fastest path: no context, a single slice in and out."""

    @node(name=name, **options)
    async def step(number: Number) -> Number:
        await asyncio.sleep(seconds)
        return Number(n=number.n + 1)

    return step


def log(name: str, seconds: float = 0.0, **options: Any) -> Node[Any]:
    @node(name=name, **options)
    async def step(number: Number) -> Log:
        await asyncio.sleep(seconds)
        return Log(log=[f"{name} {number.n}"])

    return step


def parity(number: Number) -> Literal["even", "odd"]:
    return "odd" if number.n % 2 else "even"


def chain() -> AnyFlow:
    return Graph("chain", State).chain(add("a"), add("b", 1.0), log("c")).build()


def unchanged() -> AnyFlow:
    """Build a node that returns its input, and another that returns None."""

    @node
    async def same(number: Number) -> Number:
        return number

    @node
    async def nothing(number: Number) -> Number | None:
        return None

    return Graph("unchanged", State).chain(same, nothing, log("end")).build()


def loop() -> AnyFlow:
    graph = Graph("loop", State)
    first, last = add("first"), log("last", 0.5)
    graph.chain(first, last)
    graph.loop(last, back_to=first, while_=lambda s: s.n < 5, max_iterations=3)
    return graph.build()


def route() -> AnyFlow:
    graph = Graph("route", State)
    first = add("first")
    graph.route(first, parity).when("even", log("even")).when("odd", log("odd")).exhaustive()
    return graph.build()


def broken_route() -> AnyFlow:
    """Build a flow whose selector raises."""

    def select(number: Number) -> Literal["even", "odd"]:
        raise ValueError("neither")

    graph = Graph("broken_route", State)
    graph.route(add("first"), select).when("even", log("even")).when("odd", log("odd")).exhaustive()
    return graph.build()


def fan_out_and_join() -> AnyFlow:
    graph = Graph("join", State)
    return graph.chain(add("a"), [log("b", 2.0), log("c", 1.0), log("d")], log("end")).build()


def quorum() -> AnyFlow:
    """Build a join that does not wait for its slowest branch, which is cancelled."""
    graph = Graph("quorum", State)
    end = log("end")
    graph.chain(add("a"), [log("b", 9.0), log("c", 1.0), log("d")], end)
    return graph.join(end, need=2).build()


def failing() -> AnyFlow:
    @node
    async def bad(number: Number) -> Log:
        raise ValueError("no")

    return Graph("failing", State).chain(add("a"), [bad, log("b", 1.0)], log("end")).build()


def wrong_output() -> AnyFlow:
    @node
    async def wrong(number: Number) -> Number:
        return Log()  # pyright: ignore[reportReturnType]

    return Graph("wrong", State).chain(add("a"), wrong).build()


def stray_cancellation() -> AnyFlow:
    @node
    async def cancelled(number: Number) -> Log:
        raise asyncio.CancelledError

    return Graph("stray", State).chain(add("a"), cancelled).build()


def error_edge() -> AnyFlow:
    @node
    async def bad(number: Number) -> Log:
        raise ValueError(f"no {number.n}")

    @node
    async def rescue(failure: Failure, number: Number) -> Log:
        return Log(log=[failure.message])

    graph = Graph("error_edge", State)
    end = log("end")
    graph.chain(add("a"), bad, end)
    graph.chain(rescue, end)
    graph.on_error(bad, rescue, when=ValueError)
    return graph.build()


def retry() -> AnyFlow:
    @node(retry=Retry(attempts=3, on=(ValueError,), first=1.0))
    async def flaky(ctx: Context, number: Number) -> Log:
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return Log(log=[f"attempt {ctx.attempt}"])

    return Graph("retry", State).chain(add("a"), flaky, log("end")).build()


def gates() -> AnyFlow:
    graph = Graph("gates", State)
    return graph.chain(add("a"), log("b", gate="before"), log("c", gate="after")).build()


OWN_FLOWS: list[Callable[[], AnyFlow]] = [
    chain,
    unchanged,
    loop,
    route,
    broken_route,
    fan_out_and_join,
    quorum,
    failing,
    wrong_output,
    stray_cancellation,
    error_edge,
    retry,
    gates,
]
BUILDERS: dict[str, Callable[[], AnyFlow]] = {
    **{build.__name__: build for build in OWN_FLOWS},
    **{f"scenario_{name}": build for name, build in FLOWS.items()},  # maps and sub-flows too
}


async def observe(flow: AnyFlow, *, is_observed: bool, uses_fast_paths: bool) -> Observed:
    """Run a flow to its end, and return everything that it left behind."""
    events: list[RunEvent] = []
    settings = RunSettings(
        client=ScriptedModel(),
        run_id="r",
        resources=Ledger(),
        watchers=(events.append,) if is_observed else (),
        clock=lambda: 1e9,
    )
    plan = flow.plan
    scheduler = Scheduler(plan, settings, uses_fast_paths=uses_fast_paths)
    await scheduler.begin(plan.read_input.update(plan.input(n=1)))
    while scheduler.run.status == "waiting":
        question = scheduler.open_questions()[0]
        answer_type = question.question.answer
        answer = answer_type(approved=True)
        assert isinstance(answer, Approval | Choice)
        await scheduler.answer(question, answer)
    output = scheduler.run.root.output
    return {
        "status": (scheduler.run.status, scheduler.run.reason),
        "state": None if output is None else plan.read_state.read(output).model_dump(),
        "steps": scheduler.report.steps(),
        "activations": [
            (activation.path, activation.id, activation.update, activation.started_at)
            for activation in scheduler.report.activations()
        ],
        "events": [str(event) for event in events],
        "resources": settings.resources.entries,
    }


@OBSERVED
@pytest.mark.parametrize("name", BUILDERS)
def test_fast_path_equals_rule(name: str, is_observed: bool) -> None:
    """State, activations with their ids, steps and events are equal on both paths."""
    flow = BUILDERS[name]()
    slow, fast = (
        run_virtual(observe(flow, is_observed=is_observed, uses_fast_paths=uses_fast_paths))
        for uses_fast_paths in (False, True)
    )
    assert bool(fast["events"]) == is_observed
    assert fast == slow


@pytest.mark.parametrize("uses_fast_paths", [False, True], ids=["rule", "fast"])
def test_switch_decides_which_path_runs(uses_fast_paths: bool) -> None:
    """Runs by the rule call nodes in the attempt runner; runs on the fast path do not."""
    callers: list[str] = []

    @node
    async def look(number: Number) -> Number:
        callers.extend(frame.filename for frame in traceback.extract_stack())
        return number

    flow = Graph("look", State).chain(look).build()
    run_virtual(observe(flow, is_observed=False, uses_fast_paths=uses_fast_paths))
    by_rule = any(filename.endswith("attempt.py") for filename in callers)
    assert by_rule is not uses_fast_paths
