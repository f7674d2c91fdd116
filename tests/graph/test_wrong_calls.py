"""Wrong calls of public functions: the message shows a right one, and other errors pass."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable

import pytest

import graphorch
from graphorch import Graph, agent, node
from graphorch.errors import InputError, WrongCall
from graphorch.flow.pattern_methods import PatternMethods
from graphorch.graph.wrong_calls import shows_right_call
from tests.graph.content import Content, Draft, Topic, look


@shows_right_call("graph.mend(thing, most=3)")
def mend(thing: str, *, most: int, least: int = 0) -> str:
    """Mend a thing."""
    return thing * most


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: mend(), "mend() needs 'thing' and 'most'. "),  # type: ignore[call-arg]
        (lambda: mend("x"), "mend() needs 'most'. "),  # type: ignore[call-arg]
        (lambda: mend("x", 3), "mend() takes 1 argument by position, got 2. "),  # type: ignore[call-arg, misc]
        (
            lambda: mend("x", mots=3),  # type: ignore[call-arg]
            "mend() has no argument 'mots'. Did you mean 'most'? Known: least, most, thing. ",
        ),
        (
            lambda: mend("x", thing="y", most=3),  # type: ignore[misc]
            "mend() got multiple values for argument 'thing'. ",
        ),
    ],
)
def test_wrong_call_shows_right_one(call: Callable[[], object], problem: str) -> None:
    """A call whose arguments do not fit says what is wrong with them, and how it is written."""
    with pytest.raises(WrongCall) as caught:
        call()
    assert str(caught.value) == f"{problem}Write graph.mend(thing, most=3)."
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_wrong_call_is_type_error_too() -> None:
    """A wrong call can be caught as Python's error and as one of the caller."""
    assert issubclass(WrongCall, TypeError)
    assert issubclass(WrongCall, InputError)


def test_error_inside_passes() -> None:
    """A `TypeError` of the function itself passes as it is."""
    with pytest.raises(TypeError, match="can't multiply"):
        mend("x", most="y")  # type: ignore[arg-type]


def test_right_call_keeps_help() -> None:
    """A decorated function still describes itself."""
    assert mend("x", most=2) == "xx"
    assert (
        str(inspect.signature(mend)) == "(thing: 'str', *, most: 'int', least: 'int' = 0) -> 'str'"
    )
    assert inspect.getdoc(mend) == "Mend a thing."


SHOWN = {
    "agent": agent,
    "Graph": Graph.__init__,
    **{
        name: member
        for kind in (*Graph.__mro__, graphorch.Flow)
        for name, member in vars(kind).items()
        if hasattr(member, "__wrapped__") and not name.startswith("_")
    },
}


def test_methods_show_right_calls() -> None:
    """All methods that build a graph show how they are called, those of patterns included."""
    of_patterns = {name for name in vars(PatternMethods) if not name.startswith("_")}
    of_graphs = {"join", "loop", "map", "on_error", "route", "sub", "ask", "migration"}
    of_graphs |= {"signal", "timer", "first", "exclusive", "itself"}
    assert of_patterns | of_graphs | {"agent", "Graph", "run_sync", "debug"} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_shown_call_names_real_arguments(name: str) -> None:
    """The call that a message shows has arguments that the function takes, and all it needs."""
    with pytest.raises(WrongCall) as caught:
        SHOWN[name](*[None] * 20, unknown=None)
    _, _, shown = str(caught.value).partition(". Write ")
    call = ast.parse(shown.removeprefix("@").removesuffix("."), mode="eval").body
    assert isinstance(call, ast.Call)
    # Of `graph.route(…).when(…)` it is the first call that counts.
    while isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        call = call.func.value
    positional = [None] * (len(call.args) + (name != "agent"))
    named = {str(keyword.arg): None for keyword in call.keywords}
    inspect.signature(SHOWN[name]).bind(*positional, **named)


def test_node_is_not_called() -> None:
    """A node that is called says what to call in a test; START says that it is connected."""
    asking = agent(output=Draft)(lambda_prompt)
    question = Graph("g", Content, input=Topic, output=Draft).ask(
        "approve", question=lambda state: "?", answer=Draft
    )
    for called, hint in (
        (look, "call its function: look.fn(…)"),
        (asking, "call its prompt function: lambda_prompt.prompt(…)"),
        (question, "put it into a graph of one node"),
        (graphorch.START, "graph.chain(first, START)"),
    ):
        with pytest.raises(WrongCall, match="is not called: a flow runs it") as caught:
            called()  # type: ignore[operator]
        assert hint in str(caught.value)


def lambda_prompt(topic: Topic) -> str:
    return topic.model_dump_json()


@pytest.mark.parametrize("use", [node, agent(output=Draft)])
def test_node_is_no_function(use: Callable[[object], object]) -> None:
    """A node is not taken for a function, although a call of it is understood."""
    with pytest.raises(graphorch.GraphError, match="<node look> is made already"):
        use(look)


def test_node_describes_itself_as_function() -> None:
    """`help(node)` shows the signature and the text of a function."""
    assert inspect.isfunction(node)
    assert inspect.isfunction(agent)
    assert str(inspect.signature(node)).startswith("(fn: 'Any' = None, /, **options: ")
    assert (inspect.getdoc(node) or "").startswith("Make a node of a function, plain or async.")
