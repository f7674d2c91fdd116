"""The circuit breaker's arrows, and the budget on asking again."""

from __future__ import annotations

import random

import pytest

from graphorch.errors import InputError
from graphorch.models.policies.circuit_breaker import (
    BreakerRules,
    CircuitBreaker,
    RetryBudget,
    RetryRules,
    next_pause,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        permit = breaker.admit()
        assert permit is not None
        permit.close(False)


def opened(clock: Clock, rules: BreakerRules | None = None) -> CircuitBreaker:
    breaker = CircuitBreaker(rules, clock=clock)
    fail(breaker, 5)
    assert breaker.state == "open"
    return breaker


def test_five_failures_in_a_row_open_it_for_thirty_seconds() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    fail(breaker, 4)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert (breaker.state, breaker.admit(), breaker.seconds_to_probe) == ("open", None, 30.0)


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker(BreakerRules(volume=100), clock=Clock())
    for _ in range(20):
        fail(breaker, 4)
        permit = breaker.admit()
        assert permit is not None
        permit.close(True)
    assert breaker.state == "closed"


def test_a_large_share_of_failures_opens_it_even_if_not_in_a_row() -> None:
    breaker = CircuitBreaker(clock=Clock())
    for verdict in [True, False] * 5:
        permit = breaker.admit()
        assert permit is not None
        permit.close(verdict)
    assert breaker.state == "open"


def test_failures_of_long_ago_do_not_count() -> None:
    clock = Clock()
    breaker = CircuitBreaker(BreakerRules(in_a_row=100), clock=clock)
    for verdict in [True, False] * 4:
        permit = breaker.admit()
        assert permit is not None
        permit.close(verdict)
    clock.now = 61
    fail(breaker, 9)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"


def test_after_the_rest_exactly_one_probe_goes_first() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    probe = breaker.admit()
    assert probe is not None
    assert probe.is_probe
    assert [breaker.admit() for _ in range(100)] == [None] * 100
    probe.close(True)
    assert breaker.state == "closed"
    assert breaker.admit() is not None


def test_a_probe_that_fails_rests_twice_as_long_up_to_five_minutes() -> None:
    clock = Clock()
    breaker = opened(clock)
    rests: list[float] = []
    for _ in range(6):
        clock.now += breaker.seconds_to_probe or 0
        fail(breaker, 1)
        rests.append(breaker.seconds_to_probe or 0)
    assert rests == [60, 120, 240, 300, 300, 300]


def test_a_recovery_forgets_how_often_it_had_opened() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    fail(breaker, 1)
    clock.now += 60
    probe = breaker.admit()
    assert probe is not None
    probe.close(True)
    fail(breaker, 5)
    assert breaker.seconds_to_probe == 30


def test_a_probe_without_a_verdict_makes_room_for_another() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    probe = breaker.admit()
    assert probe is not None
    probe.close(None)
    assert breaker.state == "half-open"
    assert breaker.admit() is not None


def test_calls_from_before_it_opened_have_no_say() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    early = [breaker.admit() for _ in range(10)]
    fail(breaker, 5)
    for permit in early[:5]:
        assert permit is not None
        permit.close(True)
    assert breaker.state == "open"
    clock.now = 30
    probe = breaker.admit()
    for permit in early[5:]:
        assert permit is not None
        permit.close(False)
    assert breaker.state == "half-open"
    assert probe is not None
    probe.close(True)
    assert breaker.state == "closed"


def test_an_early_probe_is_one_at_a_time() -> None:
    breaker = opened(Clock())
    assert breaker.admit(early=True) is not None
    assert breaker.admit(early=True) is None


def test_random_verdicts_never_let_two_probes_out_together() -> None:
    chance = random.Random(1)
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    out: list = []
    for _ in range(20_000):
        clock.now += chance.random() * 5
        if chance.random() < 0.6:
            permit = breaker.admit(early=chance.random() < 0.05)
            if permit is not None:
                out.append(permit)
        elif out:
            out.pop(chance.randrange(len(out))).close(chance.choice([True, False, False, None]))
        current = [permit for permit in out if permit.is_probe and permit._era == breaker._era]
        assert len(current) <= 1


@pytest.mark.parametrize("wrong", [{"in_a_row": 0}, {"ratio": 0}, {"ratio": 1.5}, {"rest": 0}])
def test_breaker_rules_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        BreakerRules(**wrong)  # type: ignore[arg-type]


def test_the_retry_budget_allows_a_reserve_and_a_share_of_the_calls() -> None:
    clock = Clock()
    budget = RetryBudget(RetryRules(), clock=clock)
    taken = 0
    for _ in range(1000):
        budget.count_call()
        while budget.try_take():
            taken += 1
    assert 209 <= taken <= 210  # 10 and a fifth of 1,000


def test_the_retry_budget_fills_slowly_with_time() -> None:
    clock = Clock()
    budget = RetryBudget(RetryRules(reserve=0, share=0), clock=clock)
    clock.now = 35
    budget.count_call()
    assert [budget.try_take() for _ in range(4)] == [True, True, True, False]


def test_pauses_grow_spread_and_stay_below_the_longest() -> None:
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
def test_retry_rules_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        RetryRules(**wrong)  # type: ignore[arg-type]
