"""Wrong calls of public functions: the message shows a right one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from graphorch.errors import WrongCall, did_you_mean
from graphorch.text import plural

F = TypeVar("F", bound=Callable[..., Any])


def shows_right_call(usage: str) -> Callable[[F], F]:
    """Return a decorator: a call whose arguments do not fit raises `WrongCall` with `usage`."""
    name = usage.partition("(")[0].removeprefix("graph.").removeprefix("flow.")

    def decorate(fn: F) -> F:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            except TypeError as error:
                # With a second entry the call was right, and something inside of it failed.
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise
                problem = _describe(fn, args, kwargs) or str(error).partition("() ")[2]
            raise WrongCall(f"{name}() {problem}. Write {usage}.")

        return cast(F, call)

    return decorate


def _describe(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return what is wrong with these arguments, or "" if it is something else."""
    known = list(inspect.signature(fn).parameters.values())
    if known and known[0].name == "self":
        known, args = known[1:], args[1:]
    by_position = [
        parameter
        for parameter in known
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(args) > len(by_position) and not any(
        parameter.kind is parameter.VAR_POSITIONAL for parameter in known
    ):
        count = len(by_position)
        takes = "takes its arguments by name"
        if count:
            takes = f"takes {plural(count, 'argument')} by position"
        return f"{takes}, got {len(args)}"

    names = [parameter.name for parameter in known]
    unknown = [name for name in kwargs if name not in names]
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        return f"has no argument '{unknown[0]}'. {did_you_mean(unknown[0], names)}".rstrip(".")

    given = {*kwargs, *(parameter.name for parameter in by_position[: len(args)])}
    missing = [
        f"'{parameter.name}'"
        for parameter in known
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in given
    ]
    return f"needs {' and '.join(missing)}" if missing else ""
