"""Model calls: a port of one method, clients for it, and policies, budgets and guards around it.

Each of these is a client around a client, so they combine in any order. The offline model needs
neither network nor key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphorch._lazy import lazy_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from graphorch.models.budgets.budget import Account as Account
    from graphorch.models.budgets.budget import Alert as Alert
    from graphorch.models.budgets.budget import Budget as Budget
    from graphorch.models.budgets.budget import CapReached as CapReached
    from graphorch.models.client import ModelClient as ModelClient
    from graphorch.models.client import OnText as OnText
    from graphorch.models.config.loader import find_config as find_config
    from graphorch.models.config.loader import read_config as read_config
    from graphorch.models.config.router import Router as Router
    from graphorch.models.config.schema import Config as Config
    from graphorch.models.decision import RoutingRecord as RoutingRecord
    from graphorch.models.errors import AnswerError as AnswerError
    from graphorch.models.errors import ContextOverflow as ContextOverflow
    from graphorch.models.errors import Empty as Empty
    from graphorch.models.errors import Refused as Refused
    from graphorch.models.errors import SchemaRefused as SchemaRefused
    from graphorch.models.errors import TimedOut as TimedOut
    from graphorch.models.errors import Truncated as Truncated
    from graphorch.models.errors import Unreachable as Unreachable
    from graphorch.models.errors import Unreadable as Unreadable
    from graphorch.models.guardrails.client import Guard as Guard
    from graphorch.models.guardrails.client import GuardedClient as GuardedClient
    from graphorch.models.guardrails.client import GuardrailBlocked as GuardrailBlocked
    from graphorch.models.guardrails.client import personal_data as personal_data
    from graphorch.models.guardrails.client import secrets as secrets
    from graphorch.models.guardrails.detector import Detector as Detector
    from graphorch.models.guardrails.detector import Match as Match
    from graphorch.models.guardrails.detector import RegexDetector as RegexDetector
    from graphorch.models.messages import Message as Message
    from graphorch.models.messages import Prompt as Prompt
    from graphorch.models.messages import Request as Request
    from graphorch.models.messages import Response as Response
    from graphorch.models.messages import ToolCall as ToolCall
    from graphorch.models.messages import ToolSpec as ToolSpec
    from graphorch.models.messages import Usage as Usage
    from graphorch.models.offline.client import OfflineClient as OfflineClient
    from graphorch.models.openai.client import CallLimits as CallLimits
    from graphorch.models.openai.client import OpenAIClient as OpenAIClient
    from graphorch.models.policies.circuit_breaker import BreakerRules as BreakerRules
    from graphorch.models.policies.circuit_breaker import CircuitOpen as CircuitOpen
    from graphorch.models.policies.hedging import Hedge as Hedge
    from graphorch.models.policies.policy import Policy as Policy
    from graphorch.models.policies.policy import cascade as cascade
    from graphorch.models.policies.policy import cheapest as cheapest
    from graphorch.models.policies.policy import fallback as fallback
    from graphorch.models.policies.policy import fastest as fastest
    from graphorch.models.policies.policy import weighted as weighted
    from graphorch.models.policies.rate_limiter import RateLimits as RateLimits
    from graphorch.models.policies.rate_limiter import Throttled as Throttled
    from graphorch.models.policies.retry_budget import RetryRules as RetryRules
    from graphorch.models.policies.target import Target as Target
    from graphorch.models.pricing.metering import MeteredClient as MeteredClient
    from graphorch.models.pricing.prices import Prices as Prices
    from graphorch.models.response_cache import CacheLimits as CacheLimits
    from graphorch.models.response_cache import CachingClient as CachingClient
    from graphorch.models.retry import Backoff as Backoff
    from graphorch.models.retry import RetryingClient as RetryingClient

# Where each public name lives.
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy_names(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "budgets.budget": "Account Alert Budget CapReached",
        "client": "ModelClient OnText",
        "config.loader": "find_config read_config",
        "config.router": "Router",
        "config.schema": "Config",
        "decision": "RoutingRecord",
        "errors": (
            "AnswerError ContextOverflow Empty Refused SchemaRefused TimedOut Truncated "
            "Unreachable Unreadable"
        ),
        "guardrails.client": "Guard GuardedClient GuardrailBlocked personal_data secrets",
        "guardrails.detector": "Detector Match RegexDetector",
        "messages": "Message Prompt Request Response ToolCall ToolSpec Usage",
        "offline.client": "OfflineClient",
        "openai.client": "CallLimits OpenAIClient",
        "policies.circuit_breaker": "BreakerRules CircuitOpen",
        "policies.retry_budget": "RetryRules",
        "policies.hedging": "Hedge",
        "policies.policy": "Policy cascade cheapest fallback fastest weighted",
        "policies.rate_limiter": "RateLimits Throttled",
        "policies.target": "Target",
        "pricing.metering": "MeteredClient",
        "pricing.prices": "Prices",
        "response_cache": "CacheLimits CachingClient",
        "retry": "Backoff RetryingClient",
    },
)
