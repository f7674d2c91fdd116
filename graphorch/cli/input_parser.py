"""The input of a flow from the command line: a JSON object, an option for each field, or both.

    --input '{"topic": "tides"}'    --input @file.json    --input -  (standard input)
    --topic tides    --topic @file.txt    --topic @-    --tag a --tag b    --deep    --no-deep
    --limits '{"most": 3}'

A value that begins with @ is replaced by the text of that file; @@ stands for an @ itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from graphorch.cli.files import read_text
from graphorch.cli.input_options import (
    RUN_OPTIONS,
    InputOption,
    format_example,
    list_options,
)
from graphorch.cli.terminal import sanitize_line
from graphorch.errors import InputError, did_you_mean
from graphorch.state.marks import HIDDEN, is_secret

# more problems than these would scroll the first ones away
_MOST_PROBLEMS = 20

_JSON_TYPE_NAMES = (
    (list, "list"),
    (str, "string"),
    (bool, "truth value"),
    ((int, float), "number"),
    (type(None), "null"),
)


@dataclass(slots=True)
class _Given:
    """Input read so far: values by key, where each value came from, and the problems."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    problems: list[str] = field(default_factory=list[str])


def parse_input(
    model: type[BaseModel],
    source: str | None,
    arguments: Sequence[str],
    source_name: str = "--input",
    taken: frozenset[str] = RUN_OPTIONS,
) -> BaseModel:
    """Return the input that a JSON source and the options of the fields give; options win.

    `source_name` is what the user calls the source; `taken` are the options that the command itself
    has. Raises `InputError` with all problems at once.
    """
    options = list_options(model, source_name, taken)
    raw = _read_source(source, source_name) if source is not None else None
    given = _Given()
    if raw is not None:
        given.values = _parse_object(raw, model, source_name)
        given.origins = dict.fromkeys(given.values, source_name)
        given.problems += _find_unknown_keys(model, given.values)
    _parse_options({option.name: option for option in options}, taken, arguments, given)
    given.problems += _find_missing(options, given)
    if given.problems:
        raise _misfit(model, given.problems)
    try:
        if raw is not None and not arguments:
            return model.model_validate_json(raw, by_name=True, by_alias=True)
        return model.model_validate(given.values, strict=False, by_name=True, by_alias=True)
    except ValidationError as error:
        raise _misfit(model, list(_explain_validation(model, error, given.origins))) from error


# ---- JSON ----------------------------------------------------------------------------------------
def parse_json(raw: str, where: str, hint: str) -> Any:
    """Return the value of a JSON text. Raises `InputError` that shows the place of the mistake."""
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        if not raw.strip():
            raise InputError(f"{where} is empty. {hint}") from None
        near = sanitize_line(raw[max(0, error.pos - 20) : error.pos + 20])
        raise InputError(
            f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}, "
            f"near `{near}`. {hint}"
        ) from None
    except RecursionError:
        raise InputError(f"{where} is nested too deeply to be read. {hint}") from None


def _read_source(source: str, source_name: str) -> str:
    if source.strip() in ("-", "@-"):
        return read_text("-", source_name)
    return read_text(source[1:], source_name) if source.startswith("@") else source


def _parse_object(raw: str, model: type[BaseModel], source_name: str) -> dict[str, Any]:
    example = format_example(model)
    value = parse_json(raw, source_name, f"Write an object such as '{example}'.")
    if not isinstance(value, dict):
        kind = next(name for kinds, name in _JSON_TYPE_NAMES if isinstance(value, kinds))
        raise InputError(
            f"{source_name} is a JSON {kind}. It must be an object such as '{example}'."
        )
    return cast("dict[str, Any]", value)


