"""Everything that is read or written is a slice of the state, with the same declarations."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation

from graphorch.callables import is_async
from graphorch.errors import Problem, did_you_mean
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.state.reducers import (
    list_reducer_classes,
    list_reducers,
    name_reducer,
    takes_two,
)
from graphorch.state.slices import Schema


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`STATE_ANNOTATION`, `SLICE_PRIVATE`, `REDUCER`, `SLICE_MISSING` and `SLICE_DIFFERS`.

    `SLICE_SHARED` is a warning.
    """
    state = graph.spec.state
    try:
        schema = Schema(state, graph.spec.memory)
    except PydanticUndefinedAnnotation as error:
        what = f"an annotation names '{error.name}', which cannot be found"
        fix = "define or import it at module level, not only for type checking"
        yield Problem("STATE_ANNOTATION", f"state {state.__name__}", what, fix)
        return
    yield from _check_private_attributes(state)
    yield from _check_shared_fields(graph)
    yield from _check_reducers(schema)
    compared: set[type[BaseModel]] = {state, *graph.spec.memory}
    for where, verb, model in _collect_uses(graph):
        if model not in compared and not issubclass(state, model):
            yield Problem(
                "SLICE_MISSING",
                where,
                _describe_missing(verb, model, state),
                _suggest_fix(model, state),
            )
        elif model not in compared:
            compared.add(model)
            fix = "declare the field once, in one slice, and inherit it where it is needed"
            yield from (
                Problem("SLICE_DIFFERS", where, mistake.rstrip("."), fix)
                for mistake in schema.mistakes(model)
            )


def _check_private_attributes(state: type[BaseModel]) -> Iterator[Problem]:
    """Refuse private attributes: they belong to an instance, and each reader gets another one."""
    for name in state.__private_attributes__:
        owner = next(
            model
            for model in reversed(state.__mro__)
            if name in getattr(model, "__private_attributes__", ())
        )
        what = f"'{owner.__name__}.{name}' is a private attribute, which no other node would see"
        fix = (
            "make it a field, put it into a model that is the value of a field, or hand the object "
            "to the run as `resources=`"
        )
        yield Problem("SLICE_PRIVATE", f"state {state.__name__}", what, fix)


def _check_shared_fields(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield pairs of slices in use that declare a field of one name without knowing each other."""
    state = graph.spec.state
    used = {model for _, _, model in _collect_uses(graph)} - {state}
    known = {base for model in used for base in model.__mro__}
    # Each field with the slices in use that declare it first, before those that inherit it.
    declaring: dict[str, list[type[BaseModel]]] = {}
    for model in _list_slices(state):
        for name in _list_new_fields(model) if model in known else ():
            declaring.setdefault(name, []).append(model)
    shared: dict[tuple[type[BaseModel], type[BaseModel]], list[str]] = {}
    for name, models in declaring.items():
        for second in models[1:]:
            shared.setdefault((models[0], second), []).append(f"'{name}'")
    for (first, second), names in shared.items():
        noun = "field" if len(names) == 1 else "fields"
        what = (
            f"slices {first.__name__} and {second.__name__} share the {noun} {', '.join(names)}: "
            "what is written to one of them is read from the other"
        )
        fix = "use another name in one of them; if it is meant, declare it in one slice and inherit"
        yield Problem("SLICE_SHARED", f"state {state.__name__}", what, fix, "warning")


def _list_new_fields(model: type[BaseModel]) -> list[str]:
    """Return the fields of a slice that none of its bases has."""
    inherited = {
        name
        for base in model.__mro__[1:]
        if issubclass(base, BaseModel)
        for name in base.model_fields
    }
    return [name for name in model.model_fields if name not in inherited]


def _check_reducers(schema: Schema) -> Iterator[Problem]:
    """Refuse a reducer that cannot be called with two values, and a second one of a field."""
    for field in schema.fields:
        reducers = list_reducers(field.info)
        names = [f"'{name_reducer(reducer)}'" for reducer in reducers]
        where, fix = f"field '{field.name}'", "a reducer is a plain function (old, new) -> folded"
        if len(reducers) > 1:
            what = f"it has {len(reducers)} reducers: {', '.join(names)}"
            yield Problem("REDUCER", where, what, "name one of them in the annotation")
        for kind in list_reducer_classes(field.info):
            what = f"it names the class {kind.__name__}, of which an instance is a reducer"
            yield Problem("REDUCER", where, what, f"write an instance: {kind.__name__}(…)")
        for reducer, name in zip(reducers, names, strict=True):
            if not takes_two(reducer):
                what = f"its reducer {name} cannot be called with two values"
                yield Problem("REDUCER", where, what, fix)
            elif is_async(reducer):
                yield Problem("REDUCER", where, f"its reducer {name} is async", fix)


def _collect_uses(graph: CheckedGraph) -> Iterator[tuple[str, str, type[BaseModel]]]:
    name = f"graph '{graph.spec.name}'"
    yield f"input of {name}", "is", graph.spec.input
    yield f"output of {name}", "is", graph.spec.output
    for use in graph.uses:
        if use.model is not None and use.node != graph.topology.end:
            yield use.where, "reads", use.model
    for node in graph.nodes:
        for model in node.signature.writes:
            yield f"node '{node.name}'", "writes", model


def _describe_missing(verb: str, model: type[BaseModel], state: type[BaseModel]) -> str:
    if _find_namesake(model, state) is not None:
        return f"it {verb} a {model.__name__} that is another class than that of {state.__name__}"
    return f"it {verb} {model.__name__}, which the state {state.__name__} does not inherit from"


def _suggest_fix(model: type[BaseModel], state: type[BaseModel]) -> str:
    if (namesake := _find_namesake(model, state)) is not None:
        places = [f"{item.__module__}.{item.__qualname__}" for item in (model, namesake)]
        distinct = f" ({' and '.join(places)})" if places[0] != places[1] else ""
        return f"import the class instead of defining it again{distinct}"
    hint = did_you_mean(model.__name__, [item.__name__ for item in _list_slices(state)])
    return f"add it: class {state.__name__}(…, {model.__name__}). {hint}"


def _find_namesake(model: type[BaseModel], state: type[BaseModel]) -> type[BaseModel] | None:
    """Return the class of the state that has the name of a slice, if there is one."""
    names = (item for item in _list_slices(state) if item.__name__ == model.__name__)
    return next(names, None)


def _list_slices(state: type[BaseModel]) -> list[type[BaseModel]]:
    return [item for item in state.__mro__ if issubclass(item, BaseModel) and item is not BaseModel]
