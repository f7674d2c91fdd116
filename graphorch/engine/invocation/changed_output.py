"""What an activation wrote, with other values in some fields: the output of a rerun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from graphorch.core.tree import Activation
from graphorch.errors import InputError
from graphorch.state.defaults import compile_maker

Slices: TypeAlias = BaseModel | tuple[BaseModel, ...]
Fault: TypeAlias = tuple[tuple[int | str, ...], str]
"""A place in the output, and what is wrong with its value."""


class WrongFields(InputError):
    """Values that do not fit the output of a node; `faults` says where and why."""

    def __init__(self, message: str, faults: Sequence[Fault]) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


def list_written_fields(activation: Activation) -> dict[str, FieldInfo]:
    """Return the fields of all that an activation writes.

    Raises `InputError` if it writes nothing.
    """
    models = activation.step.node.signature.writes
    if not models:
        raise InputError(
            f"'{activation.path}' writes nothing, so there is nothing to set. "
            "Rerun from a node that does."
        )
    return {name: info for model in models for name, info in model.model_fields.items()}


def change_output(activation: Activation, changed: Mapping[str, Any]) -> Slices:
    """Return what an activation wrote, with other values in some of `list_written_fields`.

    Raises `WrongFields`.
    """
    left = set(list_written_fields(activation))
    state_fields = activation.scope.plan.schema.fields
    update = {state_fields[index].name: value for index, value in (activation.update or {}).items()}
    slices: list[BaseModel] = []
    for model in activation.step.node.signature.writes:
        names = [name for name in model.model_fields if name in left]
        written = {name: update[name] for name in names if name in update}
        given = {name: changed[name] for name in names if name in changed}
        slices.append(_change_slice(activation, model, written, given))
        left -= set(names)  # a field of two slices is set in the first
    return tuple(slices) if len(slices) > 1 else slices[0]


def _change_slice(
    activation: Activation,
    model: type[BaseModel],
    written: dict[str, Any],
    changed: Mapping[str, Any],
) -> BaseModel:
    """Return a slice with what was written and what is changed. Raises `WrongFields`.

    What was written is valid: if it were validated again, it would be converted again.
    """
    faults: list[Fault] = []
    for name, value in changed.items():
        try:
            written[name] = compile_maker(model, name)(written, value)
        except ValidationError as error:
            faults += [(each["loc"], each["msg"]) for each in error.errors(include_url=False)]
    if faults:
        lines = "".join(f"\n  - {'.'.join(map(str, place))}: {what}" for place, what in faults)
        raise WrongFields(
            f"The output of '{activation.path}' ({model.__name__}) would not fit:{lines}", faults
        )
    return model.model_construct(set(written), **written)
