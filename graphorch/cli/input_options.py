"""Fields of a pydantic model as options of the command line: their names, kinds and usage."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias, Union

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

OptionKind: TypeAlias = Literal["text", "number", "flag", "many", "json"]
"""How a value is written: as a word, a number, yes or no, several words, or a JSON object."""

RUN_OPTIONS: Final[frozenset[str]] = frozenset(
    "--activations --after --config --db --debug --durable --events --help --input --json --model "
    "--output --quiet --seconds --tag --usd".split()
)
"""Options of `graphorch run` itself: a field with such a name is given in --input."""

SUBMIT_OPTIONS: Final[frozenset[str]] = (
    RUN_OPTIONS - {*"--config --durable --events --seconds".split()}
) | {*"--delay --priority --run-id --wait".split()}
"""Options of `graphorch submit` itself: a field with such a name is given in --input."""

ANSWER_OPTIONS: Final[frozenset[str]] = (
    RUN_OPTIONS - {*"--activations --after --durable --input --seconds --tag --usd".split()}
) | {"--no-wait"}
"""Options of `graphorch answer` itself: a field with such a name is given in a JSON object."""

SEND_OPTIONS: Final[frozenset[str]] = ANSWER_OPTIONS | {"--key", "--id"}
"""Options of `graphorch send` itself: a field with such a name is given in a JSON object."""

_USAGE: Mapping[OptionKind, str] = {
    "text": " TEXT",
    "number": " NUMBER",
    "flag": "",
    "many": " ITEM (repeat it, or give a JSON list)",
    "json": " '{…}'",
}
_EXAMPLES: Mapping[OptionKind, Any] = {
    "text": "…",
    "number": 1,
    "flag": True,
    "many": ["…"],
    "json": {},
}
# the first kind whose classes hold the type of a field is the kind of its option
_CLASSES: tuple[tuple[OptionKind, tuple[type, ...]], ...] = (
    ("flag", (bool,)),
    ("number", (int, float)),
    ("text", (str, bytes)),
    ("json", (BaseModel, Mapping)),
    ("many", (Sequence, AbstractSet)),
)
# of the kinds of a union, the first of these that it has: the one that takes most
_MOST_GENERAL: tuple[OptionKind, ...] = ("text", "many", "json", "number", "flag")


@dataclass(frozen=True, slots=True)
class InputOption:
    """Option `--field-name` for one field of a model; `key` is the field's key in JSON.

    `source` is what the user calls the JSON object. If the command itself has an option of that
    name, `is_taken`, the field can be given only there.
    """

    name: str
    key: str
    kind: OptionKind
    info: FieldInfo
    source: str
    is_taken: bool

    @property
    def field(self) -> str:
        """Name of the option without its dashes, as messages use it."""
        return self.name[2:]

    @property
    def keys(self) -> frozenset[str]:
        """Keys under which the model takes the field: its name and its alias."""
        return frozenset({self.field.replace("-", "_"), self.key})

    @property
    def usage(self) -> str:
        """How to give the field: as an option, or in the JSON object if the name is taken."""
        if self.is_taken:
            return f"'{self.key}' in {self.source}"
        return f"{self.name}{_USAGE[self.kind]}"

    @property
    def every_usage(self) -> str:
        """All ways to give the field."""
        if self.is_taken:
            return self.usage
        return f"{self.usage}, or '{self.key}' in {self.source}"


def list_options(
    model: type[BaseModel], source: str = "--input", taken: frozenset[str] = RUN_OPTIONS
) -> list[InputOption]:
    """Return the options for the fields of a model, in their order.

    `taken` are the options that the command itself has.
    """
    named = {f"--{name.replace('_', '-')}": name for name in model.model_fields}
    return [
        InputOption(
            option,
            _find_key(name, model.model_fields[name]),
            _classify(model.model_fields[name].annotation),
            model.model_fields[name],
            source,
            option in taken,
        )
        for option, name in named.items()
    ]


def format_example(model: type[BaseModel]) -> str:
    """Return a JSON object with every field of a model."""
    values = {option.key: _EXAMPLES[option.kind] for option in list_options(model)}
    return json.dumps(values, ensure_ascii=False)


def _find_key(name: str, info: FieldInfo) -> str:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        texts = [choice for choice in alias.choices if isinstance(choice, str)]
        alias = texts[0] if texts else None
    return alias if isinstance(alias, str) else name


def _classify(annotation: Any) -> OptionKind:
    """Return how a field of this type is written as a word."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _classify(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        kinds = {_classify(member) for member in members}
        general: list[OptionKind] = [kind for kind in _MOST_GENERAL if kind in kinds]
        return general[0] if general else "flag"
    if origin is Literal:
        return "text"
    base = origin or annotation
    if not isinstance(base, type):
        return "text"
    matching: list[OptionKind] = [kind for kind, classes in _CLASSES if issubclass(base, classes)]
    return matching[0] if matching else "text"
