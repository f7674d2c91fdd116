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
from graphorch.models.openai.gateways import GATEWAYS, Connection, read_connection
from graphorch.models.policies.call import AnswerCheck, PolicyRules
from graphorch.models.policies.failure_kinds import FAILOVER_KINDS
from graphorch.models.policies.hedging import Hedge
from graphorch.models.policies.orderings import ListedOrder
from graphorch.models.policies.policy import Policy, cascade, cheapest, fallback, fastest, weighted
from graphorch.models.policies.retry_budget import RetryRules
from graphorch.models.policies.target import Candidate, Target, TargetRules
from graphorch.models.pricing.metering import PriceLookup, PricingTerms
from graphorch.models.pricing.prices import Prices as ListedPrices

# The model that an agent asks for if it names none.
_DEFAULT = "default"


def _is_valid(request: Request, response: Response) -> bool:
    """Accept every answer: the check `valid`. That it fits the schema is checked anyway."""
    return True


def connect(connection: Connection) -> ModelClient:
    """Return a client for an endpoint. It asks once: a policy repeats calls."""
    return OpenAIClient(
        connection.endpoint.base_url, connection.endpoint.key, gateway=connection.gateway
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
        return f"Router(policies {sorted(self._config.policies)}, endpoints {sorted(self._config.endpoints)})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer of the model or policy that the request names.

        If a budget with a policy as its `at_cap` refuses the call, that policy is asked instead.
        """
        started_at = self._parts.runtime.clock()
        try:
            return await self.client(request.model).complete(request, on_text)
        except CapReached as error:
            # the policy is asked below, outside of this block, so that its failure stands alone
            instead = error.at_cap
            if not instead.startswith(POLICY_PREFIX) or instead == request.model:
                raise
            level = error.level
        left = request.timeout
        if left is not None:
            left -= self._parts.runtime.clock() - started_at
        response = await self.client(instead).complete(
            replace(request, model=instead, timeout=left), on_text
        )
        note = (
            f"'{request.model}' did not fit the budget of '{level}' any more, "
            f"so {instead} was asked"
        )
        return replace(response, note="; ".join(filter(None, [response.note, note])))

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
        bare = name.removeprefix(POLICY_PREFIX)
        if name.startswith(POLICY_PREFIX) and bare in self._config.policies:
            return self._policy(name, self._config.policies[bare])
        target = TargetConfig(model=name)
        if name.startswith(POLICY_PREFIX) and not self._connection(target).gateway.owns_policies:
            raise InputError(
                f"There is no policy '{bare}'. {did_you_mean(bare, self._config.policies)}"
            )
        return Policy(
            name, ListedOrder("direct"), [self._target(target)], runtime=self._parts.runtime
        )

    def _policy(self, name: str, config: PolicyConfig) -> Policy:
        candidates = [self._candidate(target) for target in config.targets]
        rules = PolicyRules(
            on=FAILOVER_KINDS if config.on is None else frozenset(config.on),
            check=None if config.check is None else self._check(name, config.check),
            attempt_timeout=config.attempt_timeout,
            retry=RetryRules(rounds=config.rounds),
            hedge=None
            if config.hedge_after is None
            else Hedge(after=config.hedge_after, share=config.hedge_share),
        )
        runtime = self._parts.runtime
        match config.kind:
            case "fallback":
                return fallback(name, candidates, rules=rules, runtime=runtime)
            case "fastest":
                return fastest(name, candidates, rules=rules, runtime=runtime)
            case "cascade":
                return cascade(
                    name, candidates, rules.check or _is_valid, rules=rules, runtime=runtime
                )
            case "weighted":
                shares = [target.weight for target in config.targets]
                return weighted(
                    name, list(zip(candidates, shares, strict=True)), rules=rules, runtime=runtime
                )
            case "cheapest":
                qualities = [target.quality for target in config.targets]
                return cheapest(
                    name,
                    list(zip(candidates, qualities, strict=True)),
                    floor=config.floor,
                    rules=rules,
                    runtime=runtime,
                )

    def _check(self, policy: str, name: str) -> AnswerCheck:
        if name not in self._checks:
            raise InputError(
                f"{policy}: there is no check '{name}'. {did_you_mean(name, self._checks)} "
                f"Give it to the router: checks={{'{name}': …}}."
            )
        return self._checks[name]

    def _candidate(self, target: TargetConfig) -> Candidate:
        return (
            self.client(target.model)
            if self._config.is_own_policy(target)
            else self._target(target)
        )

    def _target(self, config: TargetConfig) -> Target:
        endpoint_name = self._config.find_endpoint(config)
        key = (endpoint_name, config.model, tuple(config.reaches))
        if key not in self._targets:
            self._targets[key] = self._new_target(config, endpoint_name)
        return self._targets[key]

    def _new_target(self, config: TargetConfig, endpoint_name: str | None) -> Target:
        connection = self._connection(config)
        endpoint = self._config.endpoints.get(
            endpoint_name or "", EndpointConfig(base_url=connection.endpoint.base_url)
        )
        limits = self._config.limits.get(config.model)
        rules = TargetRules(
            terms=PricingTerms(
                is_free=endpoint.free,
                caps_output=endpoint.caps_output,
                max_output=endpoint.max_output,
                reaches=tuple(config.reaches),
            ),
            attempts=endpoint.attempts or connection.gateway.attempts,
        )
        if limits is not None:
            rules = replace(rules, limits=limits.build_limits())
        markup = connection.gateway.markup if endpoint.markup is None else endpoint.markup
        prices = self._parts.prices or ListedPrices(self._config.prices, markup=markup)
        is_default = endpoint_name == self._config.find_endpoint(TargetConfig(model=config.model))
        name = config.model if is_default else f"{config.model} at {endpoint_name}"
        client, _ = self._clients[endpoint_name]
        return Target(
            name,
            client,
            model=config.model,
            rules=rules,
            prices=prices,
            runtime=self._parts.runtime,
        )

    def _connection(self, target: TargetConfig) -> Connection:
        name = self._config.find_endpoint(target)
        if name not in self._clients:
            connection = (
                self._read_endpoint(name)
                if name is not None
                else read_connection(self._environment)
            )
            if connection is None:
                raise InputError(
                    f"Model '{target.model}' has no endpoint. Set OPENAI_BASE_URL and "
                    "OPENAI_API_KEY, or add [endpoints.NAME] to graphorch.toml."
                )
            self._clients[name] = self._parts.connect(connection), connection
        return self._clients[name][1]

    def _read_endpoint(self, name: str) -> Connection:
        config = self._config.endpoints[name]
        key = "" if config.key_env is None else self._environment.get(config.key_env, "")
        if config.key_env is not None and not key:
            raise InputError(
                f"Endpoint '{name}' takes its key from {config.key_env}, and that variable is not "
                f"set. Set it to the key of {name}."
            )
        gateway = GATEWAYS[config.dialect].with_options(config.options)
        return Connection(name, Endpoint(config.base_url, SecretStr(key)), gateway)
