"""What a callable of the user is: plain or async, a function, a method, a partial or an object."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any, cast


class NotCalled:
    """Base of what is not called itself, though a call of it is understood, to explain that."""

    __slots__ = ()


def is_function(value: object) -> bool:
    """Return whether a value can be called to run something: a function, a method, an object."""
    return callable(value) and not isinstance(value, NotCalled)


def is_partial(function: object) -> bool:
    """Return whether this is a `functools.partial`."""
    return isinstance(function, functools.partial)


def is_async(function: object) -> bool:
    """Return whether a call of this gives something to await, as far as it can be seen.

    Partials and objects with an async `__call__` count. A plain wrapper around an async function
    is only known by what it returns: see `is_unfinished`.
    """
    inner = _unwrap(function)
    return any(map(inspect.iscoroutinefunction, (inner, _find_call(inner))))


def never_runs(function: object) -> bool:
    """Return whether a call runs nothing of its body: an async function, or a generator."""
    return is_async(function) or is_generator(function)


def is_generator(function: object) -> bool:
    """Return whether a call of this gives a generator, plain or async."""
    inner = _unwrap(function)
    kinds = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(kind(part) for kind in kinds for part in (inner, _find_call(inner)))


def is_unfinished(result: object) -> bool:
    """Return whether a call returned work that has not begun: a coroutine or a generator.

    A task or a future is under way by itself.
    """
    if asyncio.isfuture(result):
        return False
    return isinstance(result, Awaitable | Generator | AsyncGenerator)


def discard(result: object) -> None:
    """Close a coroutine that is not awaited, so that Python does not warn of it later."""
    close = getattr(result, "close", None)
    if callable(close) and inspect.iscoroutine(result):
        close()


def find_annotated(function: object) -> Any:
    """Return what holds the annotations of a callable: a function, a method or a class."""
    inner = _unwrap(function)
    call = _find_call(inner)
    return inner if call is None else call


def get_doc(function: object) -> str:
    """Return the docstring of a callable; that of `__call__`, else of the class, for an object."""
    inner = _unwrap(function)
    call = _find_call(inner)
    if call is None:
        return inspect.getdoc(inner) or ""
    # Not `getdoc`, which would inherit "Call self as a function."
    return inspect.cleandoc(call.__doc__ or type(inner).__doc__ or "")


def get_name(function: object) -> str:
    """Return the name of a callable for a message; that of the class for an object."""
    own: object = getattr(function, "__name__", None)
    if own:
        return str(own)
    inner = _unwrap(function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _unwrap(function: object) -> object:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return function


def _find_call(function: object) -> Any:
    """Return the `__call__` of an object's class; None for a function or a class."""
    if inspect.isroutine(function) or inspect.isclass(function):
        return None
    return getattr(type(function), "__call__", None)  # noqa: B004  (to look into it)
