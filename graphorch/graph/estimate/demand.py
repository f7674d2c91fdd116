"""Demand of one activation of one node: at most, and usually."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap, Pricing, Tariff
from graphorch.graph.node import Node
from graphorch.graph.options import NodeSettings
from graphorch.models.messages import Usage

_WITH_TOOLS = 3  # calls of an agent with tools that usually need two rounds of them
# an agent without tools asks at most twice: an answer that does not fit is asked for once more
_REPAIRED = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """Demand of one activation of a node; the caller fills in the path of its gaps."""

    worst: Amounts
    expected: Amounts
    gaps: tuple[Gap, ...] = ()
    model: str = ""


def no_tariff(model: str) -> Sequence[Pricing] | None:
    """Return None: no price is known."""
    return None


def compute_demand(node: Node[Any], tariff: Tariff, assumed: Assumed, model: str = "") -> Demand:
    """Return the demand of one activation, without what runs inside a map or sub-flow."""
    if node.kind == "agent":
        return _agent_demand(node, tariff, assumed, model)
    if node.signature.has_context and node.options.asks_models:
        return _function_demand(node)
    seconds = _seconds(node.options)
    return Demand(
        Amounts(activations=1, seconds=0.0 if math.isinf(seconds) else seconds),
        Amounts(activations=1),
    )


def _function_demand(node: Node[Any]) -> Demand:
    seconds = _seconds(node.options)
    fix = "Make it an @agent, or run with Budget(calls=…, usd=…)."
    gaps = [Gap("", "calls", "a function with a context asks models as often as it likes", fix)]
    gaps += _no_timeout(seconds)
    worst = Amounts(1, math.inf, math.inf, math.inf, math.inf, seconds)
    return Demand(worst, Amounts(activations=1), tuple(gaps))


def _agent_demand(node: Node[Any], tariff: Tariff, assumed: Assumed, replaced: str) -> Demand:
    call, options = node.fn, node.options
    most: int = getattr(call, "most_calls", 1)
    limit: int | None = getattr(call, "max_tokens", None)
    model = replaced or getattr(call, "model", "") or "default"
    prices = tariff(model)
    attempts = (options.retry.attempts if options.retry is not None else 1) * (
        2 if options.hedge_after is not None else 1
    )
    seconds = _seconds(options)
    # a policy may pay several targets for one call
    requests = len(prices) if prices is not None else 1
    tokens = Amounts(0, 0, assumed.longest_prompt, math.inf if limit is None else limit).times(
        requests
    )
    asked = tokens + Amounts(calls=1, usd=_worst_usd(prices, assumed, limit))
    worst = Amounts(activations=1, seconds=seconds) + asked.times(attempts * most)
    usual = most if most <= 1 else 1 if most <= _REPAIRED else _WITH_TOOLS
    answer = assumed.usual_answer if limit is None else min(limit, assumed.usual_answer)
    usd = prices[0].cost(Usage(assumed.usual_prompt, answer)) if prices else math.inf
    once = Amounts(
        0,
        1,
        assumed.usual_prompt,
        answer,
        usd,
        assumed.first_token + answer / assumed.tokens_per_second,
    )
    gaps = [*_no_limit(limit), *_no_price(prices, model), *_no_timeout(seconds)]
    return Demand(worst, Amounts(activations=1) + once.times(usual), tuple(gaps), model)


def _worst_usd(prices: Sequence[Pricing] | None, assumed: Assumed, limit: int | None) -> float:
    """Return the most dollars that one call costs.

    Infinite if a price is unknown, or if answers have a price but no limit.
    """
    if prices is None:
        return math.inf
    if limit is None and any(price.worst(0, 1_000_000) > 0 for price in prices):
        return math.inf
    return sum(price.worst(assumed.longest_prompt, limit or 0) for price in prices)


def _seconds(options: NodeSettings) -> float:
    """Return the most seconds of an activation with all its attempts and pauses; maybe `inf`."""
    retry = options.retry
    attempts = retry.attempts if retry is not None else 1
    pauses = (
        sum(retry.pause(attempt) for attempt in range(1, attempts)) if retry is not None else 0.0
    )
    number = math.inf if options.timeout is None else options.timeout * attempts + pauses
    return number if options.deadline is None else min(number, options.deadline)


def _no_limit(limit: int | None) -> list[Gap]:
    if limit is not None:
        return []
    why = "no max_tokens bounds its answers, and so their cost"
    return [Gap("", "tokens", why, "Give the agent max_tokens=….")]


def _no_price(prices: Sequence[Pricing] | None, model: str) -> list[Gap]:
    if prices is not None:
        return []
    fix = (
        f'Add it to graphorch.toml: [prices."{model}"] input = …, output = … (dollars per '
        "million tokens)."
    )
    if model == "default":
        fix = "Name the agent's model, or default_model in graphorch.toml."
    return [Gap("", "dollars", f"the price of '{model}' is not known", fix)]


def _no_timeout(seconds: float) -> list[Gap]:
    if not math.isinf(seconds):
        return []
    return [Gap("", "seconds", "no timeout ends a call", "Give the node timeout=… or deadline=….")]
