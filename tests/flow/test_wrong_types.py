"""Wrong types in graphs and runs are refused when they run, as a type checker would refuse them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, GraphError, InputError, node


class Text(BaseModel):
    text: str = ""


@node
def keep(t: Text) -> Text:
    return t


untyped: Any = Graph  # as in a notebook without a checker
flow: Any = Graph("keep", Text).chain(keep).build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: untyped("g", dict),
            "NOT_A_MODEL at state of graph 'g': 'dict' is not a pydantic model\n"
            "    fix: give a class that derives from BaseModel",
        ),
        (
            lambda: untyped("g", Text, input=Text()),
            "NOT_A_MODEL at input of graph 'g': a Text is not a pydantic model\n"
            "    fix: give a class that derives from BaseModel",
        ),
        (
            lambda: untyped("g", Text, output="text"),
            "NOT_A_MODEL at output of graph 'g': a str is not a pydantic model\n"
            "    fix: give a class that derives from BaseModel",
        ),
        (
            lambda: untyped("g", Text).ask("sure", question=str, answer=bool),
            "NOT_A_MODEL at answer of ask 'sure': 'bool' is not a pydantic model\n"
            "    fix: give a class that derives from BaseModel",
        ),
        (
            lambda: untyped("g", Text).map("each", len, over=list, gather=len, max_items=1),
            "NOT_A_NODE at map 'each': a builtin_function_or_method is not a node or a flow\n"
            "    fix: decorate the worker with @node or @agent, or give a built flow",
        ),
        (
            lambda: untyped("g", Text).sub("inner", untyped("h", Text), enter=len, leave=len),
            "NOT_A_FLOW at sub 'inner': a Graph is not a flow\n"
            "    fix: give what build() of the inner graph returns",
        ),
    ],
    ids=["state", "input", "output", "answer", "worker", "flow"],
)
def test_graph_refuses_wrong_types_at_once(make: Callable[[], object], message: str) -> None:
    """Without a model or a node, no later check could say anything."""
    with pytest.raises(GraphError) as refused:
        make()
    assert [str(problem) for problem in refused.value.problems] == [message]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"budget": 0.5},
            "budget has to be of type Budget, got 0.5. Write budget=Budget(usd=0.50).",
        ),
        (
            {"limits": 30},
            "limits has to be of type Limits, got 30. Write limits=Limits(seconds=60).",
        ),
        (
            {"model": keep},
            'model has to be of type str, got <node keep>. Write model="vendor/model".',
        ),
        (
            {"tags": ["a"]},
            'tags has to be of type Mapping, got [\'a\']. Write tags={"team": "search"}.',
        ),
        ({"buget": None}, "run() has no option 'buget'. Did you mean 'budget'? "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_option_shows_how_to_write(options: dict[str, object], message: str) -> None:
    """The error holds the expected type and an example."""
    with pytest.raises(InputError) as refused:
        flow.run_sync(Text(), **options)
    assert str(refused.value).startswith(message)
