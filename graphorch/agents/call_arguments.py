"""Arguments of a tool call, from the text that a model wrote to the values that will run.

Rules of this file:
1. Arguments that run fit the model of the tool's parameters, and are plain JSON: they can be kept,
   shown to a person, compared and hashed.
2. They are written after validation, so defaults are filled in and values have their final form. If
   the validated values do not survive being written, the object that the model wrote is kept.
3. What does not fit is a text for the model, which says what to mend.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from graphorch.models.tool_arguments import read_object
from graphorch.text import escape_surrogates

Arguments: TypeAlias = dict[str, Any]
"""Arguments by name, as plain JSON."""

_MOST_FAULTS = 5  # that the model is told at once


class WrongArguments(ValueError):
    """Arguments that do not fit; the message is for the model."""


def read_arguments(model: type[BaseModel], tool: str, written: str) -> Arguments:
    """Return the arguments that a model wrote as JSON. Raises `WrongArguments`."""
    text = read_object(escape_surrogates(written))
    try:
        arguments = _write_validated(model, model.model_validate_json(text), text)
        # Numbers without end, of thousands of digits, and half characters are no JSON.
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except ValidationError as error:
        faults = list_faults(error)
    except (ValueError, RecursionError) as error:
        faults = f"arguments: they are no JSON by the standard ({type(error).__name__}: {error})"
    else:
        return arguments
    raise WrongArguments(
        f"Error: the arguments of '{tool}' do not fit: {escape_surrogates(faults)}. "
        "Call it again with arguments that fit its schema."
    )


def write_canonical(arguments: Arguments) -> str:
    """Return arguments as text that is the same for equal arguments, whatever their order."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"))


def list_faults(error: ValidationError) -> str:
    """Return what does not fit, each fault with its place."""
    faults: list[str] = []
    for details in error.errors(include_url=False)[:_MOST_FAULTS]:
        place = ".".join(map(str, details["loc"])) or "arguments"
        faults.append(f"{place}: {details['msg']}")
    return "; ".join(faults)


def _write_validated(model: type[BaseModel], value: BaseModel, text: str) -> Arguments:
    """Return validated arguments as JSON from which the same arguments can be read again."""
    try:
        plain = to_jsonable_python(_sort_sets(value.model_dump(by_alias=True)))
        if model.model_validate_json(json.dumps(plain)) == value:
            return plain
    # The border to types of users: they may raise anything when they are written or compared.
    except Exception:
        return cast("Arguments", json.loads(text))
    return cast("Arguments", json.loads(text))


def _sort_sets(value: Any) -> Any:
    """Return a value with lists for its sets, in an order that does not depend on the process."""
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _sort_sets(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [_sort_sets(item) for item in cast("list[Any]", value)]
    if isinstance(value, set | frozenset):
        return sorted(map(_sort_sets, cast("set[Any]", value)), key=_write_sortable)
    return value


def _write_sortable(value: Any) -> str:
    return json.dumps(to_jsonable_python(value), sort_keys=True)
