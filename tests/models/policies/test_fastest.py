"""The policy `fastest` beside an oracle that knows every target, in many scenarios."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.models.policies.routing import (
    SCENARIOS,
    Outcome,
    Scenario,
    always,
    make_fastest,
    make_oracle,
    simulate,
    slow,
)


def compare(
    scenario: Scenario, *, callers: int, calls: int, seeds: Sequence[int] = (0,)
) -> tuple[float, float]:
    """Return the mean and the 99th percentile of the policy, as multiples of the oracle's."""
    ours = Outcome()
    best = Outcome()
    for seed in seeds:
        for outcome, make in ((ours, make_fastest), (best, make_oracle)):
            result = simulate(scenario, make(scenario.aim), callers=callers, calls=calls, seed=seed)
            assert result.failed == 0
            outcome.seconds += result.seconds
    return ours.mean / best.mean, ours.quantile(0.99) / best.quantile(0.99)


@pytest.mark.parametrize("name", SCENARIOS)
def test_fastest_is_near_oracle(name: str) -> None:
    """With one call at a time, the mean is at most 1.15 times the oracle's."""
    mean, _ = compare(SCENARIOS[name], callers=1, calls=600, seeds=(0, 1))
    assert mean <= 1.15


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_fastest_is_near_oracle_under_load(name: str) -> None:
    """With 200 calls at once, the mean after the first 200 is at most 1.3 times the oracle's."""
    mean, _ = compare(SCENARIOS[name], callers=200, calls=3000, seeds=(0, 1))
    assert mean <= 1.3


def test_fastest_remembers_stragglers() -> None:
    """A target whose answers now and then take very long is left to itself, P99 included."""
    mean, p99 = compare(SCENARIOS["stragglers"], callers=1, calls=2000)
    assert mean <= 1.1
    assert p99 <= 1.8


@pytest.mark.parametrize(("capacity", "least", "most"), [(10_000.0, 0.85, 1.0), (10.0, 0.35, 0.65)])
def test_fastest_learns_load_of_target(capacity: float, least: float, most: float) -> None:
    """A target that load does not slow gets nearly all calls, and another one its part."""
    plans = [always(capacity=capacity), lambda time: slow(3)]
    outcome = simulate(Scenario(plans), make_fastest("answer"), callers=60, calls=1200, seed=0)
    assert least <= outcome.asked[0] / sum(outcome.asked) <= most
