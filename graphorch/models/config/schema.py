"""The tables of the configuration, one model each. References between them: `validation.py`.

Every key has an effect: `tests/models/config/test_effects.py` shows it with and without the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from graphorch.models.budgets.budget import Budget, CapRules
from graphorch.models.guardrails.client import Action, Guard, Where, personal_data, secrets
from graphorch.models.openai.gateways import GATEWAYS
from graphorch.models.policies.circuit_breaker import BreakerRules
from graphorch.models.policies.latency import LatencyRules
from graphorch.models.policies.rate_limiter import RateLimits
from graphorch.models.policies.retry_budget import RetryRules
from graphorch.models.pricing.prices import Tariff

POLICY_PREFIX = "policy/"
DEFAULT_MODEL = "default"  # the model that an agent asks for if it names none
ENVIRONMENT = "environment"  # the endpoint that OPENAI_BASE_URL and OPENAI_API_KEY name

_Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(gt=0, le=1)]
_Count = Annotated[int, Field(ge=1)]
Dialect: TypeAlias = Literal["generic", "openai", "requesty", "openrouter", "litellm"]
Kind: TypeAlias = Literal["fallback", "weighted", "cheapest", "fastest", "cascade"]


Key: TypeAlias = tuple[str, ...]
"""Place of a key; in the schema, `*` stands for any name, or for any place in a list."""


@dataclass(frozen=True, slots=True)
class NeedsTrust:
    """Mark of a key that only a trusted file may have; `why` completes "it says …"."""

    why: str


class _Part(BaseModel):
    # TOML has types of its own, so a number in quotes is a mistake and is never read as one.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EndpointConfig(_Part):
    """One endpoint.

    `free`: it costs nothing. `caps_output`: it obeys a limit on output tokens; `max_output` is the
    limit for calls under a budget that have none. `sends_finish_reason`: it says why an answer
    ended; where it never does, an answer that was cut may pass for a whole one.
    """

    base_url: str
    key_env: str | None = None
    dialect: Dialect = "generic"
    options: dict[str, Any] = {}
    attempts: Annotated[int, Field(ge=1)] | None = None
    markup: Annotated[float, Field(ge=0, le=1)] | None = None
    free: bool = False
    caps_output: bool = True
    max_output: Annotated[int, Field(ge=1)] = 4096
    sends_finish_reason: bool = True


class TargetConfig(_Part):
    """One target of a policy: a model (or `policy/NAME`), its endpoint, its weight or quality."""

    model: Annotated[str, Field(min_length=1)]
    endpoint: str | None = None
    weight: _From0 = 1.0
    quality: _From0 = 0.0
    reaches: list[str] = []


def _as_table(value: object) -> object:
    return {"model": value} if isinstance(value, str) else value


class BreakerConfig(_Part):
    """When the circuit of a target opens, and for how long: see `BreakerRules`."""

    in_a_row: _Count | None = None
    ratio: _Share | None = None
    volume: _Count | None = None
    window: _Above0 | None = None
    rest: _Above0 | None = None
    longest: _Above0 | None = None

    def build_rules(self) -> BreakerRules:
        """Return the rules, with the usual ones where the file is silent."""
        return replace(BreakerRules(), **self.model_dump(exclude_none=True))


class RetryConfig(_Part):
    """Requests beyond the first of each call, and the pauses between rounds: see `RetryRules`."""

    share: _From0 | None = None
    per_second: _From0 | None = None
    reserve: Annotated[int, Field(ge=0)] | None = None
    first: _Above0 | None = None
    longest: _Above0 | None = None
    patience: _From0 | None = None

    def build_rules(self, rounds: int) -> RetryRules:
        """Return the rules, with the usual ones where the file is silent.

        Raises `InputError` if `first` is longer than `longest`.
        """
        return replace(RetryRules(), rounds=rounds, **self.model_dump(exclude_none=True))


class LatencyConfig(_Part):
    """How a `fastest` policy explores and compares: see `LatencyRules`."""

    aim: Literal["answer", "first token"] | None = None
    explore: Annotated[int, Field(ge=2)] | None = None
    effort: _Share | None = None
    near: Annotated[float, Field(ge=0, lt=1)] | None = None
    expected_output: _Above0 | None = None

    def build_rules(self) -> LatencyRules:
        """Return the rules, with the usual ones where the file is silent."""
        return replace(LatencyRules(), **self.model_dump(exclude_none=True))


class PolicyConfig(_Part):
    """One policy.

    `on`: failures that go on to the next target; `check`: the name of a check of the program;
    `rounds`: how often all targets are tried for one call.
    """

    kind: Kind
    targets: Annotated[
        list[Annotated[TargetConfig, BeforeValidator(_as_table)]], Field(min_length=1)
    ]
    on: list[str] | None = None
    check: str | None = None
    floor: _From0 = 0.0
    attempt_timeout: _Above0 | None = None
    hedge_after: _Above0 | None = None
    hedge_share: _Share = 0.05
    rounds: _Count = 2
    retry: RetryConfig = RetryConfig()
    latency: LatencyConfig = LatencyConfig()


class LimitsConfig(_Part):
    """Requests and tokens per minute, and concurrent calls, of one model."""

    rpm: _Above0 | None = None
    tpm: _Above0 | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None

    def build_limits(self) -> RateLimits:
        """Return these limits as the rate limiter takes them."""
        return RateLimits(rpm=self.rpm, tpm=self.tpm, concurrency=self.concurrency)


class BudgetConfig(_Part):
    """Amounts of one level, and what happens at the cap: `fail`, `route`, or a policy to ask."""

    usd: _Above0 | None = None
    tokens: Annotated[int, Field(gt=0)] | None = None
    calls: Annotated[int, Field(gt=0)] | None = None
    seconds: _Above0 | None = None
    at_cap: str = "fail"

    def build_budget(self) -> Budget:
        """Return these amounts as an account takes them."""
        return Budget(usd=self.usd, tokens=self.tokens, calls=self.calls, seconds=self.seconds)


class BudgetsConfig(_Part):
    """Budgets of a run, a node, a day and tags.

    The spending of a day and of a tag outlives the process in the file `kept`. It is not part of a
    journal: one day covers the runs of many journals, and those without one. Processes that name
    one file share the limits of targets there, and the pauses that targets ask for. Runs whose
    journal is in a PostgreSQL database count in that database instead, with all its processes. The
    two know nothing of each other: with runs of both kinds, each may spend the whole cap.
    """

    run: BudgetConfig | None = None
    node: BudgetConfig | None = None
    day: BudgetConfig | None = None
    tags: dict[str, BudgetConfig] = {}
    kept: Annotated[
        Annotated[str, Field(min_length=1)] | None, NeedsTrust("which file is written")
    ] = None

    def list_levels(self) -> Iterator[tuple[Key, BudgetConfig]]:
        """Yield the budgets that there are, each with its place."""
        for name, budget in (("run", self.run), ("node", self.node), ("day", self.day)):
            if budget is not None:
                yield (name,), budget
        for tag, budget in self.tags.items():
            yield ("tags", tag), budget


class AlertsConfig(_Part):
    """Shares of each budget that are announced when spending reaches them."""

    shares: list[_Share] = []


class GuardConfig(_Part):
    """What one guard does about what it finds; without `kinds` it looks for all of them."""

    action: Action = "mask"
    where: Where = "both"
    kinds: list[str] = []


def _as_guard(value: object) -> object:
    return {"action": value} if isinstance(value, str) else value


_Guard = Annotated[GuardConfig | None, BeforeValidator(_as_guard)]


class GuardsConfig(_Part):
    """Guards around every model: `secrets = "mask"`, or a table with action, where and kinds."""

    secrets: _Guard = None
    personal_data: _Guard = None

    def build_guards(self) -> tuple[Guard, ...]:
        """Return the guards. Raises `InputError` for a kind that does not exist."""
        guards: list[Guard] = []
        for config, detect in ((self.secrets, secrets), (self.personal_data, personal_data)):
            if config is not None:
                guards.append(Guard(detect(*config.kinds), config.action, config.where))
        return tuple(guards)


class ServerLimitsConfig(_Part):
    """Limits of a server of tools: see `McpLimits` of `graphorch.agents.mcp`."""

    seconds: _Above0 | None = None
    start_seconds: _Above0 | None = None
    bytes: _Count | None = None
    tools: _Count | None = None


class ServerConfig(_Part):
    """A server of tools, for agents that name it: a program that is started, or an address.

    `env_from`, `bearer_env` and `headers_env` name variables with secrets, which are never in the
    file. `trust` takes the server's word about what its tools do.
    """

    command: Annotated[str, Field(min_length=1)] | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    env_from: list[str] = []
    cwd: Annotated[str, Field(min_length=1)] | None = None
    url: str | None = None
    bearer_env: str | None = None
    headers_env: dict[str, str] = {}
    trust: bool = False
    limits: ServerLimitsConfig = ServerLimitsConfig()


class Config(_Part):
    """Contents of the whole file."""

    default_model: Annotated[str, Field(min_length=1)] | None = None
    default_endpoint: str | None = None
    endpoints: Annotated[dict[str, EndpointConfig], NeedsTrust("where prompts and keys go")] = {}
    policies: dict[str, PolicyConfig] = {}
    limits: dict[str, LimitsConfig] = {}
    breaker: BreakerConfig = BreakerConfig()
    budgets: BudgetsConfig = BudgetsConfig()
    alerts: AlertsConfig = AlertsConfig()
    guards: GuardsConfig = GuardsConfig()
    prices: Annotated[dict[str, Tariff], NeedsTrust("what calls cost, which budgets go by")] = {}
    mcp: Annotated[
        dict[str, ServerConfig],
        NeedsTrust("which programs are started, and where arguments and tokens go"),
    ] = {}

    def build_cap_rules(self, budget: BudgetConfig) -> CapRules:
        """Return what happens near the cap of a level and at it, without a listener."""
        return CapRules(at_cap=budget.at_cap, alert_shares=tuple(self.alerts.shares))

    def find_endpoint(self, target: TargetConfig) -> str | None:
        """Return the name of the endpoint of a target; None if there is no endpoint."""
        return target.endpoint or self.default_endpoint or next(iter(self.endpoints), None)

    def passes_policies_on(self, target: TargetConfig | None = None) -> bool:
        """Return whether a policy that is not in the file is one of the gateway's own."""
        endpoint = self.endpoints.get(self.find_endpoint(target or TargetConfig(model="any")) or "")
        return endpoint is not None and GATEWAYS[endpoint.dialect].owns_policies

    def is_own_policy(self, target: TargetConfig) -> bool:
        """Return whether a target is a policy of the file.

        It has the name of one, and no endpoint that it is meant for.
        """
        return (
            target.endpoint is None
            and target.model.startswith(POLICY_PREFIX)
            and target.model.removeprefix(POLICY_PREFIX) in self.policies
        )


