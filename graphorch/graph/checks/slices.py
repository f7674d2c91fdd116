"""Whatever is read or written is a slice of the state, and means the same there."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation

from graphorch.errors import Problem, did_you_mean
from graphorch.graph.checks.subject import CheckedGraph
from graphorch.state.slices import Schema


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`STATE_ANNOTATION`, `SLICE_MISSING`, and `SLICE_DIFFERS` once for each slice."""
    state = subject.blueprint.state
    try:
        schema = Schema(state, subject.blueprint.memory)
    except PydanticUndefinedAnnotation as error:
        what = f"an annotation names '{error.name}', which cannot be found"
        fix = "define or import it at module level, not only for type checking"
        yield Problem("STATE_ANNOTATION", f"state {state.__name__}", what, fix)
        return
    compared: set[type[BaseModel]] = {state, *subject.blueprint.memory}
    for where, verb, model in _used(subject):
        if model not in compared and not issubclass(state, model):
            yield Problem("SLICE_MISSING", where, _missing(verb, model, state), _fix(model, state))
        elif model not in compared:
            compared.add(model)
            fix = "declare the field once, in one slice, and inherit it where it is needed"
            yield from (
                Problem("SLICE_DIFFERS", where, mistake.rstrip("."), fix)
                for mistake in schema.mistakes(model)
            )


def _used(subject: CheckedGraph) -> Iterator[tuple[str, str, type[BaseModel]]]:
    graph = f"graph '{subject.blueprint.name}'"
    yield f"input of {graph}", "is", subject.blueprint.input
    yield f"output of {graph}", "is", subject.blueprint.output
    for use in subject.uses:
        if use.model is not None and use.node != subject.shape.end:
            yield use.where, "reads", use.model
    for node in subject.nodes:
        for model in node.signature.writes:
            yield f"node '{node.name}'", "writes", model


def _missing(verb: str, model: type[BaseModel], state: type[BaseModel]) -> str:
    return f"it {verb} {model.__name__}, which the state {state.__name__} does not inherit from"


def _fix(model: type[BaseModel], state: type[BaseModel]) -> str:
    slices = [
        item.__name__
        for item in state.__mro__
        if issubclass(item, BaseModel) and item is not BaseModel
    ]
    return f"add it: class {state.__name__}(…, {model.__name__}). {did_you_mean(model.__name__, slices)}"
