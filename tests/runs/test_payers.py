"""Who pays for a call: one client of the caller's chain, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphorch import Budget, InputError
from graphorch.models.client import ModelClient
from graphorch.models.guardrails.client import Guard, GuardedClient, secrets
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from graphorch.models.pricing.metering import MeteredClient
from graphorch.models.response_cache import CachingClient
from graphorch.models.retry import RetryingClient
from graphorch.runs.payers import find_payer
from graphorch.testing import FlakyModel
from graphorch.testing.virtual_clock import run_virtual
from tests.models.fakes import Answer, FakeModel, Flat, Table
from tests.runs.asking import ENDPOINT, Topic, build_flow, build_router, run_failing

PRICES = Table({"m": Flat(0.001)})


def build_chains() -> dict[str, Callable[[FakeModel], ModelClient]]:
    def router(model: FakeModel) -> ModelClient:
        return build_router({"endpoints": {"main": ENDPOINT}}, model, prices=PRICES)

    def target(model: FakeModel) -> Target:
        return Target("m", model, prices=PRICES)

    return {
        "router": router,
        "policy": lambda model: fallback("p", [target(model)]),
        "target": target,
        "meter": lambda model: MeteredClient(model, PRICES),
        "guard around router": lambda model: GuardedClient(router(model), Guard(secrets())),
        "retry around guard": lambda model: RetryingClient(
            GuardedClient(router(model), Guard(secrets()))
        ),
        "fault around policy": lambda model: FlakyModel(fallback("p", [target(model)])),
    }


@pytest.mark.parametrize("name", build_chains())
def test_call_is_paid_once(name: str) -> None:
    """Two calls of ten tokens under a cap of three: each is counted once, whatever is around."""
    model = FakeModel(Answer(usd=1.0))
    client = build_chains()[name](model)
    result = run_virtual(
        build_flow("m", "m").run(Topic(), client=client, budget=Budget(calls=2, usd=10))
    )
    assert result.cost == pytest.approx(2.0)
    assert len(model.requests) == 2
    one_call = build_flow("m", "m").run(Topic(), client=client, budget=Budget(calls=1))
    assert "limit:calls" in run_failing(one_call)


def test_cache_is_looked_through(tmp_path: Path) -> None:
    """A cache around a router pays nothing itself."""
    router = build_router({"endpoints": {"main": ENDPOINT}}, FakeModel())
    cache = CachingClient(router, tmp_path / "cache.db", endpoint="here")
    assert find_payer(cache) is router
    assert find_payer(FakeModel()) is None


@pytest.mark.parametrize("is_guarded", [False, True])
def test_router_brings_its_budgets(is_guarded: bool) -> None:
    """A caller's router has the budgets of its configuration, also inside of a guard."""
    tables = {
        "endpoints": {"main": {**ENDPOINT, "free": True}},
        "budgets": {"run": {"calls": 1}, "day": {"calls": 3}},
    }
    router = build_router(tables, FakeModel())
    client = GuardedClient(router, Guard(secrets())) if is_guarded else router
    flow = build_flow("m", "m")
    assert "The budget of 'essay'" in run_failing(flow.run(Topic(), client=client))
    # the caller's own budget replaces that of the run, and the day is one for all runs
    run_virtual(flow.run(Topic(), client=client, budget=Budget(calls=9)))
    last = flow.run(Topic(), client=client, budget=Budget(calls=9))
    assert "The budget of 'day'" in run_failing(last)


@pytest.mark.parametrize("name", build_chains())
def test_unknown_price_is_known_before(name: str) -> None:
    """A dollar budget over a model without a price ends the run before any call."""
    model = FakeModel()
    client = build_chains()[name](model)
    if name in ("policy", "target", "fault around policy"):
        client = fallback("p", [Target("other", model, model="other", prices=PRICES)])
    with pytest.raises(InputError, match=r"Agent '\w+' of flow 'essay': .*price is not known"):
        run_virtual(build_flow("m", "other").run(Topic(), client=client, budget=Budget(usd=1)))
    assert model.requests == []
