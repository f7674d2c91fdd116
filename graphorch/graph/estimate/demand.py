"""Demand of one activation of one node: at most, and usually."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap, Pricing, Tariff
from graphorch.graph.node import Node
from graphorch.graph.options import NodeSettings
from graphorch.models.messages import Usage

# Usual calls of an agent with tools: two rounds of them, and the answer.
_CALLS_WITH_TOOLS = 3
# Most calls of an agent without tools: the answer, and its repair if it does not fit.
_CALLS_WITH_REPAIR = 2


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
    # A plain function without a timeout counts as instantaneous, the pauses between its attempts
    # do not.
    seconds = _compute_seconds(node.options)
    if math.isinf(seconds):
        seconds = _sum_pauses(node.options)
    return Demand(Amounts(activations=1, seconds=seconds), Amounts(activations=1))


def _function_demand(node: Node[Any]) -> Demand:
    seconds = _compute_seconds(node.options)
    fix = "Make it an @agent, or run with Budget(calls=…, usd=…)."
    gaps = [Gap("", "calls", "a function with a context asks models as often as it likes", fix)]
    gaps += _no_timeout(seconds)
    worst = Amounts(1, math.inf, math.inf, math.inf, math.inf, seconds)
    return Demand(worst, Amounts(activations=1), tuple(gaps))


def _agent_demand(node: Node[Any], tariff: Tariff, assumed: Assumed, replaced: str) -> Demand:
    call, options = node.fn, node.options
    most_calls: int = getattr(call, "most_calls", 1)
    limit: int | None = getattr(call, "max_tokens", None)
    model = replaced or getattr(call, "model", "") or "default"
    prices = tariff(model)
    seconds = _compute_seconds(options)
    gaps = [*_no_limit(limit), *_no_price(prices, model), *_no_timeout(seconds)]
    activation = Amounts(activations=1)
    # At worst every attempt is hedged and makes all of its calls.
    attempts = _count_attempts(options)
    if options.hedge_after is not None:
        attempts *= 2
    worst = _worst_call(prices, assumed, limit).times(attempts * most_calls)
    worst += replace(activation, seconds=seconds)
    # Usually the first attempt is enough, and its answer needs no repair.
    usual_calls = _CALLS_WITH_TOOLS
    if most_calls <= _CALLS_WITH_REPAIR:
        usual_calls = min(most_calls, 1)
    expected = activation + _usual_call(prices, assumed, limit).times(usual_calls)
    return Demand(worst, expected, tuple(gaps), model)


def _worst_call(prices: Sequence[Pricing] | None, assumed: Assumed, limit: int | None) -> Amounts:
    """Return the most that one call needs."""
    # A policy may pay several targets for one call.
    requests = 1 if prices is None else len(prices)
    answer = math.inf if limit is None else limit
    tokens = Amounts(input_tokens=assumed.longest_prompt, output_tokens=answer).times(requests)
    return tokens + Amounts(calls=1, usd=_worst_usd(prices, assumed, limit))


def _usual_call(prices: Sequence[Pricing] | None, assumed: Assumed, limit: int | None) -> Amounts:
    """Return what one call needs by the assumptions."""
    prompt, answer = assumed.usual_prompt, assumed.usual_answer
    if limit is not None:
        answer = min(limit, answer)
    return Amounts(
        calls=1,
        input_tokens=prompt,
        output_tokens=answer,
        usd=prices[0].cost(Usage(prompt, answer)) if prices else math.inf,
        seconds=assumed.first_token + answer / assumed.tokens_per_second,
    )


def _worst_usd(prices: Sequence[Pricing] | None, assumed: Assumed, limit: int | None) -> float:
    """Return the most dollars that one call costs.

    Infinite if a price is unknown, or if answers have a price but no limit.
    """
    if prices is None:
        return math.inf
    if limit is None and any(price.worst(0, 1_000_000) > 0 for price in prices):
        return math.inf
    return sum(price.worst(assumed.longest_prompt, limit or 0) for price in prices)


def _count_attempts(options: NodeSettings) -> int:
    return 1 if options.retry is None else options.retry.attempts


def _compute_seconds(options: NodeSettings) -> float:
    """Return the most seconds of an activation with all its attempts and pauses; maybe `inf`."""
    seconds = math.inf
    if options.timeout is not None:
        seconds = options.timeout * _count_attempts(options) + _sum_pauses(options)
    if options.deadline is not None:
        seconds = min(seconds, options.deadline)
    return seconds


def _sum_pauses(options: NodeSettings) -> float:
    """Return the most seconds between the attempts of an activation."""
    if options.retry is None:
        return 0.0
    return sum(map(options.retry.pause, range(1, options.retry.attempts)))


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
