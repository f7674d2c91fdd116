"""Values of an estimate: amounts, assumptions, and gaps where nothing bounds a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Protocol, TypeAlias, cast

from graphorch.errors import InputError
from graphorch.graph.options import is_number
from graphorch.models.messages import Usage

Figure: TypeAlias = Literal["calls", "tokens", "dollars", "seconds"]


class Pricing(Protocol):
    """Price of the calls of one model, in dollars."""

    def cost(self, usage: Usage, /) -> float:
        """Return the price of these tokens."""
        ...

    def worst(self, input_tokens: int, max_output_tokens: int, /) -> float:
        """Return the highest price that so many tokens can have."""
        ...


Tariff: TypeAlias = Callable[[str], Sequence[Pricing] | None]
"""Pricing of each request that one call of a model may make, the usual one first.

A policy may make several requests. None if the price of one of them is unknown.
"""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Activations, model calls, tokens, dollars and seconds; `inf` where nothing bounds them."""

    activations: float = 0.0
    calls: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    usd: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Amounts) -> Amounts:
        pairs = zip(self.values(), other.values(), strict=True)
        return Amounts(*(left + right for left, right in pairs))

    def times(self, count: float) -> Amounts:
        """Return the amounts of `count` repetitions; zero times infinity is zero."""
        if not count:
            return Amounts()
        return Amounts(*(value and value * count for value in self.values()))

    def or_more(self, other: Amounts) -> Amounts:
        """Return the larger of each figure."""
        return Amounts(*map(max, self.values(), other.values()))

    def values(self) -> tuple[float, ...]:
        """Return the figures in the order of the fields."""
        return (
            self.activations,
            self.calls,
            self.input_tokens,
            self.output_tokens,
            self.usd,
            self.seconds,
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """Figure of a node (a path) that nothing bounds, why, and what would bound it."""

    path: str
    figure: Figure
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.figure} of '{self.path}': {self.why}. {self.fix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """Assumptions about what a structure cannot show; a default is a rule of thumb.

    No prompt exceeds `longest_prompt` tokens: the worst case rests on it. The others are for the
    expected case only: the tokens of a usual prompt and answer, the seconds to the first token and
    the tokens per second after it, and the share (0 to 1) of the further iterations of a loop and
    of the items of a map that a usual run needs.

    Raises `InputError` for a value that is out of range.
    """

    longest_prompt: int = 8_000
    usual_prompt: int = 2_000
    usual_answer: int = 500
    first_token: float = 1.0
    tokens_per_second: float = 50.0
    share: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if not (is_number(value) and cast(float, value) >= 0):
                raise InputError(
                    f"Assumed({field.name}={value!r}) is not possible. "
                    "Give a finite number from 0 on."
                )
        if self.share > 1 or self.tokens_per_second == 0:
            raise InputError(
                f"Assumed(share={self.share:g}, "
                f"tokens_per_second={self.tokens_per_second:g}): a share is at most 1, a "
                "speed above 0."
            )
        if self.usual_prompt > self.longest_prompt:
            raise InputError(
                f"Assumed(usual_prompt={self.usual_prompt:,}, "
                f"longest_prompt={self.longest_prompt:,}): the usual prompt is longer "
                "than the longest one. "
                "Raise longest_prompt, or lower usual_prompt."
            )
