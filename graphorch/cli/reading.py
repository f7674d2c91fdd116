"""A flow's input from the command line: a JSON object, one option for each field, or the sample that stands beside the flow.

    --input '{"topic": "tides"}'    --input @file.json    --input -  (standard input)
    --topic tides    --topic @file.txt    --topic @-    --tag a --tag b    --deep    --no-deep    --limits '{"most": 3}'

A value that begins with @ is the text of that file; @@ stands for an @ itself.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, cast

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from graphorch.cli.files import read_text
from graphorch.cli.safe import one_line
from graphorch.errors import InputError, did_you_mean

# problems of one input; a long list with the wrong items would scroll the first one away
_SHOWN = 20

Kind = Literal["text", "number", "flag", "many", "json"]

TAKEN = frozenset(
    "--activations --after --db --debug --durable --events --help --input --json --model --output --quiet --seconds --tag --usd".split()
)
"""The options of `graphorch run` itself: a field that is called like one of them is given in --input."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of an input as an option of the command line. `key` is the name under which the model takes it."""

    name: str
    key: str
    kind: Kind
    info: FieldInfo

    @property
    def usage(self) -> str:
        """How to write it."""
        if self.name in TAKEN:
            return f"'{self.key}' in --input"
        shown = {
            "text": " TEXT",
            "number": " NUMBER",
            "flag": "",
            "many": " ITEM (repeat it, or give a JSON list)",
            "json": " '{…}'",
        }
        return f"{self.name}{shown[self.kind]}"

    @property
    def anywhere(self) -> str:
        """All ways to give it."""
        return self.usage if self.name in TAKEN else f"{self.usage}, or '{self.key}' in --input"


