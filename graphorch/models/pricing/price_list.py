"""List prices of the `genai-prices` package, read with suspicion.

What the package only guesses by the beginning of a name is unknown to us. Loading its data takes
half a second, so it happens at the first look-up.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from graphorch.models.pricing.model_price import ModelPrice, Rates
from graphorch.models.token_count import strip_snapshot

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelInfo, Provider
    from genai_prices.types import ModelPrice as PackagePrice

_Steps: TypeAlias = dict[int, float]
"""Start of a tier in input tokens → dollars."""

# What gateways call a provider → what the package calls it; other names must be the package's own.
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
_HALF_HOURS_OF_A_DAY = 48


class ListPrices:
    """List prices by model name."""

    def __init__(self) -> None:
        self._providers: dict[str, Provider] | None = None

    def find(self, name: str, now: datetime) -> ModelPrice | None:
        """Return the list price of `provider/model`, or of a bare name at the provider it is from.

        None if the model is not in the list, or a bare name fits several providers.
        """
        if self._providers is None:
            self._providers = _load_providers()
        provider_name, slash, model_name = name.partition("/")
        if not slash:
            provider_name, model_name = _find_maker(name, self._providers), name
        provider = self._providers.get(_PROVIDERS.get(provider_name, provider_name))
        if provider is None:
            return None
        model = _find_model(provider, model_name)
        return None if model is None else _read_prices(model, now)


def _load_providers() -> dict[str, Provider]:
    """Return the data of the package by provider: no network, no file outside of the package."""
    from genai_prices.data import providers

    return {provider.id: provider for provider in providers}


def _find_maker(name: str, providers: dict[str, Provider]) -> str:
    """Return the provider that a bare model name belongs to, or "" if that is not certain."""
    makers = [
        provider.id
        for provider in providers.values()
        if provider.model_match is not None and provider.model_match.is_match(name)
    ]
    return makers[0] if len(makers) == 1 else ""


def _find_model(provider: Provider, name: str) -> ModelInfo | None:
    """Return the model of exactly this name, else the model that this name is a snapshot of."""
    for candidate in dict.fromkeys((name, strip_snapshot(name))):
        for model in provider.models:
            is_spelled_out = candidate in _list_exact_names(model.match)
            if candidate == model.id or (is_spelled_out and model.is_match(candidate)):
                return model
    return None


def _list_exact_names(match: MatchLogic) -> set[str]:
    """Return the names that a rule spells out.

    A rule about the beginning of a name counts for that beginning itself and nothing longer.
    """
    from genai_prices.types import ClauseAnd, ClauseEquals, ClauseOr, ClauseStartsWith

    match match:
        case ClauseEquals(equals=name) | ClauseStartsWith(starts_with=name):
            return {name.lower()}
        case ClauseOr(or_=clauses) | ClauseAnd(and_=clauses):
            return set[str]().union(*(_list_exact_names(clause) for clause in clauses))
        case _:
            return set()


def _read_prices(model: ModelInfo, now: datetime) -> ModelPrice | None:
    """Return the price at this moment, with the other prices of the next day beside it.

    A call may be billed at another hour than it was made. None if the model is not paid by input
    and output tokens.
    """
    # only a list of prices depends on the time
    half_hours = _HALF_HOURS_OF_A_DAY if isinstance(model.prices, list) else 0
    prices: list[ModelPrice] = []
    for step in range(half_hours + 1):
        price = _convert(model.get_prices(now + _HALF_HOUR * step))
        if price is None:
            return None
        prices.append(price)
    current, *others = dict.fromkeys(prices)
    return replace(current, other_hours=tuple(others))


def _convert(price: PackagePrice) -> ModelPrice | None:
    """Return a price of the package in our form; None without prices of input and output."""
    tables = {
        name: _read_steps(value)
        for name, value in vars(price).items()
        if value is not None and name.endswith(("_mtok", "_kcount"))
    }
    if "input_mtok" not in tables or "output_mtok" not in tables:
        return None
    starts = {0}.union(*tables.values())
    tiers = tuple(_build_rates(tables, start) for start in sorted(starts))
    fee = _look_up(tables.get("requests_kcount", {0: 0.0}), 0) / 1000
    return ModelPrice(tiers, fee, source="list")


def _build_rates(tables: dict[str, _Steps], above: int) -> Rates:
    """Return the rates of one tier.

    Usage does not say how much of the output was reasoning, so the dearer of the two prices counts
    for all of it. Writing to a cache may cost more than plain input.
    """

    def look_up_all(*names: str) -> list[float]:
        return [_look_up(tables[name], above) for name in names if name in tables]

    usual = _look_up(tables["input_mtok"], above)
    (cached,) = look_up_all("cache_read_mtok") or [usual]
    writes = look_up_all("cache_write_mtok", "cache_write_1h_mtok")
    return Rates(
        above=above,
        input=usual,
        output=max(look_up_all("output_mtok", "output_reasoning_mtok")),
        cached_input=cached,
        dearest_input=max(usual, cached, *writes),
    )


def _read_steps(value: object) -> _Steps:
    """Return a price by the start of its tiers; a price without tiers starts at 0."""
    from genai_prices.types import TieredPrices

    if isinstance(value, TieredPrices):
        return {0: float(value.base), **{tier.start: float(tier.price) for tier in value.tiers}}
    return {0: float(value)} if isinstance(value, Decimal) else {}


def _look_up(steps: _Steps, above: int) -> float:
    """Return the price of the last tier that starts at or below a number of input tokens."""
    return steps[max(start for start in steps if start <= above)]
