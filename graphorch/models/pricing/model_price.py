"""The price of one model: what a call cost, and what it can cost at most.

Prices are in US dollars per million tokens, in tiers by the size of the call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphorch.models.messages import Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Dollars per million tokens for calls with more than `above` input tokens.

    All tokens of such a call cost this much. `dearest_input` is what the input costs at worst: with
    some providers, writing to their cache costs more than not using it.
    """

    above: int = 0
    input: float
    output: float
    cached_input: float
    dearest_input: float

    def apply_to(self, input_tokens: int) -> bool:
        """Return whether a call with so many input tokens is large enough for this tier."""
        return self.above == 0 or input_tokens > self.above

    def times(self, factor: float) -> Rates:
        """Return these rates with every price multiplied."""
        return Rates(
            above=self.above,
            input=self.input * factor,
            output=self.output * factor,
            cached_input=self.cached_input * factor,
            dearest_input=self.dearest_input * factor,
        )


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Tiers from small to large calls, a fee for each call, and prices of `other_hours`.

    `source` says where the price is from: `own` table or `list`.
    """

    tiers: tuple[Rates, ...]
    fee: float = 0.0
    other_hours: tuple[ModelPrice, ...] = ()
    source: str = "own"

    def cost(self, usage: Usage) -> float:
        """Return the dollars for these tokens at the hour that the price was looked up for."""
        rates = self._reachable_tiers(usage.input_tokens)[-1]
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        dollars_per_million = (
            fresh * rates.input + cached * rates.cached_input + usage.output_tokens * rates.output
        )
        return self.fee + dollars_per_million / _MILLION

    def worst(self, input_tokens: int, max_output_tokens: int) -> float:
        """Return the most dollars that a call with at most so many tokens can cost.

        The call may turn out smaller, so every tier up to its size counts, and so does every hour.
        """
        tiers = self._reachable_tiers(input_tokens)
        dearest_input = max(
            max(tier.input, tier.dearest_input, tier.cached_input) for tier in tiers
        )
        dearest_output = max(tier.output for tier in tiers)
        dollars_per_million = input_tokens * dearest_input + max_output_tokens * dearest_output
        bounds = [self.fee + dollars_per_million / _MILLION]
        bounds += [price.worst(input_tokens, max_output_tokens) for price in self.other_hours]
        return max(bounds)

    def times(self, factor: float) -> ModelPrice:
        """Return this price with everything multiplied."""
        return replace(
            self,
            tiers=tuple(tier.times(factor) for tier in self.tiers),
            fee=self.fee * factor,
            other_hours=tuple(price.times(factor) for price in self.other_hours),
        )

    def _reachable_tiers(self, input_tokens: int) -> list[Rates]:
        """Return the tiers up to that of a call with so many input tokens."""
        return [tier for tier in self.tiers if tier.apply_to(input_tokens)]