@dataclass(slots=True)
class _Given:
    """What was given so far: values by key, where each came from, and what is wrong."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    problems: list[str] = field(default_factory=list[str])


def options_of(model: type[BaseModel]) -> list[Option]:
    """The options that the fields of a model give."""
    return [
        Option(f"--{name.replace('_', '-')}", _key(name, info), _kind(info.annotation), info)
        for name, info in model.model_fields.items()
    ]


def read_input(
    model: type[BaseModel], source: str | None, arguments: Sequence[str], named: str = "--input"
) -> BaseModel:
    """The input that `--input` and the options of the fields say. Raises `InputError` with everything that is wrong.

    `named` is what the user knows the source as, if it is not that option.
    """
    raw = _source_text(source, named) if source is not None else None
    given = _Given()
    if raw is not None:
        given.values = _object(raw, model, named)
        given.origins = dict.fromkeys(given.values, named)
        given.problems += _unknown_keys(model, given.values)
    if arguments:
        _take_options(model, arguments, given)
    missing = [
        option
        for option in options_of(model)
        if option.info.is_required() and not _names(option) & given.values.keys()
    ]
    told = {problem.split(":", 1)[0] for problem in given.problems}
    given.problems += [
        f"{option.name[2:]}: missing. Give {option.anywhere}."
        for option in missing
        if option.name[2:] not in told
    ]
    if given.problems:
        raise _misfit(model, given.problems)
    try:
        if raw is not None and not arguments:
            return model.model_validate_json(raw, by_name=True, by_alias=True)
        return model.model_validate(given.values, strict=False, by_name=True, by_alias=True)
    except ValidationError as error:
        raise _misfit(model, list(_complaints(error, given.origins))) from error


# ---- JSON ----------------------------------------------------------------------------------------
def _source_text(source: str, named: str) -> str:
    if source.strip() in ("-", "@-"):
        return read_text("-", named)
    return read_text(source[1:], named) if source.startswith("@") else source


def example_of(model: type[BaseModel]) -> str:
    """A JSON object with every field of a model."""
    return json.dumps(
        {option.key: _EXAMPLES[option.kind] for option in options_of(model)}, ensure_ascii=False
    )


def _object(raw: str, model: type[BaseModel], named: str) -> dict[str, Any]:
    example = example_of(model)
    value = _json(raw, named, f"Write an object such as '{example}'.")
    if not isinstance(value, dict):
        found = next((name for kind, name in _JSON_NAMES if isinstance(value, kind)), "value")
        raise InputError(f"{named} is a JSON {found}, and has to be an object such as '{example}'.")
    return cast("dict[str, Any]", value)


_EXAMPLES: Mapping[Kind, Any] = {"text": "…", "number": 1, "flag": True, "many": ["…"], "json": {}}
_JSON_NAMES = (
    (list, "list"),
    (str, "string"),
    (bool, "truth value"),
    ((int, float), "number"),
    (type(None), "null"),
)


def _json(raw: str, where: str, hint: str) -> Any:
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        if not raw.strip():
            raise InputError(f"{where} is empty. {hint}") from None
        near = one_line(raw[max(0, error.pos - 20) : error.pos + 20])
        raise InputError(
            f"{where} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}, near `{near}`. {hint}"
        ) from None
    except RecursionError:
        raise InputError(f"{where} is nested too deeply to be read. {hint}") from None


def _unknown_keys(model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    if model.model_config.get("extra") == "allow":
        return []
    known = set[str]().union(*(_names(option) for option in options_of(model)))
    return [
        f"{one_line(key)}: there is no such field. {did_you_mean(key, known)}"
        for key in values
        if key not in known
    ]


# ---- options -------------------------------------------------------------------------------------
def _take_options(model: type[BaseModel], arguments: Sequence[str], given: _Given) -> None:
    known = {item.name: item for item in options_of(model)}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        option = known.get(name.replace("_", "-"))
        turned_off = known.get(f"--{name[5:]}") if name.startswith("--no-") else None
        if (
            option is None
            and turned_off is not None
            and turned_off.kind == "flag"
            and not has_value
        ):
            given.values[turned_off.key] = False
        elif option is None:
            given.problems.append(_stray(word, known))
            if name.startswith("--") and not has_value and rest and not rest[0].startswith("--"):
                rest.pop(0)
        elif (
            option.kind == "flag"
            and not has_value
            and not (rest and rest[0].lower() in ("true", "false"))
        ):
            given.values[option.key] = True
        elif has_value or (rest and rest[0].partition("=")[0].replace("_", "-") not in known):
            _take(option, value if has_value else rest.pop(0), given)
        else:
            given.problems.append(f"{name[2:]}: {name} needs a value. Write {option.usage}.")


def _stray(word: str, known: Mapping[str, Option]) -> str:
    name = one_line(word.partition("=")[0])
    if name.startswith("-"):
        return f"{name}: there is no such option and no such field. {did_you_mean(name, [*known, *TAKEN])}"
    return f"{name}: this word belongs to no option. Put text with spaces in quotes, and the option's name before it: {did_you_mean(name, known)}"


def _take(option: Option, value: str, given: _Given) -> None:
    origin = f"{option.name} {value}" if value.startswith("@") else option.name
    given.origins[option.key] = origin
    try:
        if value.startswith("@"):
            value = value[1:] if value.startswith("@@") else read_text(value[1:], option.name)
        if option.kind == "json" or (option.kind == "many" and value.lstrip().startswith("[")):
            given.values[option.key] = _json(value, origin, f"Write {option.usage}.")
        elif option.kind == "many":
            item = (
                _json(value, origin, f"Write {option.usage}.")
                if value.lstrip().startswith("{")
                else value
            )
            given.values[option.key] = [*given.values.get(option.key, []), item]
        else:
            given.values[option.key] = value.strip() if option.kind == "number" else value
    except InputError as error:
        given.problems.append(f"{option.name[2:]}: {error}")


def _names(option: Option) -> set[str]:
    """The keys under which the model takes the field."""
    return {option.name[2:].replace("-", "_"), option.key}


def _key(name: str, info: FieldInfo) -> str:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else name


def _kind(annotation: Any) -> Kind:
    """How a field of this type is written as one word."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _kind(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kinds = {
            _kind(get_arg) for get_arg in typing.get_args(annotation) if get_arg is not type(None)
        }
        general: list[Kind] = [kind for kind in _GENERAL if kind in kinds]
        return general[0] if general else "flag"
    if origin is Literal:
        return "text"
    base = origin or annotation
    if not isinstance(base, type):
        return "text"
    kind: list[Kind] = [kind for kind, bases in _KINDS if issubclass(base, bases)]
    return kind[0] if kind else "text"


# of the kinds of a union, the one that takes most
_GENERAL: tuple[Kind, ...] = ("text", "many", "json", "number")
_KINDS: tuple[tuple[Kind, tuple[type, ...]], ...] = (
    ("flag", (bool,)),
    ("number", (int, float)),
    ("text", (str, bytes)),
    ("json", (BaseModel, Mapping)),
    ("many", (Sequence, AbstractSet)),
)


# ---- what is wrong -------------------------------------------------------------------------------
def _complaints(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for details in error.errors(include_url=False, include_context=False):
        where = ".".join(str(step) for step in details["loc"])
        origin = origins.get(str(details["loc"][0])) if details["loc"] else None
        came = (
            ""
            if details["type"] == "missing"
            else f" (got {one_line(repr(details['input']))}{f', from {one_line(origin)}' if origin else ''})"
        )
        yield f"{where or 'the whole input'}: {details['msg']}{came}"


def _misfit(model: type[BaseModel], problems: Sequence[str]) -> InputError:
    shown = [
        *problems[:_SHOWN],
        *([f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []),
    ]
    lines = "".join(f"\n  - {problem}" for problem in shown)
    return InputError(f"The input ({model.__name__}) does not fit:{lines}")
