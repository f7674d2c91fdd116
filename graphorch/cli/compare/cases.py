"""Cases of a comparison: lines of JSON, each an input that both flows take.

A line may also be `{"input": {…}, …}`, with more that the score needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from graphorch.cli.files import read_text
from graphorch.cli.input_parser import format_problems
from graphorch.cli.terminal import sanitize_line
from graphorch.errors import InputError, did_you_mean

_MOST_DETAILS = 5  # problems of one line


@dataclass(frozen=True, slots=True)
class Case:
    """A line of the file: its number, its whole object, and the input for each of the flows."""

    line: int
    values: dict[str, Any]
    inputs: tuple[BaseModel, ...]


def read_cases(path: str, models: Sequence[type[BaseModel]]) -> list[Case]:
    """Return the cases of a file, each validated as an input of every model.

    Raises `InputError` with all wrong lines by number, also if there are fewer than two cases.
    """
    _check_equal_fields(models)
    cases: list[Case] = []
    problems: list[str] = []
    for number, text in enumerate(read_text(path, "--inputs").splitlines(), 1):
        if not text.strip():
            continue
        try:
            cases.append(_parse_case(number, text, models))
        except InputError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise InputError(f"--inputs {path} does not fit:{format_problems(problems)}")
    if len(cases) < 2:
        count = "one case" if cases else "no cases"
        raise InputError(
            f"--inputs {path} holds {count}. Give at least two, an input as JSON on each line; "
            "with twenty, differences begin to show."
        )
    return cases


def _check_equal_fields(models: Sequence[type[BaseModel]]) -> None:
    """Raise `InputError` unless both flows take inputs with the same fields."""
    first, second = (set(model.model_fields) for model in models)
    if first == second:
        return
    inputs = [
        f"{letter} takes {model.__name__} ({', '.join(model.model_fields)})"
        for letter, model in zip("AB", models, strict=True)
    ]
    raise InputError(
        f"The flows take different inputs: {'; '.join(inputs)}. "
        f"In one only: {', '.join(sorted(first ^ second))}. Give both flows the same fields."
    )


def _parse_case(number: int, text: str, models: Sequence[type[BaseModel]]) -> Case:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        near = sanitize_line(text[max(0, error.pos - 20) : error.pos + 20])
        raise InputError(
            f"not JSON: {error.msg} at column {error.colno}, near `{near}`. "
            "Each line is one whole object."
        ) from None
    except RecursionError:
        raise InputError("nested too deeply to be read.") from None
    if not isinstance(value, dict):
        raise InputError(f"not an object, but a {type(value).__name__}: {sanitize_line(text, 60)}")
    values = cast("dict[str, Any]", value)
    inner = values.get("input")
    is_wrapped = isinstance(inner, dict) and "input" not in models[0].model_fields
    given = cast("dict[str, Any]", inner) if is_wrapped else values
    inputs = tuple(_validate(given, model, is_wrapped=is_wrapped) for model in models)
    return Case(number, values, inputs)


def _validate(given: dict[str, Any], model: type[BaseModel], *, is_wrapped: bool) -> BaseModel:
    fields = model.model_fields.items()
    known = {key for name, info in fields for key in (name, info.alias) if key}
    unknown = [key for key in given if key not in known]
    if unknown and model.model_config.get("extra") != "allow":
        message = (
            f"{model.__name__} has no field '{sanitize_line(unknown[0])}'. "
            f"{did_you_mean(unknown[0], known)}"
        )
        if not is_wrapped:
            message += ' Put what only the score needs beside the input: {"input": {…}, …}.'
        raise InputError(message)
    try:
        return model.model_validate(given, strict=False, by_name=True, by_alias=True)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, details['loc'])) or 'the whole input'}: {details['msg']}"
            for details in error.errors(include_url=False)[:_MOST_DETAILS]
        ]
        raise InputError(f"{model.__name__}: {'; '.join(problems)}") from None
