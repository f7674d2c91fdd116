"""What crosses between the engine and a worker process: a node's address, slices and errors, as lines of JSON.

A message is a header line and as many slice lines as the header says. Slices are read by the types that the node declares; an exception
is told by the names of its classes, and rebuilt only as one that this side knows anyway. So nothing that crosses chooses code.
"""

from __future__ import annotations

import builtins
import json
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, PydanticSerializationError, SchemaSerializer, SchemaValidator
from typing_extensions import TypedDict

from graphorch import errors
from graphorch.errors import GraphorchError
from graphorch.state.copiers import compile_maker

M = TypeVar("M", bound=BaseModel)
Known = dict[tuple[str, str], type[Exception]]
NOTHING = b"null"  # the line of a slice that is None
# says less than a `ProcessError` with the name of the class
_TOO_GENERAL = (Exception, BaseException, object, GraphorchError)
_FAITHFUL = CoreConfig(
    ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
)


class ProcessError(GraphorchError):
    """What a node raised in a worker process, of a class that is not known here: its name is in `kind`, its traceback in a note."""

    def __init__(self, message: str, kind: str = "") -> None:
        self.kind = kind or type(self).__name__
        super().__init__(message)


class Unportable(ProcessError):
    """A node that another process cannot import, or a value that does not come back from JSON as it went in."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a worker process finds a node: a name in a module, and the module's file for one that cannot be imported by its name."""

    module: str
    name: str
    file: str | None


class SliceCodec(Generic[M]):
    """One slice as a line of JSON and back: the values that it has, and which of them were set."""

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self._made = compile_maker(model)
        fields = {name: info.rebuild_annotation() for name, info in model.model_fields.items()}
        # of the whole state, some fields may be unassigned
        values: Any = cast(Any, TypedDict)("Values", fields, total=False)
        values.__pydantic_config__ = {**model.model_config, "alias_generator": None, **_FAITHFUL}
        schema: Any = TypeAdapter(values).core_schema
        # an adapter would not hand this configuration on
        self._to_json = SchemaSerializer(schema, _FAITHFUL).to_json
        self._from_json = SchemaValidator(schema, _FAITHFUL).validate_json

    def encode(self, slice: M) -> bytes:
        """The line. Raises `Unportable` for a value that would not come back."""
        values = {**slice.__dict__, **(slice.__pydantic_extra__ or {})}
        try:
            text = self._to_json(values, warnings=False)
            back = self._from_json(text)
        except PydanticSerializationError as error:
            raise self._unportable(str(error)) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise self._unportable(
                f"'{'.'.join(map(str, first['loc']))}' = {_short(first['input'])} does not come back: {first['msg']}"
            ) from error
        for name, value in values.items():
            # NaN is not equal to itself
            if back.get(name) != value and repr(back.get(name)) != repr(value):
                raise self._unportable(
                    f"'{name}' = {_short(value)} comes back as {_short(back.get(name))}"
                )
        # JSON holds no tabs but written out
        return b"\t".join([json.dumps(sorted(slice.__pydantic_fields_set__)).encode(), text])

    def decode(self, line: bytes) -> M:
        """The slice again, made without asking its validators, as it was checked before."""
        names, _, text = line.partition(b"\t")
        fields_set, values = set[str](json.loads(names)), self._from_json(text)
        return self._made(values, fields_set)

    def _unportable(self, why: str) -> Unportable:
        fix = "Use types that survive JSON, give them a serializer and a validator, or run the node in a thread."
        return Unportable(f"{self._model.__name__} cannot cross into another process: {why}. {fix}")


# ---- errors --------------------------------------------------------------------------------------
def encode_error(error: BaseException, aliases: dict[str, str]) -> dict[str, Any]:
    """An exception as plain JSON. `aliases` gives the modules that are called otherwise on the other side."""
    # without the frame that called the node
    cause = error.__traceback__.tb_next if error.__traceback__ is not None else None
    arguments = error.args
    if isinstance(error, OSError) and error.filename is not None and len(arguments) == 2:
        arguments = (*arguments, error.filename)  # it takes the name out of what it was given
    return {
        "kind": type(error).__name__,
        "message": _text(error),
        "lineage": [
            (aliases.get(item.__module__, item.__module__), item.__qualname__)
            for item in type(error).__mro__
        ],
        "arguments": list(arguments)
        if all(_is_plain(argument) for argument in arguments)
        else None,
        "attributes": {name: value for name, value in vars(error).items() if _is_plain(value)},
        "traceback": "".join(traceback.format_exception(type(error), error, cause)),
    }


def decode_error(story: dict[str, Any], declared: Iterable[type[BaseException]]) -> Exception:
    """The exception again: of its own class, or the nearest base, that the flow declares or that everybody has; else a `ProcessError`."""
    known: Known = {
        (kind.__module__, kind.__qualname__): kind
        for kind in (*declared, ProcessError, Unportable)
        if issubclass(kind, Exception)
    }
    made = (
        _made(found, story)
        for module, name in story["lineage"]
        if (found := _class(module, name, known)) is not None
    )
    error = next((exception for exception in made if exception is not None), None) or ProcessError(
        story["message"], story["kind"]
    )
    if type(error).__name__ != story["kind"]:
        vars(error)["kind"] = story["kind"]
    error.add_note(f"In the worker process:\n{story['traceback'].rstrip()}")
    return error


def _class(module: str, name: str, known: Known) -> type[Exception] | None:
    home = {"builtins": builtins, "graphorch.errors": errors}.get(module)
    found: Any = known.get((module, name)) or getattr(home, name, None)
    return (
        found
        if isinstance(found, type) and issubclass(found, Exception) and found not in _TOO_GENERAL
        else None
    )


def _made(kind: type[Exception], story: dict[str, Any]) -> Exception | None:
    """An exception that says what the original said, or None if this class cannot."""
    arguments: list[Any] = (
        story["arguments"] if story["arguments"] is not None else [story["message"]]
    )
    try:
        # A constructor written in Python may want what is in no `args`; its work is in the attributes.
        error = (
            kind(*arguments) if kind.__module__ == "builtins" else kind.__new__(kind, *arguments)
        )
        vars(error).update(story["attributes"])
        return error if str(error) == story["message"] else None
    except Exception:  # the class is a user's: whatever it does, there is always a `ProcessError`
        return None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # the same border
        return f"(its message cannot be shown: {type(broken).__name__})"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def header(values: dict[str, Any]) -> bytes:
    """The first line of a message."""
    return json.dumps(values).encode()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
