"""Prices of the model calls that an estimate counts, from the configuration and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphorch.graph.estimate.amounts import Pricing, Tariff
from graphorch.graph.estimate.limits import ModelPace, Pace
from graphorch.models.config.environment import merge_environment
from graphorch.models.config.schema import (
    DEFAULT_MODEL,
    POLICY_PREFIX,
    Config,
    PolicyConfig,
    TargetConfig,
)
from graphorch.models.openai.gateways import GATEWAYS
from graphorch.models.pricing.model_price import ModelPrice, Rates
from graphorch.models.pricing.prices import Prices

FREE = ModelPrice((Rates(input=0, output=0, cached_input=0, dearest_input=0),))


def build_tariff(config: Config, environment: Mapping[str, str]) -> Tariff:
    """Return the tariff of a program with this configuration.

    Without an endpoint the embedded model answers agents that name no model, and is free.
    """
    return _ConfiguredTariff(merge_environment(config, environment)).find_prices


def build_pace(config: Config) -> Pace:
    """Return the limits of models in this configuration, but not those of a policy's targets."""

    def find_pace(model: str) -> ModelPace | None:
        name = config.default_model if model == DEFAULT_MODEL else model
        limits = config.limits.get(name or model)
        return None if limits is None else ModelPace(limits.concurrency, limits.rpm)

    return find_pace


class _ConfiguredTariff:
    """Prices of what a model's name reaches: a target, or a policy over several."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def find_prices(self, model: str) -> Sequence[Pricing] | None:
        """Return the prices of all requests that one call may make.

        None if the price of one of them is not known.
        """
        name = model
        if model == DEFAULT_MODEL:
            if self._config.default_model is None and not self._config.endpoints:
                return (FREE,)
            name = self._config.default_model or model
        target = TargetConfig(model=name)
        if not self._config.is_own_policy(target):
            return self._price_target(target)
        return self._price_policy(self._config.policies[name.removeprefix(POLICY_PREFIX)])

    def _price_policy(self, policy: PolicyConfig) -> Sequence[Pricing] | None:
        """Return the prices of every target in every round, each twice if calls are hedged."""
        round_prices: list[Pricing] = []
        for target in policy.targets:
            if self._config.is_own_policy(target):
                prices = self.find_prices(target.model)
            else:
                prices = self._price_target(target)
            if prices is None:
                return None
            round_prices += prices
        copies = 1 if policy.hedge_after is None else 2
        return round_prices * (policy.rounds * copies)

    def _price_target(self, target: TargetConfig) -> Sequence[Pricing] | None:
        """Return a price for each time that the target may be called.

        Of several models that may answer in its place, the dearest counts each time.
        """
        endpoint = self._config.endpoints.get(self._config.find_endpoint(target) or "")
        gateway = GATEWAYS["generic" if endpoint is None else endpoint.dialect]
        attempts, markup = gateway.attempts, gateway.markup
        if endpoint is not None:
            attempts = endpoint.attempts or attempts
            if endpoint.free:
                return [FREE] * attempts
            if endpoint.markup is not None:
                markup = endpoint.markup

        prices = Prices(self._config.prices, markup=markup)
        known: list[Pricing] = []
        for model in target.reaches or [target.model]:
            price = prices.find_price(model)
            if price is None:
                return None
            known.append(price)
        return [max(known, key=_price_sample_call)] * attempts


def _price_sample_call(price: Pricing) -> float:
    """Return the dollars of a call of usual size, by which prices are compared."""
    return price.worst(1_000, 1_000)
