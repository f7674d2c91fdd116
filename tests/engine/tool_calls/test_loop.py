"""Tools called in a run: what the model reads, what happens to errors, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Budget,
    Cache,
    Context,
    Flow,
    Graph,
    GraphError,
    RunFailed,
    agent,
    node,
    tool,
)
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, ToolCall, Usage
from graphorch.runs.result import Result
from graphorch.testing import run_virtual


class Topic(BaseModel):
    topic: str = "depth"


class Draft(BaseModel):
    draft: str = ""


class Place(BaseModel):
    name: str
    depth: float


class Found(BaseModel):
    place: str = ""
    depth: float = 0.0


class State(Topic, Draft, Found): ...


class Model:
    """A model that asks for tools in turn, each step a list of calls, and then answers."""

    def __init__(self, *steps: list[tuple[str, str]] | str) -> None:
        self.steps = list(steps)
        self.asked: list[Request] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        number = sum(message.role == "assistant" for message in request.messages)
        step = self.steps[min(number, len(self.steps) - 1)]
        self.asked.append(request)
        text = step if isinstance(step, str) else ""
        wanted = () if isinstance(step, str) else step
        calls = tuple(
            ToolCall(id=f"c{number}.{index}", name=name, arguments=arguments)
            for index, (name, arguments) in enumerate(wanted)
        )
        return Response(
            text, "m", Usage(10, 5), 0.5, "table", "stop", 1, 1.0, None, tool_calls=calls
        )

    @property
    def results(self) -> list[str]:
        """Results of tools in the last request."""
        return [message.content for message in self.asked[-1].messages if message.role == "tool"]


def flow_of(*tools: Callable[..., Any], **options: Any) -> Flow[Topic, Draft, State]:
    """Return a flow of one agent with these tools."""

    @agent(output=Draft, tools=tools, name="write", **options)
    def write(t: Topic) -> str:
        return f"how deep is {t.topic}?"

    return Graph("harbour", State, input=Topic, output=Draft).chain(write).build()


def run(model: Model, *tools: Callable[..., Any], **options: Any) -> Result[Draft, State]:
    """Run one agent with these tools."""
    return asyncio.run(flow_of(*tools, **options).run(Topic(), client=model))


@tool(effect="pure", tells=LookupError)
def water(harbour: str, hour: int = 12) -> Place:
    """The depth of the water in a harbour."""
    if harbour == "nowhere":
        raise LookupError("no such harbour")
    return Place(name=f"{harbour} at {hour}", depth=1.5)


# ---- the loop -----------------------------------------------------------------------------------
def test_model_reads_results_and_answers() -> None:
    """The model reads the results of its tools in its own order and then answers."""

    async def tide(kind: str) -> str:
        return f"{kind} tide"

    model = Model(
        [("water", '{"harbour": "Northcliff", "hour": 3}'), ("tide", '{"kind": "neap"}')],
        "1.5 metres",
    )
    result = run(model, water, tide)
    assert result.output.draft == "1.5 metres"
    assert model.results == ['{"name":"Northcliff at 3","depth":1.5}', "neap tide"]
    assert [step.path for step in result.steps] == [
        "write/r1/water#0",
        "write/r1/tide#1",
        "write",
    ]
    assert [request.tools[0].name for request in model.asked] == ["water", "water"]


def test_every_round_is_counted() -> None:
    """Usage and cost of the agent are those of all its calls of the model."""
    model = Model([("water", '{"harbour": "a"}')], [("water", '{"harbour": "b"}')], "done")
    step = run(model, water).steps[-1]
    assert (step.path, step.calls, step.usd) == ("write", 3, 1.5)


def test_rounds_are_bounded() -> None:
    """A model that never stops calling tools fails its agent after the last round."""
    calls: list[int] = []

    def count(number: int) -> int:
        calls.append(number)
        return number

    model = Model(*[[("count", f'{{"number": {number}}}')] for number in range(9)])
    with pytest.raises(RunFailed) as caught:
        run(model, count, rounds=3)
    assert re.search("TooManyToolRounds.*3 are allowed", str(caught.value), re.DOTALL)
    assert (len(model.asked), calls) == (4, [0, 1, 2])


def test_endless_calls_end_early() -> None:
    """A model that makes one call again and again is over within four rounds."""
    calls: list[int] = []

    @tool(effect="pure")
    def look() -> str:
        calls.append(1)
        return "nothing"

    with pytest.raises(RunFailed) as caught:
        run(Model([("look", "{}")]), look)
    assert re.search("NoProgress", str(caught.value), re.DOTALL)
    assert len(calls) == 2


def test_structured_output_with_tools() -> None:
    """An answer that is an object takes its schema only once no tools are offered."""

    @agent(output=Found, tools=[water])
    def find(t: Topic) -> str:
        return t.topic

    flow = Graph("harbour", State, input=Topic, output=Found).chain(find).build()
    model = Model([("water", '{"harbour": "a"}')], "Deep.", '{"place": "a", "depth": 2}')
    result = asyncio.run(flow.run(Topic(), client=model))
    assert result.output == Found(place="a", depth=2)
    offered = [request for request in model.asked if request.tool_choice != "none"]
    assert [request.schema for request in offered] == [None, None]
    call: Any = find.fn
    assert len(model.asked) <= call.most_calls


def test_node_gives_tools_to_its_call() -> None:
    """A node that asks a model itself has tools called in the same way, in each of its loops."""

    @node
    async def write(ctx: Context, t: Topic) -> Draft:
        first = await ctx.complete(t.topic, tools=[water])
        second = await ctx.complete(f"{first}?", tools=[water])
        return Draft(draft=f"{first} {second}")

    flow = Graph("harbour", State, input=Topic, output=Draft).chain(write).build()
    model = Model([("water", '{"harbour": "a"}')], "done")
    result = asyncio.run(flow.run(Topic(), client=model))
    assert result.output.draft == "done done"
    paths = [step.path for step in result.steps]
    assert paths == ["write/r1/water#0", "write/2.r1/water#0", "write"]


def test_equal_loops_of_a_node_have_own_rounds() -> None:
    """Two loops that ask the same, side by side, do not take each other's calls."""
    calls: list[str] = []

    @tool(effect="idempotent")
    def note(text: str) -> str:
        calls.append(text)
        return text

    @node
    async def write(ctx: Context, t: Topic) -> Draft:
        both = [ctx.complete(t.topic, tools=[note]) for _ in range(2)]
        return Draft(draft=" ".join(await asyncio.gather(*both)))

    flow = Graph("harbour", State, input=Topic, output=Draft).chain(write).build()
    model = Model([("note", '{"text": "a"}')], "done")
    result = asyncio.run(flow.run(Topic(), client=model))
    assert (result.output.draft, calls) == ("done done", ["a", "a"])


