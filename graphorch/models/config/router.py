"""The client for a configuration: it finds the policy, model and endpoint behind each name.

A name is a policy of the file (`policy/NAME`), a policy of the gateway's own, or a model of the
default endpoint. Targets are made when they are first named, and shared: all policies see the same
health, limits and speed of a target.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from graphorch.clock import Runtime
from graphorch.errors import InputError, did_you_mean
from graphorch.models.budgets.budget import CapReached
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.config.schema import (
    POLICY_PREFIX,
    Config,
    EndpointConfig,
    PolicyConfig,
    TargetConfig,
)
from graphorch.models.messages import Request, Response
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.openai.errors import Endpoint
from graphorch.models.openai.gateways import GATEWAYS, Connection, Gateway, read_connection
from graphorch.models.policies.call import AnswerCheck, PolicyRules
from graphorch.models.policies.hedging import Hedge
from graphorch.models.policies.orderings import ListedOrder
from graphorch.models.policies.policy import Policy, cascade, cheapest, fallback, fastest, weighted
from graphorch.models.policies.retry_budget import RetryRules
from graphorch.models.policies.target import Candidate, Target, TargetRules
from graphorch.models.pricing.metering import PriceLookup, PricingTerms
from graphorch.models.pricing.prices import Prices as ListedPrices

# Name of the model that an agent asks for if it names none.
_DEFAULT = "default"


def _is_valid(request: Request, response: Response) -> bool:
    """Accept every answer: the check `valid`, since the schema is checked anyway."""
    return True


def connect(connection: Connection) -> ModelClient:
    """Return a client for an endpoint. It asks once: a policy repeats calls."""
    return OpenAIClient(
        connection.endpoint.base_url,
        connection.endpoint.key,
        gateway=connection.gateway,
        sends_finish_reason=connection.sends_finish_reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterParts:
    """Parts of a router beside its configuration.

    `checks` are the quality checks that the file may name, beside `valid`. `prices` replaces the
    prices of the file and the list.
    """

    checks: Mapping[str, AnswerCheck] = field(default_factory=dict[str, AnswerCheck])
    prices: PriceLookup | None = None
    connect: Callable[[Connection], ModelClient] = connect
    runtime: Runtime = field(default_factory=Runtime)


class Router:
    """A `ModelClient` for every name of a configuration.

    Raises `InputError` for a name that leads nowhere, before any request is sent.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
        parts: RouterParts | None = None,
    ) -> None:
        self._config = config or Config()
        self._environment = environment
        self._parts = parts or RouterParts()
        self._checks: Mapping[str, AnswerCheck] = {"valid": _is_valid, **self._parts.checks}
        self._policies: dict[str, Policy] = {}
        self._targets: dict[tuple[str | None, str, tuple[str, ...]], Target] = {}
        self._clients: dict[str | None, tuple[ModelClient, Connection]] = {}

    def __repr__(self) -> str:
        policies, endpoints = sorted(self._config.policies), sorted(self._config.endpoints)
        return f"Router(policies {policies}, endpoints {endpoints})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer of the model or policy that the request names.

        If a budget with a policy as its `at_cap` refuses the call, that policy is asked instead.
        """
        started_at = self._parts.runtime.clock()
        try:
            return await self.client(request.model).complete(request, on_text)
        except CapReached as error:
            # The policy is asked below, outside of this block, so that its failure stands alone.
            policy = error.at_cap
            if not policy.startswith(POLICY_PREFIX) or policy == request.model:
                raise
            level = error.level
        timeout = request.timeout
        if timeout is not None:
            timeout -= self._parts.runtime.clock() - started_at
        cheaper_request = replace(request, model=policy, timeout=timeout)
        response = await self.client(policy).complete(cheaper_request, on_text)
        note = (
            f"'{request.model}' did not fit the budget of '{level}' any more, so {policy} was asked"
        )
        if response.note:
            note = f"{response.note}; {note}"
        return replace(response, note=note)

    async def aclose(self) -> None:
        """Close every client that was opened."""
        for client, _ in self._clients.values():
            await close(client)

    def client(self, name: str) -> Policy:
        """Return the policy behind a name; a model by itself is a policy with one target.

        Raises `InputError` if the name leads nowhere.
        """
        if name == _DEFAULT:
            name = self._default_model()
        if name not in self._policies:
            self._policies[name] = self._build(name)
        return self._policies[name]

    def _default_model(self) -> str:
        name = self._config.default_model or self._environment.get("GRAPHORCH_MODEL", "")
        if not name:
            raise InputError(
                "An agent names no model, and there is no default. "
                "Set default_model in graphorch.toml, or GRAPHORCH_MODEL."
            )
        return name

    def _build(self, name: str) -> Policy:
        target = TargetConfig(model=name)
        if name.startswith(POLICY_PREFIX):
            policies = self._config.policies
            policy_name = name.removeprefix(POLICY_PREFIX)
            if policy_name in policies:
                return self._build_policy(name, policies[policy_name])
            # Not in the file: it may be a policy of the gateway's own.
            if not self._open_connection(target).gateway.owns_policies:
                hint = did_you_mean(policy_name, policies)
                raise InputError(f"There is no policy '{policy_name}'. {hint}")
        candidates = [self._share_target(target)]
        return Policy(name, ListedOrder("direct"), candidates, runtime=self._parts.runtime)

    def _build_policy(self, name: str, config: PolicyConfig) -> Policy:
        candidates = [self._find_candidate(target) for target in config.targets]
        rules = self._build_rules(name, config)
        runtime = self._parts.runtime
        match config.kind:
            case "fallback":
                return fallback(name, candidates, rules=rules, runtime=runtime)
            case "fastest":
                return fastest(name, candidates, rules=rules, runtime=runtime)
            case "cascade":
                check = rules.check or _is_valid
                return cascade(name, candidates, check, rules=rules, runtime=runtime)
            case "weighted":
                weights = [target.weight for target in config.targets]
                shares = list(zip(candidates, weights, strict=True))
                return weighted(name, shares, rules=rules, runtime=runtime)
            case "cheapest":
                qualities = [target.quality for target in config.targets]
                rated = list(zip(candidates, qualities, strict=True))
                return cheapest(name, rated, floor=config.floor, rules=rules, runtime=runtime)

    def _build_rules(self, policy: str, config: PolicyConfig) -> PolicyRules:
        rules = PolicyRules(
            attempt_timeout=config.attempt_timeout, retry=RetryRules(rounds=config.rounds)
        )
        if config.on is not None:
            rules = replace(rules, on=frozenset(config.on))
        if config.check is not None:
            rules = replace(rules, check=self._find_check(policy, config.check))
        if config.hedge_after is not None:
            hedge = Hedge(after=config.hedge_after, share=config.hedge_share)
            rules = replace(rules, hedge=hedge)
        return rules

    def _find_check(self, policy: str, name: str) -> AnswerCheck:
        if name not in self._checks:
            raise InputError(
                f"{policy}: there is no check '{name}'. {did_you_mean(name, self._checks)} "
                f"Give it to the router: checks={{'{name}': …}}."
            )
        return self._checks[name]

    def _find_candidate(self, target: TargetConfig) -> Candidate:
        if self._config.is_own_policy(target):
            return self.client(target.model)
        return self._share_target(target)

    def _share_target(self, config: TargetConfig) -> Target:
        """Return the one target of this model at its endpoint: policies share what it learns."""
        endpoint_name = self._config.find_endpoint(config)
        key = (endpoint_name, config.model, tuple(config.reaches))
        if key not in self._targets:
            self._targets[key] = self._build_target(config, endpoint_name)
        return self._targets[key]

    def _build_target(self, config: TargetConfig, endpoint_name: str | None) -> Target:
        connection = self._open_connection(config)
        client, _ = self._clients[endpoint_name]
        # An endpoint of the environment has no table in the file, so the defaults hold.
        endpoint = EndpointConfig(base_url=connection.endpoint.base_url)
        if endpoint_name is not None:
            endpoint = self._config.endpoints.get(endpoint_name, endpoint)
        return Target(
            self._name_target(config, endpoint_name),
            client,
            model=config.model,
            rules=self._build_target_rules(config, endpoint, connection.gateway),
            prices=self._build_prices(endpoint, connection.gateway),
            runtime=self._parts.runtime,
        )

    def _name_target(self, config: TargetConfig, endpoint_name: str | None) -> str:
        """Return the name of the model, with that of its endpoint if it is not the default one."""
        default_endpoint = self._config.find_endpoint(TargetConfig(model=config.model))
        if endpoint_name == default_endpoint:
            return config.model
        return f"{config.model} at {endpoint_name}"

    def _build_target_rules(
        self, config: TargetConfig, endpoint: EndpointConfig, gateway: Gateway
    ) -> TargetRules:
        terms = PricingTerms(
            is_free=endpoint.free,
            caps_output=endpoint.caps_output,
            max_output=endpoint.max_output,
            reaches=tuple(config.reaches),
        )
        rules = TargetRules(terms=terms, attempts=endpoint.attempts or gateway.attempts)
        limits = self._config.limits.get(config.model)
        if limits is not None:
            rules = replace(rules, limits=limits.build_limits())
        return rules

    def _build_prices(self, endpoint: EndpointConfig, gateway: Gateway) -> PriceLookup:
        if self._parts.prices is not None:
            return self._parts.prices
        markup = gateway.markup
        if endpoint.markup is not None:
            markup = endpoint.markup
        return ListedPrices(self._config.prices, markup=markup)

    def _open_connection(self, target: TargetConfig) -> Connection:
        """Return the connection of a target's endpoint, and keep its client for all targets there.

        Raises `InputError` if the target has no endpoint, or the endpoint no key.
        """
        name = self._config.find_endpoint(target)
        if name not in self._clients:
            if name is not None:
                connection = self._read_endpoint(name)
            else:
                connection = read_connection(self._environment)
            if connection is None:
                raise InputError(
                    f"Model '{target.model}' has no endpoint. Set OPENAI_BASE_URL and "
                    "OPENAI_API_KEY, or add [endpoints.NAME] to graphorch.toml."
                )
            self._clients[name] = self._parts.connect(connection), connection
        return self._clients[name][1]

    def _read_endpoint(self, name: str) -> Connection:
        config = self._config.endpoints[name]
        key = ""
        if config.key_env is not None:
            key = self._environment.get(config.key_env, "")
            if not key:
                raise InputError(
                    f"Endpoint '{name}' takes its key from {config.key_env}, and that variable is "
                    f"not set. Set it to the key of {name}."
                )
        gateway = GATEWAYS[config.dialect].with_options(config.options)
        return Connection(
            name,
            Endpoint(config.base_url, SecretStr(key)),
            gateway,
            sends_finish_reason=config.sends_finish_reason,
        )
