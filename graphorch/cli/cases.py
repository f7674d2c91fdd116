"""The cases of a comparison: lines of JSON, each an input that both flows take, perhaps with more that the score wants to know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from graphorch.cli.files import read_text
from graphorch.cli.safe import one_line
from graphorch.errors import InputError, did_you_mean

_SHOWN = 20  # problems of one file


@dataclass(frozen=True, slots=True)
class Case:
    """One line: its number, the whole object, and the input for each of the flows."""

    line: int
    told: dict[str, Any]
    inputs: tuple[BaseModel, ...]


def read_cases(path: str, models: Sequence[type[BaseModel]]) -> list[Case]:
    """The cases of a file, each validated as an input of every model. Raises `InputError` with all wrong lines by number."""
    _check_alike(models)
    cases: list[Case] = []
    problems: list[str] = []
    for number, text in enumerate(read_text(path, "--inputs").splitlines(), 1):
        if text.strip():
            try:
                cases.append(_case(number, text, models))
            except InputError as error:
                problems.append(f"line {number}: {error}")
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InputError(
            "".join(
                [
                    f"--inputs {path} does not fit:",
                    *(f"\n  - {entry}" for entry in [*problems[:_SHOWN], *more]),
                ]
            )
        )
    if len(cases) < 2:
        held = "one case" if cases else "no cases"
        raise InputError(
            f"--inputs {path} holds {held}. Give two at least, an input as JSON in each line; twenty tell more."
        )
    return cases


def _check_alike(models: Sequence[type[BaseModel]]) -> None:
    """Raise `InputError` unless what one flow takes the other one takes too."""
    fields = [
        {name: info.is_required() for name, info in model.model_fields.items()} for model in models
    ]
    if fields[0].keys() != fields[1].keys():
        shown = [
            f"{text} takes {model.__name__} ({', '.join(given)})"
            for text, model, given in zip("AB", models, fields, strict=True)
        ]
        only = ", ".join(sorted(fields[0].keys() ^ fields[1].keys()))
        raise InputError(
            f"The flows take different inputs: {'; '.join(shown)}. In one only: {only}. Give both flows the same fields."
        )


def _case(number: int, text: str, models: Sequence[type[BaseModel]]) -> Case:
    try:
        told = json.loads(text)
    except json.JSONDecodeError as error:
        near = one_line(text[max(0, error.pos - 20) : error.pos + 20])
        raise InputError(
            f"no JSON: {error.msg} at column {error.colno}, near `{near}`. Each line is one object by itself."
        ) from None
    except RecursionError:
        raise InputError("nested too deeply to be read.") from None
    if not isinstance(told, dict):
        raise InputError(f"it is no object but a {type(told).__name__}: {one_line(text, 60)}")
    values = cast("dict[str, Any]", told)
    inner = values.get("input")
    given = (
        cast("dict[str, Any]", inner)
        if isinstance(inner, dict) and "input" not in models[0].model_fields
        else values
    )
    return Case(
        number, values, tuple(_input(given, model, is_whole=given is values) for model in models)
    )


def _input(given: dict[str, Any], model: type[BaseModel], *, is_whole: bool) -> BaseModel:
    known = {key for name, info in model.model_fields.items() for key in (name, info.alias) if key}
    strange = (
        []
        if model.model_config.get("extra") == "allow"
        else [key for key in given if key not in known]
    )
    if strange:
        fix = ' What is for the score goes beside the input: {"input": {…}, …}.' if is_whole else ""
        raise InputError(
            f"{model.__name__} has no field '{one_line(strange[0])}'. {did_you_mean(strange[0], known)}{fix}"
        )
    try:
        return model.model_validate(given, strict=False, by_name=True, by_alias=True)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, details['loc'])) or 'the whole input'}: {details['msg']}"
            for details in error.errors(include_url=False)[:5]
        )
        raise InputError(f"{model.__name__}: {wrong}") from None