def test_tool_has_key_and_resources() -> None:
    """A tool gets a context: a key that is the same in each attempt, and the resources."""
    keys: list[tuple[str, str]] = []

    @tool(effect="idempotent", tells=LookupError)
    def note(ctx: Context[str], text: str) -> str:
        keys.append((ctx.key, ctx.resources))
        return text

    model = Model([("note", '{"text": "a"}'), ("note", '{"text": "b"}')], "done")
    asyncio.run(flow_of(note).run(Topic(), client=model, resources="shop"))
    assert len({key for key, _ in keys}) == 2
    assert [resource for _, resource in keys] == ["shop", "shop"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"cache": Cache(60)}, "cannot have cache: a result from the cache would leave out what"),
        ({"hedge_after": 1}, "cannot have hedge_after: two copies of it would call its tools"),
    ],
)
def test_agent_with_tools_runs_once(options: dict[str, Any], why: str) -> None:
    """An agent whose tools act is not cached, and one that has tools is not hedged."""

    def send() -> str:
        return "sent"

    with pytest.raises(GraphError) as caught:
        flow_of(send, **options)
    assert f"OPTION_NESTED at node 'write': an agent with such tools {why}" in str(caught.value)


def test_agent_with_pure_tools_may_be_cached() -> None:
    """An agent whose tools only read may be served from the cache."""
    model = Model([("water", '{"harbour": "a"}')], "done")
    assert run(model, water, cache=Cache(60)).output.draft == "done"


@pytest.mark.parametrize("options", [{"cache": Cache(60)}, {"hedge_after": 1}])
def test_node_that_has_tools_runs_once(options: Any) -> None:
    """A node that gives tools to its call is refused the same options when it does so."""

    def send() -> str:
        return "sent"

    @node(**options)
    async def write(ctx: Context, t: Topic) -> Draft:
        return Draft(draft=await ctx.complete(t.topic, tools=[send]))

    flow = Graph("harbour", State, input=Topic, output=Draft).chain(write).build()
    with pytest.raises(RunFailed) as caught:
        asyncio.run(flow.run(Topic(), client=Model("x")))
    assert f"'write' has tools and {next(iter(options))}: " in str(caught.value)


