"""Wrong arguments of `Graph` and the decorators: an error refuses each and says what fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest

from graphorch import END, Graph, GraphError, GraphorchError, Retry, agent, node
from tests.flow.slices import Item, Items, State, Text
from tests.parameter_ids import format_id


@node
def write(item: Item) -> Text:
    return Text()


def over(items: Items) -> list[Item]:
    return items.items


def gather(texts: list[Text]) -> Text:
    return Text()


def choose(item: Item) -> Literal["a", "b"]:
    return "a"


def holds(item: Item) -> bool:
    return False


def make(**options: Any) -> Graph[Any, Any, Any]:
    given: dict[str, Any] = {"name": "g", "state": State, "input": Item, "output": Text} | options
    return Graph(**given)


INNER = make().chain(write).build()


def map_with(**options: Any) -> None:
    g = make()
    given = {"name": "m", "work": write, "over": over, "gather": gather, "max_items": 2} | options
    g.chain(g.map(given.pop("name"), given.pop("work"), **given)).build()


def sub_with(**options: Any) -> None:
    g = make()
    given = {"enter": lambda s: Item(), "leave": lambda t: Text()} | options
    g.chain(g.sub(given.pop("name", "s"), given.pop("flow", INNER), **given)).build()


def ask_with(**options: Any) -> None:
    g = make()
    given = {"question": lambda s: "?", "answer": Text} | options
    g.chain(g.ask(given.pop("name", "s"), **given)).build()


def loop_with(**options: Any) -> None:
    given = {"back_to": write, "while_": holds, "max_iterations": 2} | options
    make().chain(write).loop(given.pop("source", write), **given).build()


def route_with(**options: Any) -> None:
    label, to = options.get("label", "a"), options.get("to", END)
    graph = make().chain(write)
    route = graph.route(options.get("source", write), options.get("by", choose))
    route.when(label, to).otherwise(options.get("otherwise", END))
    graph.build()


def join_with(**options: Any) -> None:
    make().chain([write, write.named("other")], END).join(END, **options).build()


def error_with(**options: Any) -> None:
    given: dict[str, Any] = {"source": write, "handler": write.named("rescue")} | options
    graph = make().chain(write)
    graph.on_error(given.pop("source"), given.pop("handler"), **given).build()


def migration_with(**options: Any) -> None:
    given = {"from_": "e3c0" * 8, "change": lambda record: record} | options
    make().chain(write).migration(**given).build()


def node_with(**options: Any) -> None:
    make().chain(node(**options)(write.fn)).build()


def node_of(fn: Any) -> None:
    make().chain(node(fn)).build()


def agent_with(**options: Any) -> None:
    def prompt(item: Item) -> str:
        return ""

    given: dict[str, Any] = {"output": Text} | options
    make().chain(agent(**given)(prompt)).build()


def graph_with(**options: Any) -> None:
    make(**options).chain(write).build()


NOT_FUNCTIONS: list[Any] = [None, 5, "x", [], object(), int, ValueError]
NOT_NODES: list[Any] = [None, 5, "x", object(), holds, Item, Item()]
NOT_COUNTS: list[Any] = [None, 0, -1, 1.5, True, "2", [], math.inf, math.nan]
CASES: list[tuple[Callable[..., None], str, list[Any]]] = [
    (graph_with, "name", [5, "", [], "a\nb"]),
    (graph_with, "state", NOT_FUNCTIONS),
    (graph_with, "input", [5, "x", object(), int]),
    (graph_with, "output", [5, "x", object(), int]),
    (graph_with, "remember", [5, None, object(), ["x"], [int]]),
    *((map_with, name, NOT_FUNCTIONS) for name in ("over", "gather")),
    (map_with, "max_items", NOT_COUNTS),
    (map_with, "concurrency", NOT_COUNTS[1:]),  # None is as many as there is room for
    (map_with, "need", [0, -1, 1.5, True, "2", [], 3]),
    (map_with, "on_item_error", [None, 5, "x", []]),
    (map_with, "work", NOT_NODES),
    (sub_with, "enter", NOT_FUNCTIONS),
    (sub_with, "leave", [None, 5, "x", [], object()]),
    (sub_with, "flow", NOT_NODES),
    *((make_inner, "name", [5, [], {}]) for make_inner in (map_with, sub_with, ask_with)),
    (ask_with, "question", NOT_FUNCTIONS),
    (ask_with, "answer", NOT_FUNCTIONS),
    (ask_with, "expires", [0, -1, "5", [], True, math.inf, math.nan]),
    *((loop_with, name, NOT_NODES) for name in ("source", "back_to")),
    (loop_with, "while_", NOT_FUNCTIONS),
    (loop_with, "max_iterations", NOT_COUNTS),
    (loop_with, "exhausted", [*NOT_NODES, "fial"]),
    *((route_with, name, NOT_NODES) for name in ("source", "to", "otherwise")),
    (route_with, "by", NOT_FUNCTIONS),
    (route_with, "label", [None, 5, [], "c", {}]),
    (join_with, "need", [None, 0, 3, 1.5, True, "2", "some", [], object()]),
    *((error_with, name, NOT_NODES) for name in ("source", "handler")),
    (error_with, "when", [None, 5, "x", (), int, [], BaseException]),
    (migration_with, "from_", [None, 5, "x", [], {}]),
    (migration_with, "change", [None, 5, "x", []]),
    *((node_with, name, [0, -1, "5", [], True, math.inf]) for name in ("timeout", "deadline")),
    (node_with, "retry", [3, "x", []]),
    (node_with, "isolation", ["fork", 5, []]),
    (node_with, "nosuch", [1]),
    (agent_with, "output", NOT_FUNCTIONS),
    (agent_with, "tools", [None, 5, "x", choose, ["x"], [5], [int]]),
    (agent_with, "model", [None, 5, "", " ", []]),
    (agent_with, "instructions", [None, 5, []]),
    (agent_with, "max_tokens", [0, -1, 1.5, "5", True, []]),
    (agent_with, "temperature", [-1, "5", True, math.nan, []]),
]


@pytest.mark.parametrize(
    ("build", "option", "value"),
    [
        pytest.param(build, option, value, id=f"{build.__name__}-{option}-{format_id(value)}")
        for build, option, values in CASES
        for value in values
    ],
)
def test_wrong_argument_is_refused(build: Callable[..., None], option: str, value: object) -> None:
    """A wrong argument is refused by an error of ours with a place and a fix, never by another."""
    with pytest.raises(GraphError) as caught:
        build(**{option: value})
    assert all(problem.where and problem.fix for problem in caught.value.problems)


@pytest.mark.parametrize("value", [5, "x", [], object(), int, ValueError], ids=format_id)
def test_wrong_function_of_node_is_refused(value: object) -> None:
    with pytest.raises(GraphError, match="NODE_SIGNATURE"):
        node_of(value)


@pytest.mark.parametrize("value", [None, 5, "x", (), [], int, BaseException, (int,)], ids=repr)
def test_wrong_exceptions_of_retry_are_refused(value: Any) -> None:
    with pytest.raises(GraphorchError, match=r"Retry\(on=.* does not name exceptions"):
        Retry(3, on=value)


def waits() -> Any:
    async def function(item: Any) -> Any: ...

    return function


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (map_with, "over"), (map_with, "gather"), (sub_with, "enter"), (sub_with, "leave"),
        (ask_with, "question"), (loop_with, "while_"), (route_with, "by"),
        (migration_with, "change"),
    ],
)  # fmt: skip
def test_async_function_is_refused(build: Callable[..., None], option: str) -> None:
    """A function that nobody would await is refused when the graph is built."""
    with pytest.raises(GraphError, match="'function' must be a plain function, but it is async"):
        build(**{option: waits()})
