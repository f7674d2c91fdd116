"""The price of one model: what a call cost, and what it can cost at most. Dollars per million tokens, in tiers by the size of the call.

List prices of the `genai-prices` package, read with suspicion: what it only guesses by the beginning of a name is unknown to us.

Loading its data takes half a second, so it happens at the first look-up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from graphorch.models.messages import Usage
from graphorch.models.token_count import without_snapshot

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, Provider


_MILLION = 1_000_000

# A suffix that names a snapshot of a model and not another model: `-2025-08-07`, `-20250929`.


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
        rates = [tier for tier in self.tiers if tier.above == 0 or usage.input_tokens > tier.above][
            -1
        ]
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        return (
            self.fee
            + (
                fresh * rates.input
                + cached * rates.cached_input
                + usage.output_tokens * rates.output
            )
            / _MILLION
        )

    def worst(self, input_tokens: int, max_output_tokens: int) -> float:
        """The most dollars that a call can cost which has at most so many tokens: in any tier up to there, at any hour."""
        reachable = [
            rates for rates in self.tiers if rates.above == 0 or input_tokens > rates.above
        ]
        dearest_input = max(
            max(rates.input, rates.dearest_input, rates.cached_input) for rates in reachable
        )
        dearest_output = max(rates.output for rates in reachable)
        here = (
            self.fee
            + (input_tokens * dearest_input + max_output_tokens * dearest_output) / _MILLION
        )
        return max(
            [here, *(price.worst(input_tokens, max_output_tokens) for price in self.other_hours)]
        )

    def times(self, factor: float) -> Price:
        """The same price with everything multiplied."""
        tiers = tuple(
            replace(
                rates,
                input=rates.input * factor,
                output=rates.output * factor,
                cached_input=rates.cached_input * factor,
                dearest_input=rates.dearest_input * factor,
            )
            for rates in self.tiers
        )
        return Price(
            tiers,
            self.fee * factor,
            tuple(price.times(factor) for price in self.other_hours),
            self.source,
        )


# What gateways call a provider, by what the package calls it; every other name has to be the package's own.
_PROVIDERS = {
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "vertex": "google",
    "vertex_ai": "google",
    "xai": "x-ai",
    "z-ai": "zai",
}
_HALF_HOUR = timedelta(minutes=30)


class ListPrices:
    """Finds list prices; finds nothing if the package is not installed."""

    def __init__(self) -> None:
        self._providers: dict[str, Provider] | None = None

    def of(self, name: str, now: datetime) -> Price | None:
        """The list price of `provider/model`, or of a bare model name at the one provider that made it."""
        if self._providers is None:
            self._providers = _load()
        provider_name, slash, model_name = name.partition("/")
        if not slash:
            provider_name, model_name = _maker_of(name, self._providers), name
        provider = self._providers.get(_PROVIDERS.get(provider_name, provider_name))
        model = None if provider is None else _model_of(provider, model_name)
        return None if model is None else _price_of(model, now)


def _load() -> dict[str, Provider]:
    """The data that is part of the package: importing it reads no network and no file outside the package."""
    try:
        from genai_prices.data import providers
    except ImportError:
        return {}
    return {provider.id: provider for provider in providers}


def _maker_of(name: str, providers: dict[str, Provider]) -> str:
    """The provider that a bare name belongs to, or nothing if that is not certain."""
    makers = [
        provider.id
        for provider in providers.values()
        if provider.model_match is not None and provider.model_match.is_match(name)
    ]
    return makers[0] if len(makers) == 1 else ""


def _model_of(provider: Provider, name: str) -> ModelInfo | None:
    """The model of exactly this name, else the model of which this name is a dated snapshot."""
    for wanted in dict.fromkeys((name, without_snapshot(name))):
        for model in provider.models:
            if wanted == model.id or (
                wanted in _exact_names(model.match) and model.is_match(wanted)
            ):
                return model
    return None


def _exact_names(match: MatchLogic) -> set[str]:
    """The names that a rule spells out; a rule about the beginning counts for that beginning itself and nothing longer."""
    from genai_prices.types import ClauseAnd, ClauseEquals, ClauseOr, ClauseStartsWith

    match match:
        case ClauseEquals(equals=name) | ClauseStartsWith(starts_with=name):
            return {name.lower()}
        case ClauseOr(or_=clauses) | ClauseAnd(and_=clauses):
            return set[str]().union(*(_exact_names(logic) for logic in clauses))
        case _:
            return set()


def _price_of(model: ModelInfo, now: datetime) -> Price | None:
    """The price at this moment, with the others of the next day beside it: a call may be billed at another hour than it was asked.

    None if the model is not paid by input and output tokens.
    """
    coming = [
        _read(model.get_prices(now + _HALF_HOUR * step))
        for step in range(49 if isinstance(model.prices, list) else 1)
    ]
    current = coming[0]
    if current is None or None in coming:
        return None
    others = [price for price in dict.fromkeys(coming) if price is not None and price != current]
    return replace(current, other_hours=tuple(others))


def _read(price: ModelPrice) -> Price | None:
    """One price of the package in our form."""
    tables = {
        name: _steps(value)
        for name, value in vars(price).items()
        if value is not None and name.endswith(("_mtok", "_kcount"))
    }
    if "input_mtok" not in tables or "output_mtok" not in tables:
        return None
    starts = sorted({0, *(start for steps in tables.values() for start in steps)})
    fee = _at(tables.get("requests_kcount", {0: 0.0}), 0) / 1000
    return Price(tuple(_rates(tables, start) for start in starts), fee, (), "list")


def _rates(tables: dict[str, dict[int, float]], above: int) -> Rates:
    """The rates of one tier. Usage does not say how much of the output was reasoning, so the dearer of the two counts for all of it."""
    usual = _at(tables["input_mtok"], above)
    writes = [
        _at(tables[name], above)
        for name in ("cache_write_mtok", "cache_write_1h_mtok")
        if name in tables
    ]
    outputs = [
        _at(tables[name], above)
        for name in ("output_mtok", "output_reasoning_mtok")
        if name in tables
    ]
    cached = _at(tables["cache_read_mtok"], above) if "cache_read_mtok" in tables else usual
    return Rates(
        above=above,
        input=usual,
        output=max(outputs),
        cached_input=cached,
        dearest_input=max(usual, *writes, cached),
    )


def _steps(value: object) -> dict[int, float]:
    """A price as {start of the tier: dollars}; a price without tiers has one that starts at 0."""
    from genai_prices.types import TieredPrices

    if isinstance(value, TieredPrices):
        return {0: float(value.base), **{tier.start: float(tier.price) for tier in value.tiers}}
    return {0: float(value)} if isinstance(value, Decimal) else {}


def _at(steps: dict[int, float], above: int) -> float:
    return steps[max(start for start in steps if start <= above)]