# ---- the keys of the schema ----------------------------------------------------------------------
def list_keys(model: type[BaseModel] = Config, prefix: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Yield every key that the file may have, tables before what is in them."""
    for name, field in model.model_fields.items():
        key = (*prefix, name)
        yield key, field
        table, steps = _find_table(field.annotation)
        if table is not None:
            yield from list_keys(table, (*key, *steps))


def _find_table(annotation: Any) -> tuple[type[BaseModel] | None, Key]:
    """Return the table that values of a key hold, and the steps to it from there."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ()
    arguments = get_args(annotation)
    if not arguments:
        return None, ()
    if get_origin(annotation) in (dict, list):
        table, steps = _find_table(arguments[-1])
        return table, ("*", *steps)
    # of `X | None` and `Annotated[X, …]` only X matters
    return _find_table(arguments[0])


def find_keys_that_need_trust(tables: Mapping[str, Any]) -> Iterator[tuple[Key, NeedsTrust]]:
    """Yield the keys of a file that only a trusted one may have, before the file is checked."""
    for key, field in list_keys():
        for mark in field.metadata:
            if isinstance(mark, NeedsTrust) and _has_key(tables, key):
                yield key, mark


def _has_key(value: object, key: Key) -> bool:
    if not key:
        return True
    items: dict[Any, object] = {}
    if isinstance(value, dict):
        items = cast("dict[Any, object]", value)
    elif isinstance(value, list):
        items = dict(enumerate(cast("list[object]", value)))
    if key[0] == "*":
        return any(_has_key(item, key[1:]) for item in items.values())
    return key[0] in items and _has_key(items[key[0]], key[1:])
