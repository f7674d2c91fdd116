"""The tables of the configuration, one model each. References between them: `validation.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from graphorch.models.budgets.budget import Budget, CapRules
from graphorch.models.openai.gateways import GATEWAYS
from graphorch.models.policies.rate_limiter import RateLimits
from graphorch.models.pricing.prices import Tariff

POLICY_PREFIX = "policy/"

_Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Dialect: TypeAlias = Literal["generic", "openai", "requesty", "openrouter", "litellm"]
Kind: TypeAlias = Literal["fallback", "weighted", "cheapest", "fastest", "cascade"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    markup: _From0 | None = None
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


class PolicyConfig(_Part):
    """One policy.

    `on`: failures that go on to the next target; `check`: the name of a check of the program.
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
    hedge_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    rounds: Annotated[int, Field(ge=1)] = 2


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
    journal: one day covers the runs of many journals, and those without one.
    """

    run: BudgetConfig | None = None
    node: BudgetConfig | None = None
    day: BudgetConfig | None = None
    tags: dict[str, BudgetConfig] = {}
    kept: Annotated[str, Field(min_length=1)] | None = None


class AlertsConfig(_Part):
    """Shares of each budget that are announced when spending reaches them."""

    shares: list[Annotated[float, Field(gt=0, le=1)]] = []


class Config(_Part):
    """Contents of the whole file; `guards` is passed on as it is."""

    default_model: str | None = None
    default_endpoint: str | None = None
    endpoints: dict[str, EndpointConfig] = {}
    policies: dict[str, PolicyConfig] = {}
    limits: dict[str, LimitsConfig] = {}
    budgets: BudgetsConfig = BudgetsConfig()
    alerts: AlertsConfig = AlertsConfig()
    guards: dict[str, Any] = {}
    prices: dict[str, Tariff] = {}

    def build_cap_rules(self, budget: BudgetConfig) -> CapRules:
        """Return what happens near the cap of a level and at it.

        Add your `on_alert` with `dataclasses.replace`.
        """
        return CapRules(at_cap=budget.at_cap, alert_shares=tuple(self.alerts.shares))

    def find_endpoint(self, target: TargetConfig) -> str | None:
        """Return the name of the endpoint of a target; None means that of the environment."""
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
