"""What runs may use: never more than the command line of the server allows.

A request may ask for less. A run that goes on keeps the limits that it has, where they are lower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field

from graphorch.core.state import UNLIMITED
from graphorch.engine.replay import ReplayedRun
from graphorch.engine.settings import Limits
from graphorch.models.budgets.budget import Budget
from graphorch.runs.options import RunOptions
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import RequestModel
from graphorch.server.problems import Mistake, refuse_mistakes

_OPTIONS: Final = {"usd": "--usd", "seconds": "--seconds", "activations": "--activations"}

Dollars = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=2**53)]


class BudgetBody(RequestModel):
    """What a run may use in all: US dollars, tokens, model calls, seconds."""

    usd: Dollars | None = None
    tokens: Count | None = None
    calls: Count | None = None
    seconds: Seconds | None = None


class LimitsBody(RequestModel):
    """New limits of a run, which count what it used before; null keeps what it has."""

    usd: Dollars | None = None
    seconds: Seconds | None = None
    activations: Count | None = None


def choose_budget(context: ServerContext, asked: BudgetBody | None, place: str) -> Budget | None:
    """Return the budget of a new run. Raises `Problem` if it is above that of the server."""
    cap = context.options.get("budget")
    if asked is None:
        return cap
    given = asked.model_dump()
    allowed = dict(_list_amounts(cap))
    mistakes = [
        _refuse_amount(f"{place}/{unit}", given[unit], most, unit)
        for unit, most in allowed.items()
        if given[unit] is not None and given[unit] > most
    ]
    if mistakes:
        raise refuse_mistakes(mistakes, "body")
    amounts = {**allowed, **{unit: most for unit, most in given.items() if most is not None}}
    return _build_budget(amounts) if amounts else None


def keep_limits(context: ServerContext, stored: ReplayedRun) -> RunOptions:
    """Return the options of a run that goes on: its own, where the server allows no less."""
    limits = context.options.get("limits") or Limits()
    own = RunOptions(limits=limits, budget=keep_budget(context, stored.budget))
    run = stored.run
    is_limited = run.activations_left < UNLIMITED // 2
    if is_limited and (limits.activations or UNLIMITED) > run.activations_left + run.started:
        own["limits"] = replace(limits, activations=None)
    if stored.model:
        own["model"] = ""
    return own


def change_limits(context: ServerContext, stored: ReplayedRun, asked: LimitsBody) -> RunOptions:
    """Return the options of a run that is resumed with other limits.

    Raises `Problem` if one is above that of the server.
    """
    own, cap = keep_limits(context, stored), context.options.get("limits") or Limits()
    most = {
        "usd": dict(_list_amounts(context.options.get("budget"))).get("usd"),
        "seconds": cap.seconds,
        "activations": cap.activations,
    }
    given = asked.model_dump()
    mistakes = [
        _refuse_amount(f"/limits/{name}", given[name], bound, name)
        for name, bound in most.items()
        if given[name] is not None and bound is not None and given[name] > bound
    ]
    if mistakes:
        raise refuse_mistakes(mistakes, "body")
    if asked.usd is not None:
        amounts = {**(stored.budget or {}), "usd": asked.usd}
        own["budget"] = _build_budget(amounts)
    limits = own.get("limits") or Limits()
    if asked.seconds is not None:
        limits = replace(limits, seconds=asked.seconds)
    if asked.activations is not None:
        limits = replace(limits, activations=asked.activations)
    own["limits"] = limits
    return own


def keep_budget(context: ServerContext, stored: Mapping[str, float] | None) -> Budget | None:
    """Return the lower of two budgets, by unit; None keeps that of the run."""
    allowed = dict(_list_amounts(context.options.get("budget")))
    kept = stored or {}
    if all(kept.get(unit, most + 1) <= most for unit, most in allowed.items()):
        return None
    return _build_budget(
        {unit: min(kept.get(unit, most), most) for unit, most in {**kept, **allowed}.items()}
    )


def _build_budget(amounts: Mapping[str, float]) -> Budget:
    counts = {unit: int(amounts[unit]) for unit in ("tokens", "calls") if unit in amounts}
    return Budget(usd=amounts.get("usd"), seconds=amounts.get("seconds"), **counts)


def _list_amounts(budget: Budget | None) -> list[tuple[str, float]]:
    if budget is None:
        return []
    return [(unit, amount) for unit, amount in budget.amounts() if amount is not None]


def _refuse_amount(place: str, given: float, most: float, name: str) -> Mistake:
    option = _OPTIONS.get(name, "a budget")
    return {
        "where": place,
        "what": f"{given:g} is more than {most:g}, which this server allows (its {option}).",
    }
