"""Tools: a model calls typed functions a bounded number of times and reads errors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from graphorch.agents.agent import agent
from graphorch.agents.tools import Tool, ToolClient, TooManyToolRounds, build_tools
from graphorch.errors import BudgetExceeded, GraphError, ModelError
from graphorch.models.client import OnText
from graphorch.models.errors import TimedOut
from graphorch.models.messages import Message, Request, Response, ToolCall, Usage
from graphorch.models.structured_output import ask_for_value
from tests.agents.contexts import Asked


class Place(BaseModel):
    name: str
    depth: float = 1.5


def water(
    harbour: str, hour: Annotated[int, Field(ge=0, le=23, description="of the day")] = 12
) -> Place:
    """The depth of the water in a harbour."""
    if harbour == "nowhere":
        raise LookupError("no such harbour")
    return Place(name=f"{harbour} at {hour}")


async def tide(kind: Literal["spring", "neap"], json: list[int] | None = None) -> str:
    await asyncio.sleep(0)
    return f"{kind} {json}"


class Model:
    """A model that asks for tools in turn, each step a list of calls, and then answers."""

    def __init__(self, *steps: list[tuple[str, str]] | str) -> None:
        self.steps = list(steps)
        self.asked: list[Request] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        step = self.steps[min(len(self.asked), len(self.steps) - 1)]
        self.asked.append(request)
        text = step if isinstance(step, str) else ""
        wanted = () if isinstance(step, str) else step
        calls = tuple(
            ToolCall(id=f"c{number}", name=name, arguments=arguments)
            for number, (name, arguments) in enumerate(wanted)
        )
        return Response(
            text, "m", Usage(10, 5), 0.5, "table", "stop", 1, 1.0, None, tool_calls=calls
        )

    @property
    def results(self) -> list[str]:
        """Return the results of tools in the last request."""
        return [message.content for message in self.asked[-1].messages if message.role == "tool"]


def run(
    model: Model, *tools: Callable[..., Any], rounds: int = 8, timeout: float | None = None
) -> Response:
    client = ToolClient(model, tools, rounds=rounds)
    return asyncio.run(
        client.complete(Request("m", (Message(content="how deep?"),), timeout=timeout))
    )


# ---- the loop ----------------------------------------------------------------------------------


def test_model_reads_results_and_answers() -> None:
    """The model reads the results of its tools and then answers."""
    model = Model(
        [("water", '{"harbour": "Northcliff", "hour": 3}'), ("tide", '{"kind": "neap"}')],
        "1.5 metres",
    )
    response = run(model, water, tide)
    assert response.text == "1.5 metres"
    assert model.results == ['{"name":"Northcliff at 3","depth":1.5}', "neap None"]
    question, tool_request, first, second = model.asked[1].messages
    assert (
        question.content,
        tool_request.role,
        [call.name for call in tool_request.tool_calls],
    ) == (
        "how deep?",
        "assistant",
        ["water", "tide"],
    )
    assert (first.tool_call_id, second.tool_call_id) == ("c0", "c1")
    assert [tool.name for tool in model.asked[0].tools] == ["water", "tide"]


def test_response_counts_every_round() -> None:
    """Usage, cost and attempts are those of all rounds."""
    response = run(
        Model([("water", '{"harbour": "a"}')], [("water", '{"harbour": "b"}')], "done"), water
    )
    assert (response.usage, response.usd, response.attempts) == (Usage(30, 15), 1.5, 3)
    assert response.note == "tools: water, water"


def test_answer_without_call_passes_through() -> None:
    """An answer without a call of a tool passes through."""
    assert run(Model("at once"), water).attempts == 1


def test_rounds_are_bounded() -> None:
    """A model that never stops calling tools ends with an error after the last round."""
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    model = Model([("count", "")])
    with pytest.raises(TooManyToolRounds, match="3 are allowed") as caught:
        run(model, count, rounds=3)
    assert (len(model.asked), len(calls)) == (4, 3)
    assert isinstance(caught.value, ModelError)
    assert not caught.value.retryable


def test_structured_output_with_tools() -> None:
    """A repair of a structured answer keeps the tools."""
    model = Model(
        [("water", '{"harbour": "a"}')],
        '{"name": "a", "depth": "deep"}',
        '{"name": "a", "depth": 2}',
    )
    answer = asyncio.run(
        ask_for_value(ToolClient(model, [water]), Request("m", (Message(content="?"),)), Place)
    )
    assert answer.value == Place(name="a", depth=2)
    assert answer.usd == 1.5
    assert all(request.schema is Place for request in model.asked)


# ---- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, expected",
    [
        (("wate", "{}"), "there is no tool 'wate'. Did you mean 'water'?"),
        (("water", "{}"), "harbour: Field required"),
        (
            ("water", '{"harbour": "a", "hour": 99}'),
            "hour: Input should be less than or equal to 23",
        ),
        (("water", '{"harbour": "a", "speed": 1}'), "speed: Extra inputs are not permitted"),
        (("water", '{"harbour": '), "Invalid JSON"),
        (("water", "[]"), "arguments: "),
        (("water", '{"harbour": "nowhere"}'), "'water' raised LookupError: no such harbour"),
    ],
)
def test_model_reads_errors_of_tools(call: tuple[str, str], expected: str) -> None:
    """The model reads what went wrong and may go on."""
    model = Model([call], "well then")
    assert run(model, water).text == "well then"
    assert model.results[0].startswith("Error: ")
    assert expected in model.results[0]


def test_limits_pass_through() -> None:
    """A limit of the run ends the call and is not shown to the model."""

    def spend() -> str:
        raise BudgetExceeded("nothing left", limit="usd")

    with pytest.raises(BudgetExceeded):
        run(Model([("spend", "")], "x"), spend)


def test_model_error_passes_through() -> None:
    """An error of the model passes through."""

    class Broken(Model):
        async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
            raise ModelError("no", model="m")

    with pytest.raises(ModelError, match="no"):
        run(Broken(""), water)


def test_late_tool_ends_call() -> None:
    """A tool that does not return in time ends the call."""

    async def forever() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(TimedOut, match="The tool 'forever' did not return"):
        run(Model([("forever", "")], "x"), forever, timeout=0.02)


def test_rounds_share_the_timeout() -> None:
    """Each round has what is left of the time."""
    now = iter(range(0, 100, 2))
    model = Model([("water", '{"harbour": "a"}')], "x")
    client = ToolClient(model, [water], clock=lambda: float(next(now)))
    asyncio.run(client.complete(Request("m", (Message(content="?"),), timeout=20.0)))
    assert [request.timeout for request in model.asked] == [18.0, 14.0]


def test_blocking_tool_runs_in_thread() -> None:
    """A function that blocks runs beside the event loop."""
    where: list[int] = []

    def block() -> str:
        where.append(threading.get_ident())
        return ""

    run(Model([("block", "")], "x"), block)
    assert where != [threading.get_ident()]


def test_many_tools_block_at_once() -> None:
    """As many agents as there are wait for their tools at once: none waits for a free thread."""
    barrier = threading.Barrier(60)

    def meet() -> str:
        barrier.wait(20)
        return "met"

    async def main() -> list[Response]:
        clients = [ToolClient(Model([("meet", "")], "x"), [meet]) for _ in range(60)]
        request = Request("m", (Message(content="?"),))
        return await asyncio.gather(*(client.complete(request) for client in clients))

    assert len(asyncio.run(main())) == 60


def test_hanging_tool_does_not_hold_the_program() -> None:
    """The loop ends after the timeout, although the thread of the tool still runs."""
    release, ended = threading.Event(), threading.Event()

    def hang() -> str:
        release.wait(30)
        ended.set()
        return ""

    with pytest.raises(TimedOut, match="The tool 'hang' did not return"):
        run(Model([("hang", "")], "x"), hang, timeout=0.02)
    assert not ended.is_set()
    release.set()
    assert ended.wait(10)


@pytest.mark.parametrize("swallows_last", [False, True])
def test_swallowed_timeout_of_tool_counts(swallows_last: bool) -> None:
    """A tool that swallows its cancellation is late all the same, the last one of a round too."""

    async def slow() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return "late"

    calls = [("water", '{"harbour": "a"}'), ("slow", "")] if swallows_last else [("slow", "")]
    with pytest.raises(TimedOut, match="The tool 'slow' did not return"):
        run(Model(calls, "x"), water, slow, timeout=0.05)


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


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (stop_iteration, "StopIteration"),
        (exit_program, "ExitRefused: It called sys.exit(3), which would end"),
        (exit_async, "ExitRefused: It called sys.exit(3), which would end"),
        (interrupt, "ExitRefused: It raised KeyboardInterrupt, but nobody pressed"),
        (cancel, "StrayCancellation: It raised CancelledError although it was not"),
        (cancel_async, "StrayCancellation: It raised CancelledError although it was not"),
        (mute, "_Mute: (its message cannot be shown: RuntimeError)"),
        (endless_error, "ValueError: half \\ud83dxxx"),
    ],
)
def test_model_reads_whatever_tool_raises(tool: Callable[..., Any], told: str) -> None:
    """Every exception goes to the model as a text that a request can carry, and the run goes on."""
    model = Model([(tool.__name__, "")], "done")
    assert run(model, tool).text == "done"
    assert model.results[0].startswith(f"Error: '{tool.__name__}' raised {told}")
    assert len(model.results[0].encode()) < 25_000


def test_impossible_result_is_told() -> None:
    """A result that cannot be written is an error for the model, not for the run."""

    def cyclic() -> object:
        found: list[object] = []
        found.append(found)
        return found

    model = Model([("cyclic", "")], "done")
    assert run(model, cyclic).text == "done"
    assert model.results[0].startswith("Error: the result of 'cyclic' cannot be written as JSON: ")


def test_cancelled_call_cancels_tool() -> None:
    """A call that is cancelled while a tool runs ends as cancelled, and so does the tool."""
    ended: list[str] = []

    async def wait() -> str:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")
        return ""

    async def main() -> None:
        client = ToolClient(Model([("wait", "")], "x"), [wait])
        task = asyncio.create_task(client.complete(Request("m", (Message(content="?"),))))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["cancelled"]


def test_long_result_is_cut() -> None:
    """A very long result is cut, and its end says so."""

    def much() -> str:
        return "x" * 30_000

    model = Model([("much", "")], "x")
    run(model, much)
    assert model.results[0].endswith("… (10,000 more characters were left out)")


# ---- what a model reads -------------------------------------------------------------------------


def test_spec_follows_signature_and_docstring() -> None:
    """The schema comes from the signature and the description from the docstring."""
    (tool,) = build_tools([water])
    assert (tool.spec.name, tool.spec.description) == (
        "water",
        "The depth of the water in a harbour.",
    )
    properties: Any = tool.spec.parameters["properties"]
    assert properties["hour"] == {
        "default": 12,
        "description": "of the day",
        "maximum": 23,
        "minimum": 0,
        "title": "hour",
        "type": "integer",
    }
    assert tool.spec.parameters["required"] == ["harbour"]
    assert tool.spec.parameters["additionalProperties"] is False
    assert tool("Northcliff") == water("Northcliff")
    assert build_tools([tool]) == (tool,)


class HarbourBook:
    """Looks a harbour up."""

    def __call__(self, harbour: str) -> str:
        return f"called {harbour}"

    async def look_up(self, harbour: str) -> str:
        """Look a harbour up."""
        return f"method {harbour}"


class Answering:
    async def __call__(self, harbour: str) -> str:
        """Answer about a harbour."""
        return f"answered {harbour}"


def deepest(depth: int, harbour: str) -> str:
    """Return the deepest place."""
    return f"{depth} at {harbour}"


def wrapped(harbour: str) -> Any:
    """Return a coroutine, as a plain wrapper around an async function does."""
    return HarbourBook().look_up(harbour)


@pytest.mark.parametrize(
    ("tool", "name", "description", "result"),
    [
        (HarbourBook(), "harbour_book", "Looks a harbour up.", "called a"),
        (HarbourBook().look_up, "look_up", "Look a harbour up.", "method a"),
        (functools.partial(HarbourBook().look_up), "look_up", "Look a harbour up.", "method a"),
        (Answering(), "answering", "Answer about a harbour.", "answered a"),
        (functools.partial(deepest, 3), "deepest", "Return the deepest place.", "3 at a"),
        (wrapped, "wrapped", "Return a coroutine, as a plain", "method a"),
    ],
)
def test_any_callable_is_a_tool(
    tool: Callable[..., Any], name: str, description: str, result: str
) -> None:
    """Methods, partials and objects are tools, async or not, with their own description."""
    (built,) = build_tools([tool])
    assert built.spec.name == name
    assert built.spec.description.startswith(description)
    properties: Any = built.spec.parameters["properties"]
    assert list(properties) == ["harbour"]
    model = Model([(name, '{"harbour": "a"}')], "done")
    run(model, tool)
    assert model.results == [result]


def test_local_types_are_resolved() -> None:
    """Annotations may name types that are defined beside the function."""

    class Local(BaseModel):
        x: int

    def use(value: Local) -> int:
        return value.x

    (tool,) = build_tools([use], locals())
    assert asyncio.run(tool.answer('{"value": {"x": 4}}')) == "4"


def untyped(x):  # type: ignore[no-untyped-def]  # pyright: ignore
    return x


def anything(*args: int) -> None: ...
def missing(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # pyright: ignore  # noqa: F821
def odd(x: threading.Lock) -> None: ...  # type: ignore[valid-type]  # pyright: ignore


@pytest.mark.parametrize(
    "tools, says",
    [
        ([untyped], "parameter 'x' has no annotation"),
        ([anything], "parameter 'args' cannot be given by name"),
        ([missing], "an annotation names 'Nowhere'"),
        ([odd], "no JSON schema"),
        ([lambda: 1], "is not a name that a model can call"),
        ([water, tide, water], "2 tools have this name"),
    ],
)
def test_impossible_tool_is_refused(tools: list[Callable[..., Any]], says: str) -> None:
    """A function that cannot be a tool is refused."""
    with pytest.raises(GraphError) as caught:
        build_tools(tools)
    assert says in str(caught.value)
    assert {problem.code for problem in caught.value.problems} == {"TOOL"}


def test_tool_problems_come_at_once() -> None:
    """All wrong tools are named at once."""
    with pytest.raises(GraphError) as caught:
        build_tools([untyped, anything, water])
    assert len(caught.value.problems) == 2


# ---- agents ------------------------------------------------------------------------------------


class Topic(BaseModel):
    topic: str


class Draft(BaseModel):
    draft: str


def test_agent_passes_and_checks_tools() -> None:
    """An agent passes its tools on, and refuses wrong ones where it is decorated."""

    @agent(output=Draft, tools=[water])
    def write(t: Topic) -> str:
        return t.topic

    context = Asked(Draft(draft=""))
    asyncio.run(write.fn(context, Topic(topic="t")))
    assert [type(call) for call in context.calls[0]["tools"]] == [Tool]
    with pytest.raises(GraphError, match="no annotation"):
        agent(output=Draft, tools=[untyped])