# ---- order --------------------------------------------------------------------------------------
def test_pure_tools_run_at_once() -> None:
    """Calls of one round run side by side, and their results go back in the order of the calls."""
    active: list[int] = []
    most: list[int] = []

    @tool(effect="pure")
    async def wait(seconds: float) -> float:
        active.append(1)
        most.append(len(active))
        await asyncio.sleep(seconds)
        active.pop()
        return seconds

    model = Model([("wait", f'{{"seconds": {seconds}}}') for seconds in (3, 1, 2)], "done")
    run_virtual(flow_of(wait).run(Topic(), client=model))
    assert max(most) == 3
    assert model.results == ["3.0", "1.0", "2.0"]


def test_acting_tool_has_its_turn_alone() -> None:
    """A tool that acts waits for the calls before it, and those behind it wait for it."""
    log: list[str] = []

    def make(name: str, **options: Any) -> Any:
        async def act(seconds: float) -> str:
            log.append(f"+{name}{seconds:g}")
            await asyncio.sleep(seconds)
            log.append(f"-{name}{seconds:g}")
            return name

        return tool(name=name, **options)(act)

    look, send = make("look", effect="pure"), make("send")
    calls = [("look", 3), ("look", 1), ("send", 2), ("send", 1), ("look", 1)]
    model = Model([(name, f'{{"seconds": {seconds}}}') for name, seconds in calls], "done")
    run_virtual(flow_of(look, send).run(Topic(), client=model))
    assert log == [
        *("+look3", "+look1", "-look1", "-look3"),
        *("+send2", "-send2", "+send1", "-send1"),
        *("+look1", "-look1"),
    ]


# ---- faults -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call, expected",
    [
        (("wate", "{}"), "there is no tool 'wate'. Did you mean 'water'?"),
        (("water", "{}"), "harbour: Field required"),
        (("water", '{"harbour": "a", "speed": 1}'), "speed: Extra inputs are not permitted"),
        (("water", '{"harbour": '), "Invalid JSON"),
        (("water", "[]"), "arguments: "),
        (("water", '{"harbour": "nowhere"}'), "'water' raised LookupError: no such harbour"),
    ],
)
def test_model_reads_errors_of_tools(call: tuple[str, str], expected: str) -> None:
    """The model reads what was wrong with its call, and what the tool declares, and may go on."""
    model = Model([call], "well then")
    assert run(model, water).output.draft == "well then"
    assert model.results[0].startswith("Error: ")
    assert expected in model.results[0]


def test_undeclared_error_fails_agent() -> None:
    """What a tool raises without declaring it fails the agent, and the failure names the call."""

    def look() -> str:
        raise KeyError("stock")

    with pytest.raises(RunFailed) as caught:
        run(Model([("look", "{}")], "x"), look)
    assert "Node 'look#0' failed: KeyError: 'stock' (at write/r1/look#0" in str(caught.value)


def test_error_edge_takes_error_of_tool() -> None:
    """An error edge of the agent fits by what its tool raised."""

    def look() -> str:
        raise KeyError("stock")

    @agent(output=Draft, tools=[look])
    def write(t: Topic) -> str:
        return t.topic

    @node
    def instead(t: Topic) -> Draft:
        return Draft(draft="instead")

    graph = Graph("harbour", State, input=Topic, output=Draft).chain(write)
    graph.on_error(write, instead, when=LookupError)
    result = asyncio.run(graph.build().run(Topic(), client=Model([("look", "{}")], "x")))
    assert result.output.draft == "instead"


def test_limit_in_tool_stops_run() -> None:
    """A limit that a tool meets stops the run, and is not shown to the model."""

    @tool(effect="pure", tells=Exception)
    async def think(ctx: Context) -> str:
        return await ctx.complete("think")

    model = Model([("think", "{}")], "x")
    with pytest.raises(RunFailed) as caught:
        asyncio.run(flow_of(think).run(Topic(), client=model, budget=Budget(calls=1)))
    assert re.search("limit:calls", str(caught.value), re.DOTALL)


def test_late_tool_fails_agent() -> None:
    """A tool that does not return in time fails the agent."""

    @tool(effect="pure", timeout=2)
    async def forever() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(RunFailed) as caught:
        run_virtual(flow_of(forever).run(Topic(), client=Model([("forever", "")], "x")))
    assert re.search("forever#0.*2 s", str(caught.value), re.DOTALL)


def test_many_tools_block_at_once() -> None:
    """As many tools as there are block at once: none waits for a free thread."""
    barrier = threading.Barrier(40)

    @tool(effect="pure")
    def meet(number: int) -> str:
        barrier.wait(20)
        return "met"

    model = Model([("meet", f'{{"number": {number}}}') for number in range(40)], "done")
    assert run(model, meet).output.draft == "done"


