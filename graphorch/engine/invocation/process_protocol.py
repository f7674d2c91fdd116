"""Messages between the engine and a worker process: addresses of nodes, slices and errors, as JSON.

A message is a header line and as many slice lines as the header says. Slices are read by the types
that the node declares. An exception is sent as the names of its classes, and rebuilt only as a
class that this side knows anyway. So no message chooses which code is loaded.
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
from graphorch.text import truncate_repr

M = TypeVar("M", bound=BaseModel)
Known = dict[tuple[str, str], type[Exception]]
NOTHING = b"null"  # the line of a slice that is None
# A `ProcessError` with the name of the class is more precise than these.
_TOO_GENERAL = (Exception, BaseException, object, GraphorchError)
_FAITHFUL = CoreConfig(
    ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
)


class ProcessError(GraphorchError):
    """An exception of a worker process whose class is not known here.

    `kind` is the name of the class; a note holds the traceback.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        self.kind = kind or type(self).__name__
        super().__init__(message)


class Unportable(ProcessError):
    """A node that another process cannot import, or a value that JSON would not restore."""


@dataclass(frozen=True, slots=True)
class Address:
    """Place of a node: its name in a module, and the file in case the module is not importable."""

    module: str
    name: str
    file: str | None


class SliceCodec(Generic[M]):
    """Encodes a slice as a line of JSON: its values, and which of them were set."""

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self._make = compile_maker(model)
        fields = {name: info.rebuild_annotation() for name, info in model.model_fields.items()}
        # A slice that is the whole state may have unassigned fields.
        values: Any = cast(Any, TypedDict)("Values", fields, total=False)
        values.__pydantic_config__ = {**model.model_config, "alias_generator": None, **_FAITHFUL}
        schema: Any = TypeAdapter(values).core_schema
        # A TypeAdapter would not pass this configuration on.
        self._to_json = SchemaSerializer(schema, _FAITHFUL).to_json
        self._from_json = SchemaValidator(schema, _FAITHFUL).validate_json

    def encode(self, slice: M) -> bytes:
        """Return the line of a slice. Raises `Unportable` for a value that JSON would change."""
        values = {**slice.__dict__, **(slice.__pydantic_extra__ or {})}
        try:
            text = self._to_json(values, warnings=False)
            back = self._from_json(text)
        except PydanticSerializationError as error:
            raise self._build_unportable(str(error)) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field, value = ".".join(map(str, first["loc"])), truncate_repr(first["input"])
            raise self._build_unportable(
                f"'{field}' = {value} does not come back: {first['msg']}"
            ) from error
        for name, value in values.items():
            # Their texts are compared too, because NaN does not equal itself.
            if back.get(name) != value and repr(back.get(name)) != repr(value):
                raise self._build_unportable(
                    f"'{name}' = {truncate_repr(value)} comes back as "
                    f"{truncate_repr(back.get(name))}"
                )
        # A tab separates the two: JSON never contains one, strings in it only as an escape.
        return b"\t".join([json.dumps(sorted(slice.__pydantic_fields_set__)).encode(), text])

    def decode(self, line: bytes) -> M:
        """Return the slice of a line, without running its validators: they ran before."""
        names, _, text = line.partition(b"\t")
        fields_set, values = set[str](json.loads(names)), self._from_json(text)
        return self._make(values, fields_set)

    def _build_unportable(self, why: str) -> Unportable:
        return Unportable(
            f"{self._model.__name__} cannot be sent to another process: {why}. Use types that "
            "survive JSON, give them a serializer and a validator, or run the node in a thread."
        )


# ---- errors --------------------------------------------------------------------------------------
def encode_error(error: BaseException, aliases: dict[str, str]) -> dict[str, Any]:
    """Return an exception as plain JSON.

    `aliases` maps modules to their names on the other side, where these differ.
    """
    # Skip the frame of the worker that called the node.
    first_frame = error.__traceback__.tb_next if error.__traceback__ is not None else None
    arguments = error.args
    if isinstance(error, OSError) and error.filename is not None and len(arguments) == 2:
        arguments = (*arguments, error.filename)  # its constructor removed it from `args`
    is_plain = all(_is_plain(argument) for argument in arguments)
    lineage = [
        (aliases.get(kind.__module__, kind.__module__), kind.__qualname__)
        for kind in type(error).__mro__
    ]
    return {
        "kind": type(error).__name__,
        "message": _format_message(error),
        "lineage": lineage,
        "arguments": list(arguments) if is_plain else None,
        "attributes": {name: value for name, value in vars(error).items() if _is_plain(value)},
        "traceback": "".join(traceback.format_exception(type(error), error, first_frame)),
    }


def decode_error(story: dict[str, Any], declared: Iterable[type[BaseException]]) -> Exception:
    """Return the exception that was encoded, of its own class or the nearest known base.

    A class is known if the flow declares it, or if it is builtin or one of graphorch's. If no
    class fits, the exception is a `ProcessError`.
    """
    known: Known = {
        (kind.__module__, kind.__qualname__): kind
        for kind in (*declared, ProcessError, Unportable)
        if issubclass(kind, Exception)
    }
    error = _rebuild_nearest(story, known) or ProcessError(story["message"], story["kind"])
    if type(error).__name__ != story["kind"]:
        vars(error)["kind"] = story["kind"]
    error.add_note(f"In the worker process:\n{story['traceback'].rstrip()}")
    return error


def _rebuild_nearest(story: dict[str, Any], known: Known) -> Exception | None:
    for module, name in story["lineage"]:
        kind = _find_class(module, name, known)
        error = _rebuild(kind, story) if kind is not None else None
        if error is not None:
            return error
    return None


def _find_class(module: str, name: str, known: Known) -> type[Exception] | None:
    home = {"builtins": builtins, "graphorch.errors": errors}.get(module)
    kind: Any = known.get((module, name)) or getattr(home, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception) or kind in _TOO_GENERAL:
        return None
    return kind


def _rebuild(kind: type[Exception], story: dict[str, Any]) -> Exception | None:
    """Return an exception with the message of the original; None if this class has another."""
    arguments: list[Any] = [story["message"]] if story["arguments"] is None else story["arguments"]
    try:
        if kind.__module__ == "builtins":
            error = kind(*arguments)
        else:
            # A constructor written in Python may need more than `args`; the attributes hold what
            # it did.
            error = kind.__new__(kind, *arguments)
        vars(error).update(story["attributes"])
        return error if str(error) == story["message"] else None
    except Exception:  # the class is a user's and may raise anything
        return None


def _format_message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # the class is a user's and may raise anything
        return f"(its message cannot be shown: {type(broken).__name__})"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def encode_header(values: dict[str, Any]) -> bytes:
    """Return the first line of a message."""
    return json.dumps(values).encode()
