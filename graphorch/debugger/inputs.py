"""Validation of what a person gives a session: edits of the state, outputs and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic import BaseModel, ValidationError

from graphorch.core.events import Update
from graphorch.engine.invocation.binding import build_update
from graphorch.errors import InputError, WrongOutput, did_you_mean
from graphorch.graph.plan import Plan, Step
from graphorch.state.version import Version
from graphorch.text import truncate_repr

FieldValues: TypeAlias = BaseModel | Mapping[str, Any]
"""A slice, of which the fields that were set count; or fields by name."""


def parse_update(plan: Plan, change: FieldValues) -> Update:
    """Return a change of the state as a validated update. Raises `InputError`."""
    schema = plan.schema
    update: Update = {}
    for name, value in _read_fields(change).items():
        field = schema.by_name.get(str(name))
        if field is None:
            hint = did_you_mean(str(name), schema.by_name)
            raise InputError(f"'{name}' is not a field of {schema.model.__name__}. {hint}")
        try:
            update[field.index] = field.validate(value)
        except ValidationError as error:
            subject = f"'{name}' of {schema.model.__name__}"
            raise InputError(_describe_misfit(subject, error)) from error
    return update


def _read_fields(change: object) -> Mapping[str, Any]:
    if isinstance(change, BaseModel):
        return {name: getattr(change, name) for name in change.model_fields_set}
    if isinstance(change, Mapping):
        return cast("Mapping[str, Any]", change)
    raise InputError(
        f"edit() takes a slice or a mapping of fields, got {type(change).__name__}. "
        "Write edit(Draft(draft=…))."
    )


def parse_output(
    step: Step, output: FieldValues | tuple[BaseModel, ...]
) -> tuple[BaseModel | tuple[BaseModel, ...], Update]:
    """Return an output in place of a node's own, and the update that it makes.

    Raises `InputError`.
    """
    _require_output(step)
    try:
        if isinstance(output, Mapping):
            output = _build_slices(step, output)
        return output, build_update(step, output, [], Version({}, {}))
    except ValidationError as error:
        raise InputError(_describe_misfit(f"The output of '{step.name}'", error)) from error
    except WrongOutput as error:
        raise InputError(f"That is not an output of '{step.name}': {error}") from error


def _require_output(step: Step) -> None:
    """Raise `InputError` unless the node returns slices of its own."""
    if step.ask is not None:
        kind = "a question: use answer(…)"
    elif step.inner_plan is not None:
        kind = "a sub-flow or map: pin what is inside"
    elif not step.node.signature.writes:
        kind = "None"
    else:
        return
    raise InputError(f"'{step.name}' cannot be given an output: what it returns is {kind}.")


def _build_slices(step: Step, values: Mapping[str, Any]) -> BaseModel | tuple[BaseModel, ...]:
    """Distribute fields over the slices that a node writes."""
    models = step.node.signature.writes
    known = [name for model in models for name in model.model_fields]
    for name in values:
        if name not in known:
            raise InputError(
                f"'{step.name}' does not write a field '{name}'. {did_you_mean(name, known)}"
            )
    slices: list[BaseModel] = []
    for model in models:
        own = {name: value for name, value in values.items() if name in model.model_fields}
        slices.append(model.model_validate(own, by_name=True, by_alias=True))
    return tuple(slices) if len(slices) > 1 else slices[0]


def parse_answer(model: type[BaseModel], answer: FieldValues) -> BaseModel:
    """Return an answer as the type that the question asks for. Raises `InputError`."""
    if not isinstance(answer, Mapping):
        return answer
    try:
        return model.model_validate(dict(answer), by_name=True, by_alias=True)
    except ValidationError as error:
        raise InputError(_describe_misfit(f"The {model.__name__}", error)) from error


def _describe_misfit(subject: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = ".".join(map(str, first["loc"]))
    where = f" at {location}" if location else ""
    got = truncate_repr(first["input"], 80)
    return f"{subject} does not fit{where}: {first['msg']} (got {got})."