def test_hanging_tool_does_not_hold_the_program() -> None:
    """The run ends after the timeout, although the thread of the tool still runs."""
    release, ended = threading.Event(), threading.Event()

    @tool(effect="pure", timeout=0.05)
    def hang() -> str:
        release.wait(30)
        ended.set()
        return ""

    with pytest.raises(RunFailed) as caught:
        run(Model([("hang", "")], "x"), hang)
    assert re.search("hang", str(caught.value), re.DOTALL)
    assert not ended.is_set()
    release.set()
    assert ended.wait(10)


def test_swallowed_timeout_of_tool_counts() -> None:
    """A tool that swallows its cancellation is late all the same."""

    @tool(effect="pure", timeout=0.05)
    async def slow() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return "late"

    with pytest.raises(RunFailed) as caught:
        run(Model([("slow", "")], "x"), slow)
    assert re.search("NodeTimedOut", str(caught.value), re.DOTALL)


def stop_iteration() -> str:
    return next(iter([]))


def exit_program() -> str:
    sys.exit(3)


def interrupt() -> str:
    raise KeyboardInterrupt


def cancel() -> str:
    raise asyncio.CancelledError


async def cancel_async() -> str:
    raise asyncio.CancelledError


async def exit_async() -> str:
    sys.exit(3)


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


def mute() -> str:
    raise _Mute


def endless_error() -> str:
    raise ValueError("half \ud83d" + "x" * 50_000)


RAISING = [
    (stop_iteration, "RuntimeError: the function raised StopIteration"),
    (exit_program, "ExitRefused: It called sys.exit(3), which would end"),
    (exit_async, "ExitRefused: It called sys.exit(3), which would end"),
    (interrupt, "ExitRefused: It raised KeyboardInterrupt, but nobody pressed"),
    (cancel, "StrayCancellation: It raised CancelledError although it was not"),
    (cancel_async, "StrayCancellation: It raised CancelledError although it was not"),
    (mute, "_Mute: (its message cannot be shown: RuntimeError)"),
    (endless_error, "ValueError: half \\ud83dxxx"),
]


@pytest.mark.parametrize(("function", "told"), RAISING)
def test_model_reads_declared_errors(function: Callable[..., Any], told: str) -> None:
    """Whatever a tool raises and declares is a text that a request can carry."""
    told_all = tool(effect="pure", tells=Exception)(function)
    model = Model([(function.__name__, "")], "done")
    assert run(model, told_all).output.draft == "done"
    assert model.results[0].startswith(f"Error: '{function.__name__}' raised {told}")
    assert len(model.results[0].encode()) < 25_000


@pytest.mark.parametrize(("function", "told"), RAISING)
def test_other_errors_end_agent_only(function: Callable[..., Any], told: str) -> None:
    """Whatever a tool raises otherwise fails the agent: it neither hangs nor ends the program."""
    with pytest.raises(RunFailed):
        run(Model([(function.__name__, "")], "done"), function)


def test_impossible_result_is_told() -> None:
    """A result that cannot be written is an error for the model, not for the run."""

    def cyclic() -> object:
        found: list[object] = []
        found.append(found)
        return found

    model = Model([("cyclic", "")], "done")
    assert run(model, cyclic).output.draft == "done"
    assert model.results[0].startswith("Error: 'cyclic' has run, and its result cannot ")


def test_cancelled_run_cancels_tool() -> None:
    """A run that is cancelled while a tool runs ends, and so does the tool."""
    ended: list[str] = []

    async def wait() -> str:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")
        return ""

    async def main() -> None:
        running = flow_of(wait).run(Topic(), client=Model([("wait", "")], "x"))
        task = asyncio.create_task(running)
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["cancelled"]


class HarbourBook:
    """Looks a harbour up."""

    def __call__(self, harbour: str) -> str:
        return f"called {harbour}"

    async def look_up(self, harbour: str) -> str:
        return f"method {harbour}"


def wrapped(harbour: str) -> Any:
    """Return a coroutine, as a plain wrapper around an async function does."""
    return HarbourBook().look_up(harbour)


def deepest(depth: int, harbour: str) -> str:
    return f"{depth} at {harbour}"


@pytest.mark.parametrize(
    ("function", "name", "expected"),
    [
        (HarbourBook(), "harbour_book", "called a"),
        (HarbourBook().look_up, "look_up", "method a"),
        (functools.partial(deepest, 3), "deepest", "3 at a"),
        (wrapped, "wrapped", "method a"),
    ],
)
def test_any_callable_is_called(function: Callable[..., Any], name: str, expected: str) -> None:
    """Methods, partials and objects are called, async or not."""
    model = Model([(name, '{"harbour": "a"}')], "done")
    run(model, function)
    assert model.results == [expected]