def _find_unknown_keys(model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    if model.model_config.get("extra") == "allow":
        return []
    known = set[str]().union(*(option.keys for option in list_options(model)))
    return [
        f"{sanitize_line(key)}: there is no such field. {did_you_mean(key, known)}"
        for key in values
        if key not in known
    ]


def _find_missing(options: Sequence[InputOption], given: _Given) -> list[str]:
    """Return a problem for each required field without a value, unless it has another problem."""
    reported = {problem.split(":", 1)[0] for problem in given.problems}
    return [
        f"{option.field}: missing. Give {option.every_usage}."
        for option in options
        if option.info.is_required()
        and not option.keys & given.values.keys()
        and option.field not in reported
    ]


# ---- options -------------------------------------------------------------------------------------
def _parse_options(
    options: Mapping[str, InputOption],
    taken: frozenset[str],
    arguments: Sequence[str],
    given: _Given,
) -> None:
    rest = list(arguments)
    while rest:
        _parse_option(rest, options, taken, given)


def _parse_option(
    rest: list[str], options: Mapping[str, InputOption], taken: frozenset[str], given: _Given
) -> None:
    """Take one option, and its value if it has one, from the front of the words."""
    word = rest.pop(0)
    name, equals, value = word.partition("=")
    option = options.get(name.replace("_", "-"))
    # Three cases: an unknown word or a negated flag; a value in the word itself; or a value that
    # may follow, which a flag has only if it is true or false.
    if option is None:
        negated = options.get(f"--{name[5:]}") if name.startswith("--no-") else None
        if negated is not None and negated.kind == "flag" and not equals:
            given.values[negated.key] = False
            return
        given.problems.append(_explain_unknown(word, options, taken))
        # its value, probably
        if name.startswith("--") and not equals and rest and not rest[0].startswith("--"):
            rest.pop(0)
        return
    if equals:
        _take_value(option, value, given)
    elif option.kind == "flag" and not (rest and rest[0].lower() in ("true", "false")):
        given.values[option.key] = True
    elif rest and rest[0].partition("=")[0].replace("_", "-") not in options:
        _take_value(option, rest.pop(0), given)
    else:
        given.problems.append(f"{name[2:]}: {name} needs a value. Write {option.usage}.")


def _explain_unknown(word: str, options: Mapping[str, InputOption], taken: frozenset[str]) -> str:
    name = sanitize_line(word.partition("=")[0])
    if name.startswith("-"):
        suggestion = did_you_mean(name, [*options, *taken])
        return f"{name}: there is no such option and no such field. {suggestion}"
    return (
        f"{name}: this word belongs to no option. Put text with spaces in quotes, "
        f"and the option's name before it. {did_you_mean(name, options)}"
    )


def _take_value(option: InputOption, value: str, given: _Given) -> None:
    is_file = value.startswith("@")
    origin = f"{option.name} {value}" if is_file else option.name
    given.origins[option.key] = origin
    try:
        if is_file:
            value = value[1:] if value.startswith("@@") else read_text(value[1:], option.name)
        given.values[option.key] = _convert(option, value, given.values.get(option.key), origin)
    except InputError as error:
        given.problems.append(f"{option.field}: {error}")


def _convert(option: InputOption, text: str, before: Any, origin: str) -> Any:
    """Return the value of an option's text; the item of a list is added to the items `before`."""
    first = text.lstrip()[:1]
    hint = f"Write {option.usage}."
    if option.kind == "json" or (option.kind == "many" and first == "["):
        return parse_json(text, origin, hint)
    if option.kind == "many":
        item = parse_json(text, origin, hint) if first == "{" else text
        items = cast("list[Any]", before) if isinstance(before, list) else []
        return [*items, item]
    return text.strip() if option.kind == "number" else text


# ---- problems ------------------------------------------------------------------------------------
def _explain_validation(
    model: type[BaseModel], error: ValidationError, origins: Mapping[str, str]
) -> Iterator[str]:
    for details in error.errors(include_url=False, include_context=False):
        place = details["loc"]
        where = ".".join(str(step) for step in place) or "the whole input"
        if details["type"] == "missing":
            yield f"{where}: {details['msg']}"
            continue
        got = f"got {sanitize_line(repr(details['input']))}"
        info = model.model_fields.get(str(place[0])) if place else None
        if info is not None and is_secret(info):
            got = f"got {HIDDEN}"
        origin = origins.get(str(place[0])) if place else None
        if origin:
            got += f", from {sanitize_line(origin)}"
        yield f"{where}: {details['msg']} ({got})"


def _misfit(model: type[BaseModel], problems: Sequence[str]) -> InputError:
    return InputError(f"The input ({model.__name__}) does not fit:{format_problems(problems)}")


def format_problems(problems: Sequence[str]) -> str:
    """Return problems as a list, each on a line of its own, with at most the first twenty."""
    lines = list(problems[:_MOST_PROBLEMS])
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"and {len(problems) - _MOST_PROBLEMS} more")
    return "".join(f"\n  - {line}" for line in lines)
