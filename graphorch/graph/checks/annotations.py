"""What annotations of pure functions say, as far as they say something."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NewType, Union

import typing_extensions

from graphorch.errors import GraphError
from graphorch.graph.signature import inspect_callable, read_hints


def read_return(fn: Callable[..., Any]) -> Any:
    """Return the return annotation of a function, or None if it has none that can be read."""
    return _read_hints(fn).get("return")


def read_parameter(fn: Callable[..., Any], position: int) -> Any:
    """Return the annotation of a parameter, or None if it has none that can be read."""
    try:
        parameters = list(inspect_callable(fn).parameters.values())
    except GraphError:
        return None
    if position >= len(parameters):
        return None
    return _read_hints(fn).get(parameters[position].name)


def _read_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return read_hints(fn, {})
    # a name that is known to the type checker alone, or a callable without annotations
    except (GraphError, TypeError):
        return {}


def find_element(hint: Any) -> Any:
    """Return the type of an annotated list's elements.

    `object` if the annotation does not name it, None if it is not a list.
    """
    if hint is Any:
        return object
    origin = typing.get_origin(hint) or hint
    # A text is a sequence too, but not a list of items.
    is_list = isinstance(origin, type) and issubclass(origin, Sequence)
    if not is_list or issubclass(origin, str | bytes):
        return None
    arguments = typing.get_args(hint)
    return arguments[0] if arguments else object


def is_clash(given: Any, *wanted: Any) -> bool:
    """Return whether some value of type `given` is of none of the `wanted` types.

    False if the annotations are too vague to know.
    """
    given = _resolve(given)
    if typing.get_origin(given) in (Union, types.UnionType):
        return any(is_clash(part, *wanted) for part in typing.get_args(given))
    if typing.get_origin(given) is Literal:
        return any(is_clash(type(value), *wanted) for value in typing.get_args(given))
    vague = (object, Any)  # `Any` is a class, from Python 3.11 on
    if given in vague or any(part in vague for part in wanted):
        return False
    if not all(isinstance(part, type) for part in (given, *wanted)):
        return False
    # What a comparison in numpy or torch gives is read when it is there.
    if hasattr(given, "ndim") and hasattr(given, "item"):
        return False
    # True and False are not numbers here, although Python counts with them.
    if given is bool:
        return bool not in wanted
    return not issubclass(given, wanted)


def _resolve(hint: Any) -> Any:
    """Return the type that an alias, `Annotated`, `NewType` or `TypeGuard` stands for."""
    while True:
        origin = typing.get_origin(hint)
        if origin is Annotated:
            hint = typing.get_args(hint)[0]
        elif origin in (typing.TypeGuard, typing_extensions.TypeIs):
            return bool
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif hasattr(hint, "__value__"):
            hint = hint.__value__
        else:
            return hint


def format_hint(hint: Any) -> str:
    """Return an annotation as an author writes it: `list[Topic]`."""
    arguments = typing.get_args(hint)
    if hint is type(None):
        return "None"
    if typing.get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(format_hint, arguments))
    if typing.get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    name = getattr(hint, "__name__", str(hint).removeprefix("typing."))
    if arguments:
        return f"{name}[{', '.join(format_hint(argument) for argument in arguments)}]"
    return "…" if hint is ... else name
