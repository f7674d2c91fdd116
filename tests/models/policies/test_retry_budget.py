"""Budget of retries: its share of the calls, its pauses, and the checks of its rules."""

from __future__ import annotations

import random

import pytest

from graphorch.errors import InputError
from graphorch.models.policies.retry_budget import RetryBudget, RetryRules, next_pause
from tests.models.policies.clock import Clock


def test_retry_budget_earns_share() -> None:
    """It holds the reserve and a fifth of the calls."""
    clock = Clock()
    budget = RetryBudget(RetryRules(), clock=clock)
    taken = 0
    for _ in range(1000):
        budget.count_call()
        while budget.try_take():
            taken += 1
    assert 209 <= taken <= 210  # 10 and a fifth of 1,000


def test_retry_budget_fills_with_time() -> None:
    """It also earns a little per second."""
    clock = Clock()
    budget = RetryBudget(RetryRules(reserve=0, share=0), clock=clock)
    clock.now = 35
    budget.count_call()
    assert [budget.try_take() for _ in range(4)] == [True, True, True, False]


def test_pauses_grow_and_spread() -> None:
    """Pauses grow, differ from call to call, and stay within their bounds."""
    chance = random.Random(0)
    rules = RetryRules()
    runs: list[list[float]] = []
    for _ in range(200):
        pauses = [0.0]
        for _ in range(12):
            pauses.append(next_pause(rules, pauses[-1], chance.random))
        runs.append(pauses[1:])
    assert all(rules.first / 2 <= pause <= rules.longest for pauses in runs for pause in pauses)
    assert len({pauses[0] for pauses in runs}) == 200
    assert sum(pauses[-1] for pauses in runs) > 10 * sum(pauses[0] for pauses in runs)


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"share": -0.1}, {"first": 0}, {"first": 5, "longest": 1}]
)
def test_retry_rules_out_of_range(wrong: dict[str, float]) -> None:
    """Each value out of range is refused with its name."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        RetryRules(**wrong)  # type: ignore[arg-type]
