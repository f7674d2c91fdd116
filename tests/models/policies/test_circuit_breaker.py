"""Transitions of the circuit breaker."""

from __future__ import annotations

import random

import pytest

from graphorch.errors import InputError
from graphorch.models.policies.circuit_breaker import BreakerRules, CircuitBreaker
from tests.models.policies.clock import Clock


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


def test_breaker_opens_after_five_failures() -> None:
    """Five failures in a row open it for thirty seconds, and four do not."""
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    fail(breaker, 4)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert (breaker.state, breaker.admit(), breaker.seconds_to_probe) == ("open", None, 30.0)


def test_breaker_stays_closed_after_success() -> None:
    """A success between failures starts the row again."""
    breaker = CircuitBreaker(BreakerRules(volume=100), clock=Clock())
    for _ in range(20):
        fail(breaker, 4)
        permit = breaker.admit()
        assert permit is not None
        permit.close(True)
    assert breaker.state == "closed"


def test_breaker_opens_at_large_share() -> None:
    """A large share of failures opens it even if they are not in a row."""
    breaker = CircuitBreaker(clock=Clock())
    for verdict in [True, False] * 5:
        permit = breaker.admit()
        assert permit is not None
        permit.close(verdict)
    assert breaker.state == "open"


def test_breaker_forgets_old_failures() -> None:
    """Only calls within the window count."""
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


def test_breaker_admits_one_probe() -> None:
    """After the rest exactly one call goes through until its verdict."""
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


def test_failed_probe_doubles_rest() -> None:
    """A probe that fails doubles the rest, up to five minutes."""
    clock = Clock()
    breaker = opened(clock)
    rests: list[float] = []
    for _ in range(6):
        clock.now += breaker.seconds_to_probe or 0
        fail(breaker, 1)
        rests.append(breaker.seconds_to_probe or 0)
    assert rests == [60, 120, 240, 300, 300, 300]


def test_failed_early_probe_keeps_rest() -> None:
    """A probe that was sent before its time and fails makes the rest no longer."""
    clock = Clock()
    breaker = opened(clock)
    times: list[float] = []
    while clock.now < 30:
        probe = breaker.admit(early=True)
        if probe is not None:
            times.append(clock.now)
            probe.close(False)
        assert breaker.seconds_to_probe == 30 - clock.now
        clock.now += 0.5
    assert times == [0, 1, 3, 7, 12, 17, 22, 27]  # a distance of 1, 2, 4, then 5 seconds
    clock.now = 30
    fail(breaker, 1)
    assert breaker.seconds_to_probe == 60


def test_recovery_resets_rest() -> None:
    """After a recovery the next rest is a short one again."""
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


def test_probe_without_verdict_frees_place() -> None:
    """A probe that ends without a verdict lets another one go."""
    clock = Clock()
    breaker = opened(clock)
    clock.now = 30
    probe = breaker.admit()
    assert probe is not None
    probe.close(None)
    assert breaker.state == "half-open"
    assert breaker.admit() is not None


def test_verdict_of_earlier_era_is_ignored() -> None:
    """A call that was let in before the breaker opened changes nothing."""
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


def test_early_probe_goes_alone() -> None:
    """Early probes go one at a time, too."""
    breaker = opened(Clock())
    assert breaker.admit(early=True) is not None
    assert breaker.admit(early=True) is None


def test_random_verdicts_allow_one_probe() -> None:
    """No sequence of verdicts lets two probes of one era out together."""
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
def test_breaker_rules_out_of_range(wrong: dict[str, float]) -> None:
    """Each value out of range is refused with its name."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        BreakerRules(**wrong)  # type: ignore[arg-type]
