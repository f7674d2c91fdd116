"""The score of a comparison: a user's function, found by its reference and called with care."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.cli.cases import Case
from graphorch.cli.finding import loaded
from graphorch.cli.safe import one_line
from graphorch.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Score:
    """A score function, and whether it wants the whole line of the case too."""

    name: str
    fn: Callable[..., Any]
    wants_line: bool

    def of(self, case: Case, side: int, output: BaseModel) -> float:
        """The score of an output. Raises `InputError`, with the line of the case, if the function raises or returns no number."""
        given = (
            (case.inputs[side], output, case.told)
            if self.wants_line
            else (case.inputs[side], output)
        )
        where = f"The score {self.name} of line {case.line}"
        try:
            value = self.fn(*given)
        except Exception as error:  # the border to the user's code: anything may come out of it
            raise InputError(
                f"{where} raised {type(error).__name__}: {one_line(str(error), 200)}. Correct the function, or the line."
            ) from error
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"{where} is {one_line(repr(value))}, and has to be a finite number. Return a float, more is better."
            )
        return float(value)


def score_of(reference: str) -> Score:
    """The function that a reference means. Raises `InputError` if there is none that can be called with an input and an output."""
    module, shown, name = loaded(reference)
    if not name:
        raise InputError(
            f"--score {reference} names no function. Write path.py:function or module:function."
        )
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    fn = functions.get(name)
    if fn is None:
        raise InputError(
            f"--score: {shown} has no function '{name}'. {did_you_mean(name, functions)}"
        )
    if inspect.iscoroutinefunction(fn):
        raise InputError(
            f"--score: '{name}' is async, and a score is a plain function of an input and an output."
        )
    for count in (3, 2):
        try:
            inspect.signature(fn).bind(*range(count))
        except TypeError:
            continue
        return Score(name, fn, count == 3)
    raise InputError(
        f"--score: '{name}{inspect.signature(fn)}' cannot be called with an input and an output. Write def {name}(input, output) -> float."
    )
