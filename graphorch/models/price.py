"""The price of one model: what a call cost, and what it can cost at most. Dollars per million tokens, in tiers by the size of the call."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from graphorch.models.messages import Usage

_MILLION = 1_000_000

# A suffix that names a snapshot of a model and not another model: `-2025-08-07`, `-20250929`.
_SNAPSHOT = re.compile(r"-(?:20\d\d-[01]\d-[0-3]\d|20\d\d[01]\d[0-3]\d)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Dollars per million tokens of calls with more than `above` input tokens; all tokens of such a call cost this much.

    `dearest_input` is what the input costs at worst: with some providers, writing to their cache costs more than not using it.
    """

    above: int = 0
    input: float
    output: float
    cached_input: float
    dearest_input: float


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one model: its tiers from small to large calls, a fee for each call, and prices of `other_hours`.

    `source` says where it is from: `own` table or `list`.
    """

    tiers: tuple[Rates, ...]
    fee: float = 0.0
    other_hours: tuple[Price, ...] = ()
    source: str = "own"

    def cost(self, usage: Usage) -> float:
        """Dollars for these tokens, at the hour that the price was looked up for."""
        rates = [each for each in self.tiers if each.above == 0 or usage.input_tokens > each.above][-1]
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        return self.fee + (fresh * rates.input + cached * rates.cached_input + usage.output_tokens * rates.output) / _MILLION

    def worst(self, input_tokens: int, max_output_tokens: int) -> float:
        """The most dollars that a call can cost which has at most so many tokens: in any tier up to there, at any hour."""
        reachable = [each for each in self.tiers if each.above == 0 or input_tokens > each.above]
        dearest_input = max(max(each.input, each.dearest_input, each.cached_input) for each in reachable)
        dearest_output = max(each.output for each in reachable)
        here = self.fee + (input_tokens * dearest_input + max_output_tokens * dearest_output) / _MILLION
        return max([here, *(each.worst(input_tokens, max_output_tokens) for each in self.other_hours)])

    def times(self, factor: float) -> Price:
        """The same price with everything multiplied."""
        tiers = tuple(
            replace(
                each,
                input=each.input * factor,
                output=each.output * factor,
                cached_input=each.cached_input * factor,
                dearest_input=each.dearest_input * factor,
            )
            for each in self.tiers
        )
        return Price(tiers, self.fee * factor, tuple(each.times(factor) for each in self.other_hours), self.source)


def without_snapshot(name: str) -> str:
    """The model of a dated snapshot: `openai/gpt-5-2025-08-07` → `openai/gpt-5`."""
    return _SNAPSHOT.sub("", name)
