"""Remembered slices are part of the state, and every field of them has a default."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from graphorch.errors import Problem, did_you_mean
from graphorch.graph.checks.checked_graph import CheckedGraph


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`REMEMBER_SLICE` and `REMEMBER_DEFAULT`."""
    state = graph.spec.state
    where = f"remember of graph '{graph.spec.name}'"
    for model in graph.spec.remember:
        if not issubclass(state, model) or model is BaseModel:
            yield Problem(
                "REMEMBER_SLICE",
                where,
                f"{model.__name__} is not a slice of the state {state.__name__}",
                _fix(model, state),
            )
            continue
        for name in (name for name, info in model.model_fields.items() if info.is_required()):
            what = (
                f"'{model.__name__}.{name}' has no default, and the first turn has nothing to "
                "remember"
            )
            yield Problem(
                "REMEMBER_DEFAULT",
                where,
                what,
                f"give it the value that it has before the first turn: {name}: … = …",
            )


def _fix(model: type[BaseModel], state: type[BaseModel]) -> str:
    slices = [
        item.__name__
        for item in state.__mro__
        if issubclass(item, BaseModel) and item is not BaseModel
    ]
    return (
        f"remember classes that {state.__name__} inherits from. "
        f"{did_you_mean(model.__name__, slices)}"
    )
