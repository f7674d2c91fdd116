"""Marks of fields: what came from outside, and what must stay inside.

    class Page(BaseModel):
        text: Untrusted[str] = ""

    class Login(BaseModel):
        token: Secret[str]

A mark is part of the annotation alone: values, validation, JSON schemas, stored records and the
fingerprint of a graph stay as they are, and to a type checker `Untrusted[str]` is `str`. It may
stand anywhere in the type of a field, also in a list, a union or a model inside.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

MarkName = Literal["untrusted", "secret"]
Marks = frozenset[MarkName]
T = TypeVar("T")


class Mark(NamedTuple):
    """What an annotation says about the origin or the use of a value."""

    name: MarkName


Untrusted: TypeAlias = Annotated[T, Mark("untrusted")]
"""Value from outside, such as a document, a page, a mail or the result of a tool.

`build()` proves that it decides about no effect, unless a person or a declared check agrees.
"""
Secret: TypeAlias = Annotated[T, Mark("secret")]
"""Value that no model, tool or output may get; it is masked wherever values are shown."""

NO_MARKS: Marks = frozenset()
HIDDEN = "[hidden]"
"""Stands for a secret wherever values are shown."""
_WORDS: dict[str, MarkName] = {"Untrusted": "untrusted", "Secret": "secret"}


def find_field_marks(info: FieldInfo) -> Marks:
    """Return the marks in the annotation of a field, at any depth."""
    return frozenset((*_list_marks(info.metadata), *_walk(info.annotation, set())))


def is_secret(info: FieldInfo) -> bool:
    """Return whether a field is marked as secret, so that its value is not shown."""
    return "secret" in find_field_marks(info)


def find_marks(hint: Any) -> Marks:
    """Return the marks in a type, at any depth. Linear in the size of the type and its models."""
    return frozenset(_walk(hint, set()))


def _walk(hint: Any, seen: set[Any]) -> Iterator[MarkName]:
    """Yield the marks in a type. `seen` holds the classes that were looked into already."""
    if isinstance(hint, type) and not typing.get_args(hint):
        cls = cast("type[Any]", hint)
        if cls.__module__ != "builtins" and cls not in seen:
            seen.add(cls)
            yield from _walk_class(cls, seen)
        return
    if isinstance(hint, str | typing.ForwardRef):
        yield from _read_name(hint if isinstance(hint, str) else hint.__forward_arg__)
        return
    origin = typing.get_origin(hint)
    if origin is Literal:
        return
    if origin is Annotated:
        inner, *metadata = typing.get_args(hint)
        yield from _list_marks(metadata)
        yield from _walk(inner, seen)
        return
    # A type alias (`type Text = …`) and a NewType stand for another type.
    for alias in (origin, hint):
        inner = getattr(alias, "__value__", None) or getattr(alias, "__supertype__", None)
        if inner is not None and alias not in seen:
            seen.add(alias)
            yield from _walk(inner, seen)
    if isinstance(origin, type):
        yield from _walk(origin, seen)
    for part in typing.get_args(hint):
        # The parameters of a Callable are a list.
        for item in part if isinstance(part, list) else (part,):  # pyright: ignore[reportUnknownVariableType]
            yield from _walk(item, seen)


def _walk_class(cls: type[Any], seen: set[Any]) -> Iterator[MarkName]:
    """Yield the marks in the fields of a model, a dataclass, a TypedDict or any other class."""
    if issubclass(cls, BaseModel):
        for info in cls.model_fields.values():
            yield from _list_marks(info.metadata)
            yield from _walk(info.annotation, seen)
        return
    for hint in _read_hints(cls).values():
        yield from _walk(hint, seen)


def _read_hints(cls: type[Any]) -> dict[str, Any]:
    """Return the types of the attributes of a class; those that cannot be found stay as text."""
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        options["format"] = Format.FORWARDREF
    try:
        return typing.get_type_hints(cls, include_extras=True, **options)
    except (NameError, TypeError):
        return dict(getattr(cls, "__annotations__", {}))


def _read_name(text: str) -> Iterator[MarkName]:
    """Yield the marks that a type which is only known as text names."""
    for word, name in _WORDS.items():
        if word in text:
            yield name


def _list_marks(metadata: Iterable[Any]) -> Iterator[MarkName]:
    for item in metadata:
        if isinstance(item, Mark):
            yield item.name
