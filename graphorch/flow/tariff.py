"""What the calls of a model may cost, as the configuration and the environment say: whom a name reaches, and how often each may be paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphorch.graph.estimate.amounts import Pricing, Tariff
from graphorch.models.config.environment import is_configured
from graphorch.models.config.schema import POLICY_PREFIX, Config, TargetConfig
from graphorch.models.openai.gateways import GATEWAYS
from graphorch.models.pricing.model_price import ModelPrice, Rates
from graphorch.models.pricing.prices import Prices

FREE = ModelPrice((Rates(input=0, output=0, cached_input=0, dearest_input=0),))


def build_tariff(config: Config, environment: Mapping[str, str]) -> Tariff:
    """The tariff of a program with this configuration. Without an endpoint the embedded model answers, and that is free."""
    if not is_configured(environment, config):
        return lambda model: (FREE,)
    return _PriceTableTariff(
        config, config.default_model or environment.get("GRAPHORCH_MODEL", "")
    ).of


class _PriceTableTariff:
    def __init__(self, config: Config, default: str) -> None:
        self._config = config
        self._default = default

    def of(self, model: str) -> Sequence[Pricing] | None:
        """The prices of all requests that one call may make; None if one of them is not known."""
        name = self._default if model == "default" else model
        target = TargetConfig(model=name or model)
        if not self._config.is_own_policy(target):
            return self._of_target(target)
        policy = self._config.policies[name.removeprefix(POLICY_PREFIX)]
        found: list[Pricing] = []
        for config in policy.targets:
            prices = (
                self.of(config.model)
                if self._config.is_own_policy(config)
                else self._of_target(config)
            )
            if prices is None:
                return None
            found += prices
        return found * (policy.rounds * (2 if policy.hedge_after is not None else 1))

    def _of_target(self, target: TargetConfig) -> Sequence[Pricing] | None:
        """One price for each time that the target may be asked; of several models that may answer in its place, the dearest each time."""
        endpoint = self._config.endpoints.get(self._config.find_endpoint(target) or "")
        gateway = GATEWAYS[endpoint.dialect if endpoint is not None else "generic"]
        attempts = (
            endpoint.attempts if endpoint is not None and endpoint.attempts else gateway.attempts
        )
        if endpoint is not None and endpoint.free:
            return [FREE] * attempts
        markup = gateway.markup if endpoint is None or endpoint.markup is None else endpoint.markup
        prices = Prices(self._config.prices, markup=markup)
        found = [prices.find_price(reach) for reach in target.reaches or [target.model]]
        known = [price for price in found if price is not None]
        if len(known) < len(found):
            return None
        return [max(known, key=lambda price: price.worst(1_000, 1_000))] * attempts
