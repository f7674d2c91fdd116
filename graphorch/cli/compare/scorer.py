"""Score of a comparison: a function of the user, found by its reference and called with care."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.cli.compare.cases import Case
from graphorch.cli.flow_loader import load_module
from graphorch.cli.terminal import sanitize_line
from graphorch.errors import InputError, did_you_mean
from graphorch.graph.signature import inspect_callable


@dataclass(frozen=True, slots=True)
class Scorer:
    """A score function, and whether it takes the whole line of the case as a third argument."""

    name: str
    function: Callable[..., Any]
    takes_line: bool

    def rate(self, case: Case, side: int, output: BaseModel) -> float:
        """Return the score of an output.

        Raises `InputError` that names the line if the function raises, or returns no finite
        number.
        """
        arguments: list[Any] = [case.inputs[side], output]
        if self.takes_line:
            arguments.append(case.values)
        where = f"The score {self.name} of line {case.line}"
        try:
            value = self.function(*arguments)
        except Exception as error:  # the border to the user's code: it may raise anything
            raise InputError(
                f"{where} raised {type(error).__name__}: {sanitize_line(str(error), 200)}. "
                "Correct the function, or the line."
            ) from error
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"{where} must be a finite number, got {sanitize_line(repr(value))}. "
                "Return a float, more is better."
            )
        return float(value)


def load_scorer(reference: str) -> Scorer:
    """Return the score function that a reference means.

    Raises `InputError` if there is none that can be called with an input and an output.
    """
    module, source, name = load_module(reference)
    if not name:
        raise InputError(
            f"--score {reference} names no function. Write path.py:function or module:function."
        )
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    function = functions.get(name)
    if function is None:
        raise InputError(
            f"--score: {source} has no function '{name}'. {did_you_mean(name, functions)}"
        )
    if inspect.iscoroutinefunction(function):
        raise InputError(
            f"--score: '{name}' is async. A score is a plain function of an input and an output."
        )
    signature = inspect_callable(function)
    if _accepts(signature, 3):
        return Scorer(name, function, takes_line=True)
    if _accepts(signature, 2):
        return Scorer(name, function, takes_line=False)
    raise InputError(
        f"--score: '{name}{signature}' cannot be called with an input and an output. "
        f"Write def {name}(input, output) -> float."
    )


def _accepts(signature: inspect.Signature, count: int) -> bool:
    """Return whether a function can be called with this many positional arguments."""
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
