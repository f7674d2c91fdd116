"""Tools: typed functions as models read them, with options of their own."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from graphorch.agents.agent import agent
from graphorch.agents.tool import Tool, build_tools, tool
from graphorch.errors import GraphError, WrongOutput
from graphorch.graph.context import Context
from graphorch.graph.node import node
from graphorch.graph.options import Retry
from tests.agents.contexts import Asked


class Place(BaseModel):
    name: str
    depth: float = 1.5


def water(
    harbour: str, hour: Annotated[int, Field(ge=0, le=23, description="of the day")] = 12
) -> Place:
    """The depth of the water in a harbour."""
    return Place(name=f"{harbour} at {hour}")


async def tide(kind: Literal["spring", "neap"], json: list[int] | None = None) -> str:
    return f"{kind} {json}"


def test_spec_follows_signature_and_docstring() -> None:
    """The schema comes from the signature and the description from the docstring."""
    (built,) = build_tools([water])
    assert (built.spec.name, built.spec.description) == (
        "water",
        "The depth of the water in a harbour.",
    )
    properties: Any = built.spec.parameters["properties"]
    assert properties["hour"] == {
        "default": 12,
        "description": "of the day",
        "maximum": 23,
        "minimum": 0,
        "title": "hour",
        "type": "integer",
    }
    assert built.spec.parameters["required"] == ["harbour"]
    assert built.spec.parameters["additionalProperties"] is False
    assert built("Northcliff") == water("Northcliff")
    assert build_tools([built]) == (built,)


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
    ("function", "name", "description"),
    [
        (HarbourBook(), "harbour_book", "Looks a harbour up."),
        (HarbourBook().look_up, "look_up", "Look a harbour up."),
        (functools.partial(HarbourBook().look_up), "look_up", "Look a harbour up."),
        (Answering(), "answering", "Answer about a harbour."),
        (functools.partial(deepest, 3), "deepest", "Return the deepest place."),
        (wrapped, "wrapped", "Return a coroutine, as a plain"),
    ],
)
def test_any_callable_is_a_tool(function: Callable[..., Any], name: str, description: str) -> None:
    """Methods, partials and objects are tools, async or not, with their own description."""
    (built,) = build_tools([function])
    assert built.spec.name == name
    assert built.spec.description.startswith(description)
    properties: Any = built.spec.parameters["properties"]
    assert list(properties) == ["harbour"]


def test_local_types_are_resolved() -> None:
    """Annotations may name types that are defined beside the function."""

    class Local(BaseModel):
        x: int

    def use(value: Local) -> int:
        return value.x

    (built,) = build_tools([use], locals())
    assert built.read_arguments('{"value": {"x": 4}}') == {"value": {"x": 4}}


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


# ---- options ------------------------------------------------------------------------------------
class Unknown(Exception): ...


def test_plain_function_acts_once() -> None:
    """A function without options may do harm when it is called twice, and is called alone."""
    (built,) = build_tools([water])
    assert (built.effect, built.approve, built.tells, built.max_calls) == ("once", False, (), None)
    assert built.is_barrier


def test_options_reach_the_node() -> None:
    """Options of a tool are those of the node that runs it."""

    @tool(effect="pure", retry=Retry(3), timeout=2, tells=Unknown, max_calls=4, name="depth")
    def look_up(harbour: str) -> str:
        return harbour

    options = look_up.node.options
    assert (look_up.name, options.effect, options.timeout) == ("depth", "pure", 2)
    assert options.retry == Retry(3)
    assert (look_up.tells, look_up.max_calls, look_up.is_barrier) == ((Unknown,), 4, False)


def test_concurrent_tool_is_no_barrier() -> None:
    """A tool with an effect that may run beside others needs no turn of its own."""
    assert not tool(concurrent=True)(water).is_barrier


def test_context_is_not_the_models() -> None:
    """A model reads no parameter that is a context, and its resources are known."""

    class Shop:
        pass

    def buy(ctx: Context[Shop], item: str) -> str:
        return item

    (built,) = build_tools([buy], locals())
    properties: Any = built.spec.parameters["properties"]
    assert list(properties) == ["item"]
    assert built.node.signature.resources is Shop


def test_agent_needs_resources_of_tools() -> None:
    """An agent needs the resources that its tools read."""

    class Shop:
        pass

    def buy(ctx: Context[Shop], item: str) -> str:
        return item

    @agent(output=Draft, tools=build_tools([buy], locals()))
    def write(t: Topic) -> str:
        return t.topic

    assert write.signature.resources is Shop


def _never(amount: int) -> bool:
    return False


async def _later(amount: int) -> bool:
    return False


@pytest.mark.parametrize(
    "options, says",
    [
        ({"effect": "twice"}, "effect='twice' is not possible"),
        ({"retry": Retry(2)}, 'effect="once" forbids retry'),
        ({"tells": "KeyError"}, "tells='KeyError' is not possible"),
        ({"tells": (KeyError, 3)}, "tells=(<class 'KeyError'>, 3) is not possible"),
        ({"max_calls": 0}, "max_calls=0 is not possible"),
        ({"concurrent": 1}, "concurrent=1 is not possible"),
        ({"approve": "yes"}, "approve='yes' is not possible"),
        ({"approve": lambda amuont: True}, "approve reads amuont, which is no argument of it"),
        ({"approve": _later}, "approve is async"),
        ({"timeout": -1}, "timeout=-1 is not possible"),
        ({"gate": "before"}, "there is no option 'gate'"),
        ({"name": "a tool"}, "'a tool' is not a name that a model can call"),
        ({"name": 3}, "3 is not a name that a model can call"),
    ],
)
def test_impossible_option_is_refused(options: Any, says: str) -> None:
    """An option that cannot be meant is refused where the tool is made, with its name."""

    def pay(amount: int) -> str:
        return str(amount)

    with pytest.raises(GraphError) as caught:
        tool(**options)(pay)
    assert says in str(caught.value)
    assert {problem.code for problem in caught.value.problems} == {"TOOL"}


def test_tool_shows_its_name() -> None:
    """A tool is short where it is printed."""
    assert repr(tool(water)) == "<tool water>"


def test_class_is_no_tool() -> None:
    """A class is refused as what it is."""
    with pytest.raises(GraphError, match="Place is a class"):
        build_tools([Place])


def test_tool_of_tool_is_refused() -> None:
    """A second decorator, a node and a class are no functions of tools."""
    with pytest.raises(GraphError, match="drop the second decorator"):
        tool(tool(water))

    @node
    def count(t: Topic) -> Draft:
        return Draft(draft=t.topic)

    with pytest.raises(GraphError, match=r"give its function: \.fn of a @node"):
        build_tools([count])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


# ---- approval -----------------------------------------------------------------------------------
def test_approval_may_depend_on_arguments() -> None:
    """A function of some arguments says which calls a person approves."""

    @tool(approve=lambda amount: amount > 100)
    def refund(order: str, amount: float = 200) -> str:
        return order

    small = refund.read_arguments('{"order": "a", "amount": 3}')
    assert not refund.needs_approval(small)
    assert refund.needs_approval(refund.read_arguments('{"order": "a"}'))


def test_undecided_approval_is_an_error() -> None:
    """What is neither True nor False decides nothing."""

    @tool(approve=lambda amount: amount)
    def pay(amount: int) -> str:
        return str(amount)

    with pytest.raises(WrongOutput, match=r"It returned int 3, which is neither"):
        pay.needs_approval({"amount": 3})
