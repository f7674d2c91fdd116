"""Loops of tools in runs: what is resumed asks the same, and strict endpoints call tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, get_args
from uuid import uuid4

import pytest
from pydantic import BaseModel, Field

from graphorch import Flow, Graph, RunFailed, agent, tool
from graphorch.agents.tool_guards import NoProgress
from graphorch.errors import ModelError
from graphorch.journal.memory import MemoryStore
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, ToolCall, Usage, estimate_input
from graphorch.models.openai.client import OpenAIClient
from tests.agents.conversations import find_orphans
from tests.agents.strict_endpoint import ANSWER, Kind, StrictEndpoint
from tests.models.servers import serve


class Topic(BaseModel):
    topic: str = "depth"


class Depth(BaseModel):
    metres: float = 0.0
    place: str = ""


class State(Topic, Depth): ...


LARGE = "".join(f"line {number:07}\n" for number in range(400_000))


@tool(effect="pure")
def read(page: int) -> str:
    """Return a page; the first one is very long."""
    return LARGE if page == 1 else f"page {page}"


@tool(effect="pure")
def look_up(place: str, hour: int) -> str:
    """Return the depth of the water."""
    return f"{place} at {hour}"


def build(*tools: Callable[..., Any], **options: Any) -> Flow[Topic, Depth, State]:
    @agent(output=Depth, tools=tools, model="m", **options)
    def write(topic: Topic) -> str:
        return f"how deep is {topic.topic}?"

    return Graph("harbour", State, input=Topic, output=Depth).chain(write).build()


class Reader:
    """A model that reads pages, then a part of the first one, and fails at one of its calls."""

    steps: ClassVar[tuple[list[tuple[str, str]], ...]] = (
        [("read", '{"page": 1}'), ("read", '{"page": 2}')],
        [("read_result", '{"id": "r1-0", "start": 2600000, "length": 26}'), ("read", "[]")],
        [("read", '{"page": 3}')],
    )

    def __init__(self, fails_at: int | None = None) -> None:
        self.requests: list[Request] = []
        self.fails_at = fails_at

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        if self.fails_at == 0:
            self.fails_at = None
            raise ModelError("the model is not there", model="m")
        if self.fails_at is not None:
            self.fails_at -= 1
        self.requests.append(request)
        number = self.count_rounds(request)
        wanted = self.steps[number] if number < len(self.steps) else ()
        calls = tuple(ToolCall(id="", name=name, arguments=given) for name, given in wanted)
        text = "" if wanted else "It is 1.5 m deep."
        if request.schema is not None:
            text = '{"metres": 1.5, "place": "north"}'
        return Response(text, "m", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None, tool_calls=calls)

    def count_rounds(self, request: Request) -> int:
        return len(self.requests) - 1


def describe(requests: list[Request]) -> list[Any]:
    return [(one.messages, one.tools, one.tool_choice, one.schema) for one in requests]


async def run_to_the_end(model: Reader, **options: Any) -> Depth:
    """Run a durable flow, and resume it until it succeeds."""
    flow, store = build(read, **options), MemoryStore()
    try:
        return (await flow.run(Topic(), run_id="r", durable=store, client=model)).output
    except RunFailed:
        return (await flow.resume("r", durable=store, client=model)).output


def test_long_result_is_read_in_a_run() -> None:
    """The model sees the ends of a long result, and reads what it asks for, also by an old id."""
    model = Reader()
    assert asyncio.run(run_to_the_end(model)) == Depth(metres=1.5, place="north")
    first = next(one for one in model.requests[1].messages if one.role == "tool")
    assert len(first.content) < 21_000
    part = [one.content for one in model.requests[2].messages if one.role == "tool"][2]
    assert part == (
        "Characters 2,600,000 to 2,600,025 of 5,200,000 of 'r1-0':\nline 0200000\nline 0200001\n"
    )
    assert all(find_orphans(one.messages) == [] for one in model.requests)
    assert [len(one.tools) for one in model.requests] == [1, 2, 2, 2, 2]


@pytest.mark.parametrize("options", [{}, {"keep_rounds": 1}, {"keep_tokens": 1_500}])
@pytest.mark.parametrize("fails_at", range(5))
def test_resumed_loop_asks_the_same(fails_at: int, options: dict[str, Any]) -> None:
    """Whichever call of the model fails, the requests are byte for byte those of a quiet run."""
    quiet, disturbed = Reader(), Reader(fails_at)
    asyncio.run(run_to_the_end(quiet, **options))
    asyncio.run(run_to_the_end(disturbed, **options))
    assert describe(disturbed.requests) == describe(quiet.requests)
    if "keep_tokens" in options:
        assert all(estimate_input(one) <= 1_500 for one in quiet.requests)


class Loops:
    """A model that makes one call for ever."""

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.asked += 1
        call = ToolCall(id="c", name="spend", arguments='{"usd": 1}')
        return Response("", "m", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None, tool_calls=(call,))


def test_looping_model_is_stopped_in_a_run() -> None:
    """One call for ever runs twice, and ends the run in the fourth round, also when resumed."""
    ran: list[float] = []

    @tool
    def spend(usd: float) -> str:
        ran.append(usd)
        return "no money left"

    flow, store, model = build(spend, rounds=50), MemoryStore(), Loops()

    async def main() -> None:
        with pytest.raises(RunFailed) as caught:
            await flow.run(Topic(), run_id="r", durable=store, client=model)
        (failed,) = caught.value.exceptions
        assert isinstance(failed.__cause__, NoProgress)
        assert "'spend' again and again" in str(failed)
        assert (len(ran), model.asked) == (2, 4)
        with pytest.raises(RunFailed):
            await flow.resume("r", durable=store, client=model)

    asyncio.run(main())
    assert len(ran) == 2
    assert model.asked <= 8


@pytest.mark.parametrize("kind", get_args(Kind))
def test_agent_calls_tools_of_strict_endpoint(kind: Kind) -> None:
    """An agent with an object for output calls its tools, and stays within the estimate."""
    endpoint = StrictEndpoint(kind)
    flow = build(look_up, rounds=2)

    async def main() -> Depth:
        async with asyncio.timeout(30), serve(endpoint) as server:
            client = OpenAIClient(server.url, "key")
            try:
                result = await flow.run(Topic(), client=client)
            finally:
                await client.aclose()
            paths = [step.path for step in result.steps]
            assert sorted(path for path in paths if "/" in path) == [
                f"write/r{number}/look_up#{index}" for number in (1, 2) for index in (0, 1)
            ]
            return result.output

    assert asyncio.run(main()) == Depth.model_validate(ANSWER)
    assert len(endpoint.bodies) <= flow.estimate().worst.calls


class Order(BaseModel):
    item: str
    id: str = Field(default_factory=lambda: uuid4().hex)


def test_new_defaults_repeat_no_call() -> None:
    """No call is made again since a default is another one: made anew, or changed in the code."""
    ran: list[str] = []

    def build_with(count: int) -> Flow[Topic, Depth, State]:
        @tool
        def buy(order: Order) -> str:
            ran.append(order.item)
            return "bought"

        @tool
        def sell(item: str, count: int = count) -> str:
            ran.append(item)
            return "sold"

        return build(buy, sell)

    class Buyer(Reader):
        steps = ([("buy", '{"order": {"item": "a"}}')], [("sell", '{"item": "b"}')])

        def count_rounds(self, request: Request) -> int:
            # A description that changed is another request, so the model is asked from the start.
            return sum(message.role == "assistant" for message in request.messages)

    async def main() -> None:
        store, model = MemoryStore(), Buyer(fails_at=2)
        with pytest.raises(RunFailed):
            await build_with(1).run(Topic(), run_id="r", durable=store, client=model)
        await build_with(2).resume("r", durable=store, client=model)

    asyncio.run(main())
    assert ran == ["a", "b"]
