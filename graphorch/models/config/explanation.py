"""Explain in words where a model's name leads: its policy, targets, endpoints, keys and prices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphorch.errors import InputError, did_you_mean
from graphorch.models.config.environment import merge_environment
from graphorch.models.config.schema import (
    ENVIRONMENT,
    POLICY_PREFIX,
    Config,
    EndpointConfig,
    LimitsConfig,
    PolicyConfig,
    TargetConfig,
)
from graphorch.models.openai.gateways import GATEWAYS
from graphorch.models.pricing.prices import Prices, Tariff

_CHOICES: Mapping[str, str] = {
    "fallback": "the first that answers, in this order",
    "weighted": "at random by weight; equal sticky keys stay together",
    "cheapest": "the lowest price for the request, at least of the floor's quality",
    "fastest": "the shortest predicted time, learnt from the answers so far",
    "cascade": "from the first on, until the check accepts an answer; "
    "the last answer is taken unchecked",
}


def explain_policy(config: Config, name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return what a model's name resolves to and why, as text with a line for each target.

    `name` is that of a policy, with or without `policy/`, or of a model. Raises `InputError` for a
    policy that does not exist.
    """
    config = merge_environment(config, environment)
    bare_name = name.removeprefix(POLICY_PREFIX)
    explanation = _Explanation(config, environment)
    if bare_name in config.policies:
        return "\n".join(explanation.describe_policy(bare_name, ""))
    if name.startswith(POLICY_PREFIX) and not config.passes_policies_on():
        raise InputError(explain_missing_policy(config, bare_name))
    return "\n".join(explanation.describe_target(TargetConfig(model=name), ""))


def explain_missing_policy(config: Config, name: str) -> str:
    """Return what to say of a policy that the configuration does not define."""
    if config.policies:
        return f"There is no policy '{name}'. {did_you_mean(name, config.policies)}"
    return (
        f"There is no policy '{name}': the configuration defines none. Add [policies.{name}] with "
        "kind and targets to graphorch.toml, or name a model."
    )


@dataclass(frozen=True, slots=True)
class _Explanation:
    config: Config
    environment: Mapping[str, str]

    def describe_policy(self, name: str, indent: str) -> Iterator[str]:
        """Yield a line for the policy, and indented ones for its targets."""
        policy = self.config.policies[name]
        details = "".join(f"; {detail}" for detail in _list_rules(policy))
        yield f"{indent}policy/{name} is a {policy.kind}: {_CHOICES[policy.kind]}{details}"
        total = sum(target.weight for target in policy.targets)
        indent += "  "
        for target in policy.targets:
            if policy.kind == "weighted":
                yield f"{indent}{target.weight / total:.0%} of the calls:"
            if self.config.is_own_policy(target):
                inner_name = target.model.removeprefix(POLICY_PREFIX)
                yield from self.describe_policy(inner_name, indent)
            else:
                yield from self.describe_target(target, indent)

    def describe_target(self, target: TargetConfig, indent: str) -> Iterator[str]:
        """Yield the line of one target: its endpoint, key, limits and price."""
        name = self.config.find_endpoint(target)
        if name is None:
            yield (
                f"{indent}{target.model}: it has no endpoint, so it cannot be asked. "
                "Set OPENAI_BASE_URL and OPENAI_API_KEY, or add [endpoints.NAME]"
            )
            return
        endpoint = self.config.endpoints[name]
        reason = self._explain_endpoint(target)
        parts = [f"endpoint '{name}' ({endpoint.dialect}; {reason})", self._describe_key(endpoint)]
        if target.model.startswith(POLICY_PREFIX):
            parts.append("passed on: it is a policy of the gateway's own")
        limits = self.config.limits.get(target.model)
        if limits is not None:
            parts.append(_describe_limits(limits))
        parts.append(self._describe_price(target.model, endpoint))
        yield f"{indent}{target.model}: {'; '.join(parts)}"

    def _explain_endpoint(self, target: TargetConfig) -> str:
        """Return why a target is asked at its endpoint."""
        if target.endpoint:
            return "named by the target"
        if self.config.default_endpoint == ENVIRONMENT:
            return "of OPENAI_BASE_URL and OPENAI_API_KEY"
        if self.config.default_endpoint:
            return "the default endpoint"
        return "the first endpoint of the file"

    def _describe_key(self, endpoint: EndpointConfig) -> str:
        if endpoint.key_env is None:
            return "no key"
        state = "set" if self.environment.get(endpoint.key_env) else "NOT SET"
        return f"key in {endpoint.key_env} ({state})"

    def _describe_price(self, model: str, endpoint: EndpointConfig) -> str:
        """Return what a model costs at an endpoint: nothing, your price, the list's, or unknown."""
        if endpoint.free:
            return "free"
        gateway = GATEWAYS[endpoint.dialect]
        markup = gateway.markup if endpoint.markup is None else endpoint.markup
        price = Prices(self.config.prices, markup=markup).find_price(model)
        if price is None:
            return f"price unknown ([prices.{json.dumps(model)}] sets it)"
        rates, origin = price.tiers[0], ""
        if price.source == "list":
            added = f" and {markup * 100:g} % of the gateway's" if markup else ""
            origin = f" (list price{added})"
        return f"{_describe_rates(rates.input, rates.output)}{origin}"


def _list_rules(policy: PolicyConfig) -> Iterator[str]:
    """Yield what a policy does beyond choosing."""
    if policy.check:
        yield f"check {policy.check}"
    if policy.kind == "cheapest":
        yield f"floor {policy.floor:g}"
    if policy.attempt_timeout:
        yield f"at most {policy.attempt_timeout:g} s for an attempt"
    if policy.hedge_after:
        yield f"a second copy after {policy.hedge_after:g} s"


def _describe_limits(limits: LimitsConfig) -> str:
    values = limits.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def describe_tariff(tariff: Tariff) -> str:
    """Return the dollars of a million tokens, in and out."""
    return _describe_rates(tariff.input, tariff.output)


def _describe_rates(input: float, output: float) -> str:
    return f"${input:g} / ${output:g} per million tokens"
