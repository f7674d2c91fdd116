"""List prices of the `genai-prices` package, read with suspicion: what it only guesses by the beginning of a name is unknown to us.

Loading its data takes half a second, so it happens at the first look-up.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from graphorch.models.price import Price, Rates, without_snapshot

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, ModelPrice, Provider

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
    return {each.id: each for each in providers}


def _maker_of(name: str, providers: dict[str, Provider]) -> str:
    """The provider that a bare name belongs to, or nothing if that is not certain."""
    makers = [each.id for each in providers.values() if each.model_match is not None and each.model_match.is_match(name)]
    return makers[0] if len(makers) == 1 else ""


def _model_of(provider: Provider, name: str) -> ModelInfo | None:
    """The model of exactly this name, else the model of which this name is a dated snapshot."""
    for wanted in dict.fromkeys((name, without_snapshot(name))):
        for model in provider.models:
            if wanted == model.id or (wanted in _exact_names(model.match) and model.is_match(wanted)):
                return model
    return None


def _exact_names(match: MatchLogic) -> set[str]:
    """The names that a rule spells out; a rule about the beginning counts for that beginning itself and nothing longer."""
    from genai_prices.types import ClauseAnd, ClauseEquals, ClauseOr, ClauseStartsWith

    match match:
        case ClauseEquals(equals=name) | ClauseStartsWith(starts_with=name):
            return {name.lower()}
        case ClauseOr(or_=clauses) | ClauseAnd(and_=clauses):
            return set[str]().union(*(_exact_names(each) for each in clauses))
        case _:
            return set()


def _price_of(model: ModelInfo, now: datetime) -> Price | None:
    """The price at this moment, with the others of the next day beside it: a call may be billed at another hour than it was asked.

    None if the model is not paid by input and output tokens.
    """
    coming = [_read(model.get_prices(now + _HALF_HOUR * step)) for step in range(49 if isinstance(model.prices, list) else 1)]
    current = coming[0]
    if current is None or None in coming:
        return None
    others = [each for each in dict.fromkeys(coming) if each is not None and each != current]
    return replace(current, other_hours=tuple(others))


def _read(price: ModelPrice) -> Price | None:
    """One price of the package in our form."""
    tables = {name: _steps(value) for name, value in vars(price).items() if value is not None and name.endswith(("_mtok", "_kcount"))}
    if "input_mtok" not in tables or "output_mtok" not in tables:
        return None
    starts = sorted({0, *(start for steps in tables.values() for start in steps)})
    fee = _at(tables.get("requests_kcount", {0: 0.0}), 0) / 1000
    return Price(tuple(_rates(tables, start) for start in starts), fee, (), "list")


def _rates(tables: dict[str, dict[int, float]], above: int) -> Rates:
    """The rates of one tier. Usage does not say how much of the output was reasoning, so the dearer of the two counts for all of it."""
    usual = _at(tables["input_mtok"], above)
    writes = [_at(tables[name], above) for name in ("cache_write_mtok", "cache_write_1h_mtok") if name in tables]
    outputs = [_at(tables[name], above) for name in ("output_mtok", "output_reasoning_mtok") if name in tables]
    cached = _at(tables["cache_read_mtok"], above) if "cache_read_mtok" in tables else usual
    return Rates(above=above, input=usual, output=max(outputs), cached_input=cached, dearest_input=max(usual, *writes, cached))


def _steps(value: object) -> dict[int, float]:
    """A price as {start of the tier: dollars}; a price without tiers has one that starts at 0."""
    from genai_prices.types import TieredPrices

    if isinstance(value, TieredPrices):
        return {0: float(value.base), **{tier.start: float(tier.price) for tier in value.tiers}}
    return {0: float(value)} if isinstance(value, Decimal) else {}


def _at(steps: dict[int, float], above: int) -> float:
    return steps[max(start for start in steps if start <= above)]
