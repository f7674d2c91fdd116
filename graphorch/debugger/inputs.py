"""What a person gives a session, checked: changes of the state, outputs in place of a node's, answers, and names of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic import BaseModel, ValidationError

from graphorch.core.events import Update
from graphorch.engine.invocation.binding import build_update
from graphorch.errors import InputError, WrongOutput, did_you_mean
from graphorch.graph.plan import Plan, Step
from graphorch.state.version import Version

Given: TypeAlias = BaseModel | Mapping[str, Any]
"""A slice, of which what was set counts; or fields by name."""


def list_steps(plan: Plan, prefix: str) -> list[tuple[str, Step]]:
    """Every node at every level, by path."""
    found: list[tuple[str, Step]] = []
    for step in plan.steps[: plan.end]:
        found.append((prefix + step.name, step))
        if step.inner_plan is not None:
            found += list_steps(step.inner_plan, f"{prefix}{step.name}/")
    return found


def item_paths(plan: Plan, path: str) -> list[str]:
    """The paths that activations at a path have: one per item of each map on the way, unless the path names the item."""
    *above, last = path.split("/")
    found = [""]
    for part in above:
        name, _, item = part.partition("[")
        step = next(entry for entry in plan.steps if entry.name == name)
        plan = cast("Plan", step.inner_plan)
        parts = (
            [part]
            if item or step.map is None
            else [f"{name}[{index}]" for index in range(step.map.max_items)]
        )
        found = [f"{before}{text}/" for before in found for text in parts]
    return [before + last for before in found]


def parse_update(plan: Plan, change: Given) -> Update:
    """A change of the state, validated. Raises `InputError`."""
    schema = plan.schema
    given = _fields_of(change)
    update: Update = {}
    for name, value in given.items():
        field = schema.by_name.get(str(name))
        if field is None:
            raise InputError(
                f"'{name}' is no field of {schema.model.__name__}. {did_you_mean(str(name), schema.by_name)}"
            )
        try:
            valid = field.validate(value)
        except ValidationError as error:
            raise InputError(_misfit(f"'{name}' of {schema.model.__name__}", error)) from error
        update[field.index] = valid if field.shares_nothing else field.copied(valid)
    return update


def _fields_of(change: object) -> Mapping[str, Any]:
    if isinstance(change, BaseModel):
        return {name: getattr(change, name) for name in change.model_fields_set}
    if isinstance(change, Mapping):
        return cast("Mapping[str, Any]", change)
    raise InputError(
        f"edit() takes a slice or a mapping of fields, got {type(change).__name__}. Write edit(Draft(draft=…))."
    )


def parse_output(
    step: Step, output: Given | tuple[BaseModel, ...]
) -> tuple[BaseModel | tuple[BaseModel, ...], Update]:
    """What a node is to have returned, and the update that it is. Raises `InputError`."""
    models = step.node.signature.writes
    if step.inner_plan is not None or step.ask is not None or not models:
        kind = (
            "a question: use answer(…)"
            if step.ask is not None
            else "a sub-flow or map: pin what is inside"
            if step.inner_plan is not None
            else "None"
        )
        raise InputError(f"'{step.name}' cannot be given an output: what it returns is {kind}.")
    try:
        if isinstance(output, Mapping):
            strangers = [
                name for name in output if not any(name in model.model_fields for model in models)
            ]
            if strangers:
                known = [name for model in models for name in model.model_fields]
                raise InputError(
                    f"'{step.name}' writes no field '{strangers[0]}'. {did_you_mean(strangers[0], known)}"
                )
            parts = tuple(
                model.model_validate(
                    {name: value for name, value in output.items() if name in model.model_fields}
                )
                for model in models
            )
            output = parts if len(parts) > 1 else next(iter(parts))
        return output, build_update(step, output, [], Version({}, {}))
    except ValidationError as error:
        raise InputError(_misfit(f"The output of '{step.name}'", error)) from error
    except WrongOutput as error:
        raise InputError(f"That is no output of '{step.name}': {error}") from error


def parse_answer(model: type[BaseModel], answer: Given) -> BaseModel:
    """The answer as what was asked for. Raises `InputError`."""
    if not isinstance(answer, Mapping):
        return answer
    try:
        return model.model_validate(dict(answer))
    except ValidationError as error:
        raise InputError(_misfit(f"The {model.__name__}", error)) from error


def _misfit(what: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{what} does not fit{f' at {where}' if where else ''}: {first['msg']} (got {_short(first['input'])})."


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
