"""Messages between the engine and a worker process: addresses of nodes, slices and errors, as JSON.

A message is a header line and as many slice lines as the header says. Slices are read by the types
that the node declares. An exception is sent as the names of its classes, and rebuilt only as a
class that this side knows anyway. So no message chooses which code is loaded.
"""

from __future__ import annotations

import builtins
import json
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel

from graphorch import errors
from graphorch.errors import GraphorchError
from graphorch.state.copiers import compile_maker
from graphorch.state.identity import is_identical
from graphorch.state.value_codec import Lossy, ValueCodec, Written
from graphorch.text import KIND, LINEAGE, clean, explain_error, list_kinds, truncate_repr

M = TypeVar("M", bound=BaseModel)
Known = dict[tuple[str, str], type[Exception]]
NOTHING = b"null"  # the line of a slice that is None
# A `ProcessError` with the name of the class is more precise than these.
_TOO_GENERAL = (Exception, BaseException, object, GraphorchError)


class ProcessError(GraphorchError):
    """An exception of a worker process whose class is not known here; a note holds the traceback.

    Messages and records name the class as it is called there.
    """


class Unportable(ProcessError):
    """A node that another process cannot import, or a value that JSON would not restore."""


@dataclass(frozen=True, slots=True)
class Address:
    """Place of a node: its name in a module, and the file in case the module is not importable.

    At the place of a `tool`, which has that name for models, is the tool or only its function.
    """

    module: str
    name: str
    file: str | None
    tool: str = ""


class SliceCodec(Generic[M]):
    """Encodes a slice as a line of JSON: its values, and which of them were set.

    Values travel as they are, secrets too: the pipe has no other end than the worker.
    """

    def __init__(self, model: type[M]) -> None:
        self._model = model
        self._make = compile_maker(model)
        self._codecs: dict[str, ValueCodec] = {}

    def encode(self, slice: M) -> bytes:
        """Return the line of a slice. Raises `Unportable` for a value that JSON would change."""
        names = [name for name in self._model.model_fields if name in slice.__dict__]
        values = {name: slice.__dict__[name] for name in names}
        written = {name: self._write(name, value) for name, value in values.items()}
        extra = slice.__pydantic_extra__ or {}
        self._check_beside(slice, values, extra)
        content = {
            "set": sorted(slice.__pydantic_fields_set__),
            "values": {name: item.value for name, item in written.items()} | extra,
            "notes": {name: dict(item.notes) for name, item in written.items() if item.notes},
        }
        return json.dumps(content).encode()

    def decode(self, line: bytes) -> M:
        """Return the slice of a line, without running its validators: they ran before."""
        content = json.loads(line.decode())
        notes, fields = content["notes"], self._model.model_fields
        values = {
            name: self._codec(name).read(value, notes.get(name, {})) if name in fields else value
            for name, value in content["values"].items()
        }
        return self._make(values, set(content["set"]))

    def _write(self, name: str, value: Any) -> Written:
        try:
            return self._codec(name).write(value)
        except Lossy as error:
            raise self._build_unportable(f"'{name}' = {truncate_repr(value)}: {error}") from error

    def _codec(self, name: str) -> ValueCodec:
        if name not in self._codecs:
            self._codecs[name] = ValueCodec(self._model, name, reveals=True)
        return self._codecs[name]

    def _check_beside(self, slice: M, values: dict[str, Any], extra: dict[str, Any]) -> None:
        """Raise `Unportable` for values beside the declared fields that would be lost."""
        for name, value in extra.items():
            if not is_identical(json.loads(json.dumps(value, default=str)), value):
                raise self._build_unportable(f"'{name}' = {truncate_repr(value)} is no plain JSON")
        private = slice.__pydantic_private__
        if private and not is_identical(self._make(values, set()).__pydantic_private__, private):
            names = ", ".join(private)
            raise self._build_unportable(f"its private attributes ({names}) were set")

    def _build_unportable(self, why: str) -> Unportable:
        return Unportable(
            f"{self._model.__name__} cannot be sent to another process: {why}. Use types that "
            "survive JSON, give them a serializer and a validator, or run the node in a thread."
        )


# ---- errors --------------------------------------------------------------------------------------
def encode_error(error: BaseException, aliases: dict[str, str]) -> dict[str, Any]:
    """Return an exception as plain JSON, with those in a group.

    `aliases` maps modules to their names on the other side, where these differ.
    """
    # Skip the frame of the worker that called the node.
    first_frame = error.__traceback__.tb_next if error.__traceback__ is not None else None
    arguments: tuple[Any, ...] = error.args
    if isinstance(error, OSError) and error.filename is not None and len(arguments) == 2:
        arguments = (*arguments, error.filename)  # its constructor removed it from `args`
    is_plain = all(_is_plain(argument) for argument in arguments)
    lineage = [
        (aliases.get(kind.__module__, kind.__module__), kind.__qualname__)
        for kind in type(error).__mro__
    ]
    parts = _list_parts(error)
    return {
        "kind": type(error).__name__,
        "kinds": list(_list_kinds(error, aliases)),
        "message": _format_message(error),
        "text": explain_error(error),
        "parts": [encode_error(part, aliases) for part in parts],
        "heading": arguments[0] if parts and _is_plain(arguments[0]) else "",
        "lineage": lineage,
        "arguments": list(arguments) if is_plain else None,
        "attributes": {name: value for name, value in vars(error).items() if _is_plain(value)},
        "traceback": clean("".join(traceback.format_exception(type(error), error, first_frame))),
    }


def _list_kinds(error: BaseException, aliases: dict[str, str]) -> Iterator[str]:
    """Yield the names of the classes of an exception, as the other side calls them."""
    for kind in list_kinds(error):
        module, mark, name = kind.partition(":")
        yield f"{aliases.get(module, module)}{mark}{name}"


def _list_parts(error: BaseException) -> Sequence[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[Any]", error).exceptions
    return ()


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
    error = _rebuild_error(story, known)
    error.add_note(f"In the worker process:\n{story['traceback'].rstrip()}")
    return error


def _rebuild_error(story: dict[str, Any], known: Known) -> Exception:
    parts = [_rebuild_error(part, known) for part in story["parts"]]
    error = _rebuild_nearest(story, parts, known) or ProcessError(story["text"])
    if type(error).__name__ != story["kind"]:
        vars(error)[KIND] = story["kind"]
    vars(error)[LINEAGE] = tuple(dict.fromkeys([*story["kinds"], *list_kinds(error)]))
    return error


def _rebuild_nearest(
    story: dict[str, Any], parts: list[Exception], known: Known
) -> Exception | None:
    for module, name in story["lineage"]:
        kind = _find_class(module, name, known)
        error = _rebuild(kind, story, parts) if kind is not None else None
        if error is not None:
            return error
    return None


def _find_class(module: str, name: str, known: Known) -> type[Exception] | None:
    home = {"builtins": builtins, "graphorch.errors": errors}.get(module)
    kind: Any = known.get((module, name)) or getattr(home, name, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception) or kind in _TOO_GENERAL:
        return None
    return kind


def _rebuild(
    kind: type[Exception], story: dict[str, Any], parts: list[Exception]
) -> Exception | None:
    """Return an exception with the message of the original; None if this class has another."""
    arguments: list[Any] = [story["message"]] if story["arguments"] is None else story["arguments"]
    try:
        error: Exception
        if issubclass(kind, ExceptionGroup):
            error = cast(Any, kind).__new__(kind, story["heading"], parts)
        elif kind.__module__ == "builtins":
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
