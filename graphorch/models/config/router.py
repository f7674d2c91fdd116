"""The client for a configuration: it finds the policy, model and endpoint behind each name.

A name is a policy of the file (`policy/NAME`), a policy of the gateway's own, or a model of the
default endpoint. Targets are made when they are first named, and shared: all policies see the same
health, limits and speed of a target. Agents that name no model get the default model; if there is
neither that nor an endpoint, the embedded model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from pydantic import SecretStr

from graphorch.clock import Runtime
from graphorch.errors import InputError, did_you_mean
from graphorch.models.budgets.budget import Account, CapReached
from graphorch.models.budgets.spend_store import SqliteSpend
from graphorch.models.client import ModelClient, OnText, close, prepare
from graphorch.models.config.accounts import AccountFactory, open_spend_store
from graphorch.models.config.environment import merge_environment
from graphorch.models.config.explanation import explain_missing_policy
from graphorch.models.config.schema import (
    DEFAULT_MODEL,
    POLICY_PREFIX,
    Config,
    EndpointConfig,
    PolicyConfig,
    TargetConfig,
)
from graphorch.models.config.shared_limits import MachineLimits
from graphorch.models.config.validation import find_problems
from graphorch.models.guardrails.client import GuardedClient
from graphorch.models.messages import Request, Response
from graphorch.models.offline.client import OfflineClient
from graphorch.models.openai.client import OpenAIClient, load_package
from graphorch.models.openai.errors import Endpoint
from graphorch.models.openai.gateways import GATEWAYS, Connection, Gateway
from graphorch.models.policies.call import AnswerCheck, PolicyRules
from graphorch.models.policies.hedging import Hedge
from graphorch.models.policies.orderings import ListedOrder
from graphorch.models.policies.policy import Policy, cascade, cheapest, fallback, fastest, weighted
from graphorch.models.policies.rate_bucket import SharedLimits
from graphorch.models.policies.rate_slices import SharedRates
from graphorch.models.policies.target import Candidate, Target, TargetRules
from graphorch.models.pricing.metering import MeteredClient, NoPrices, PriceLookup, PricingTerms
from graphorch.models.pricing.prices import Prices as ListedPrices

_Resolved: TypeAlias = "Policy | MeteredClient"
"""What a name stands for: a policy (of one target for a model's name), or the embedded model."""


def _is_valid(request: Request, response: Response) -> bool:
    """Accept every answer: the check `valid`, since the schema is checked anyway."""
    return True


def _require_sound(config: Config) -> Config:
    """Return a configuration that may have been made in a program, checked like a file."""
    problems = [f"{'.'.join(map(str, loc))}: {problem}" for loc, problem in find_problems(config)]
    if problems:
        raise InputError("\n  ".join(["The configuration does not fit:", *problems]))
    return config


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
    prices of the file and the list. `limits` are shared with other machines: days and tags are
    counted there instead of in the file of spending, and so are rates and pauses of targets.
    """

    checks: Mapping[str, AnswerCheck] = field(default_factory=dict[str, AnswerCheck])
    prices: PriceLookup | None = None
    connect: Callable[[Connection], ModelClient] = connect
    runtime: Runtime = field(default_factory=Runtime)
    limits: MachineLimits | None = None


class Router:
    """A `ModelClient` for every name of a configuration, with its guards and its budgets.

    `config` is the configuration as the environment completes it. Raises `InputError` for a name
    that leads nowhere, before any request is sent, and for a check that is not in `parts`.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
        parts: RouterParts | None = None,
    ) -> None:
        self.config = merge_environment(_require_sound(config or Config()), environment)
        self._environment = environment
        self._parts = parts or RouterParts()
        self._checks: Mapping[str, AnswerCheck] = {"valid": _is_valid, **self._parts.checks}
        for name, policy in self.config.policies.items():
            if policy.check is not None:
                self._find_check(POLICY_PREFIX + name, policy.check)
        self._guards = self.config.guards.build_guards()
        self._resolved: dict[str, _Resolved] = {}
        self._targets: dict[tuple[str | None, str, tuple[str, ...]], Target] = {}
        self._clients: dict[str, tuple[ModelClient, Connection]] = {}
        self._spending: SqliteSpend | None = None

    def __repr__(self) -> str:
        policies, endpoints = sorted(self.config.policies), sorted(self.config.endpoints)
        return f"Router(policies {policies}, endpoints {endpoints})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer of the model or policy that the request names.

        If a budget with a policy as its `at_cap` refuses the call, that policy is asked instead.
        """
        started_at = self._parts.runtime.clock()
        try:
            return await self.resolve(request.model).complete(request, on_text)
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
        response = await self.resolve(policy).complete(cheaper_request, on_text)
        note = (
            f"'{request.model}' did not fit the budget of '{level}' any more, so {policy} was asked"
        )
        if response.note:
            note = f"{response.note}; {note}"
        return replace(response, note=note)

    async def prepare(self) -> None:
        """Load the package behind every endpoint, and prepare the clients that are open."""
        if self.config.endpoints:
            await load_package()
        for client, _ in self._clients.values():
            await prepare(client)

    async def aclose(self) -> None:
        """Close every client that was opened, and what keeps spending and shares limits."""
        for client, _ in self._clients.values():
            await close(client)
        if self._parts.limits is not None:
            await self._parts.limits.aclose()
        if self._spending is not None:
            self._spending.close()

    @cached_property
    def accounts(self) -> AccountFactory:
        """The factory of the accounts of runs, with the budgets of the configuration.

        Raises `JournalError` if the file of spending cannot be used.
        """
        if (limits := self._parts.limits) is not None:
            spending = limits.spending
            return AccountFactory(
                config=self.config, store=spending, blocks=spending, today=spending.today
            )
        store = open_spend_store(self.config)
        self._spending = store if isinstance(store, SqliteSpend) else None
        return AccountFactory(config=self.config, store=store)

    def resolve(self, name: str) -> _Resolved:
        """Return what a name stands for: a policy, of one target for the name of a model.

        Raises `InputError` if the name leads nowhere, or a key is not set.
        """
        if name not in self._resolved:
            self._resolved[name] = self._resolve(name)
        return self._resolved[name]

    def find_endpoints(self, name: str) -> Iterator[str]:
        """Yield the endpoints that a call of that name may ask, also at a cap of the budgets.

        A name that leads nowhere has the default endpoint.
        """
        names = [self.config.default_model or name if name == DEFAULT_MODEL else name]
        at_caps = [budget.at_cap for _, budget in self.config.budgets.list_levels()]
        names += [at_cap for at_cap in at_caps if at_cap.startswith(POLICY_PREFIX)]
        targets = [TargetConfig(model=name) for name in names]
        seen: set[str] = set()
        while targets:
            target = targets.pop(0)
            if self.config.is_own_policy(target):
                policy = target.model.removeprefix(POLICY_PREFIX)
                if policy not in seen:
                    targets = [*self.config.policies[policy].targets, *targets]
                seen.add(policy)
            elif (endpoint := self.config.find_endpoint(target)) is not None:
                yield endpoint

    def check_call(self, name: str, payer: Account | None = None) -> None:
        """Raise `InputError` unless a call of that name can be made, paid by that account.

        The name leads somewhere, every key is set, and every price is known that a cap needs; the
        same holds for the policies that are asked at a cap.
        """
        resolved = self.resolve(name)
        if payer is None:
            return
        for account in payer.accounts:
            if account.rules.at_cap.startswith(POLICY_PREFIX):
                self.resolve(account.rules.at_cap)
        if isinstance(resolved, Policy):
            resolved.check_payable(payer)

    def _resolve(self, name: str) -> _Resolved:
        if name != DEFAULT_MODEL:
            return self._build(name)
        if self.config.default_model is not None:
            return self.resolve(self.config.default_model)
        if not self.config.endpoints:
            embedded = self._guard(OfflineClient())
            return MeteredClient(embedded, NoPrices(), PricingTerms(is_free=True))
        raise InputError(
            "An agent names no model, and there is no default. "
            "Set default_model in graphorch.toml, or GRAPHORCH_MODEL."
        )

    def _build(self, name: str) -> Policy:
        target = TargetConfig(model=name)
        if name.startswith(POLICY_PREFIX):
            policies = self.config.policies
            policy_name = name.removeprefix(POLICY_PREFIX)
            if policy_name in policies:
                return self._build_policy(name, policies[policy_name])
            # Not in the file: it may be a policy of the gateway's own.
            has_endpoint = bool(self.config.endpoints)
            if not has_endpoint or not self._open_connection(target).gateway.owns_policies:
                raise InputError(explain_missing_policy(self.config, policy_name))
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
                latency = config.latency.build_rules()
                return fastest(name, candidates, latency=latency, rules=rules, runtime=runtime)
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
            attempt_timeout=config.attempt_timeout, retry=config.retry.build_rules(config.rounds)
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
                f"Give it to the router: RouterParts(checks={{'{name}': …}})."
            )
        return self._checks[name]

    def _find_candidate(self, target: TargetConfig) -> Candidate:
        if self.config.is_own_policy(target):
            policy = self.resolve(target.model)
            assert isinstance(policy, Policy)  # it has the name of one
            return policy
        return self._share_target(target)

    def _share_target(self, config: TargetConfig) -> Target:
        """Return the one target of this model at its endpoint: policies share what it learns."""
        endpoint_name = self.config.find_endpoint(config)
        key = (endpoint_name, config.model, tuple(config.reaches))
        if key not in self._targets:
            self._targets[key] = self._build_target(config, endpoint_name)
        return self._targets[key]

    def _build_target(self, config: TargetConfig, endpoint_name: str | None) -> Target:
        connection = self._open_connection(config)
        client, _ = self._clients[connection.name]
        endpoint = self.config.endpoints[connection.name]
        return Target(
            self._name_target(config, endpoint_name),
            client,
            model=config.model,
            rules=self._build_target_rules(config, endpoint, connection),
            prices=self._build_prices(endpoint, connection.gateway),
            runtime=self._parts.runtime,
        )

    def _name_target(self, config: TargetConfig, endpoint_name: str | None) -> str:
        """Return the name of the model, with that of its endpoint if it is not the default one."""
        default_endpoint = self.config.find_endpoint(TargetConfig(model=config.model))
        if endpoint_name == default_endpoint:
            return config.model
        return f"{config.model} at {endpoint_name}"

    def _build_target_rules(
        self, config: TargetConfig, endpoint: EndpointConfig, connection: Connection
    ) -> TargetRules:
        terms = PricingTerms(
            is_free=endpoint.free,
            caps_output=endpoint.caps_output,
            max_output=endpoint.max_output,
            reaches=tuple(config.reaches),
        )
        rules = TargetRules(
            terms=terms,
            breaker=self.config.breaker.build_rules(),
            shared=self._share_limits(config, connection),
            attempts=endpoint.attempts or connection.gateway.attempts,
        )
        limits = self.config.limits.get(config.model)
        if limits is not None:
            rules = replace(rules, limits=limits.build_limits())
        return rules

    def _share_limits(
        self, config: TargetConfig, connection: Connection
    ) -> SharedLimits | SharedRates | None:
        """Return where processes share the limits of a target, if they do.

        That is where they share the budgets of days and tags: with other machines, or in a file.
        """
        key = f"{connection.endpoint.base_url} {config.model}"
        if self._parts.limits is not None:
            return SharedRates(self._parts.limits.rates, key)
        _ = self.accounts  # which opens the file
        return None if self._spending is None else SharedLimits(self._spending, key)

    def _build_prices(self, endpoint: EndpointConfig, gateway: Gateway) -> PriceLookup:
        if self._parts.prices is not None:
            return self._parts.prices
        markup = gateway.markup
        if endpoint.markup is not None:
            markup = endpoint.markup
        return ListedPrices(self.config.prices, markup=markup)

    def _open_connection(self, target: TargetConfig) -> Connection:
        """Return the connection of a target's endpoint, and keep its client for all targets there.

        Raises `InputError` if the target has no endpoint, or the endpoint no key.
        """
        name = self.config.find_endpoint(target)
        if name is None:
            raise InputError(
                f"Model '{target.model}' has no endpoint. Set OPENAI_BASE_URL and OPENAI_API_KEY, "
                "or add [endpoints.NAME] to graphorch.toml. Without an endpoint only agents that "
                "name no model are answered, by the embedded text tool."
            )
        if name not in self._clients:
            connection = self._read_endpoint(name)
            self._clients[name] = self._guard(self._parts.connect(connection)), connection
        return self._clients[name][1]

    def _guard(self, client: ModelClient) -> ModelClient:
        """Put the guards right around the client that sends, inside of every retry."""
        return GuardedClient(client, *self._guards) if self._guards else client

    def _read_endpoint(self, name: str) -> Connection:
        config = self.config.endpoints[name]
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
