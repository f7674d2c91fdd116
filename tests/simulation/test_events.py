"""Simulated runs with signals, timers and firsts: what happened, and in which order, decides all.

A long run is `pytest -m slow tests/simulation/test_events.py`.
"""

from __future__ import annotations

import inspect
import random

import pytest

from graphorch.errors import InternalError
from tests.simulation import planted_events
from tests.simulation.driver import Broken
from tests.simulation.simulate import EVENTS, simulate_events

PARTS, GRAPHS = 4, 10  # × the schedules of events
SEED = random.SystemRandom().randrange(10**9)  # of the long simulation

# what detects a bug, and the first of the 30 graphs that are run
DETECTED_BY = {
    planted_events.signal_goes_to_the_last_that_waits: ("I15 the reference follows", 240),
    planted_events.rivals_go_on: ("check_invariants", 0),
    planted_events.timer_leaves_its_rivals: ("I32 first of several", 0),
    planted_events.kept_signals_are_lost_on_resume: ("I31 resume", 0),
    planted_events.signal_is_given_again: ("I28 signals", 0),
    planted_events.nothing_starts_after_a_withdrawal: ("check_invariants", 155),
}


@pytest.mark.parametrize("part", range(PARTS))
def test_events_end_like_reference(part: int) -> None:
    """Whenever events come, and processes die, a run ends as the reference does."""
    tally = simulate_events(part * 10_000, graphs=GRAPHS)
    assert tally.runs == GRAPHS * len(EVENTS)
    assert min(tally.signals, tally.refused_signals, tally.crashes) > 20


@pytest.mark.parametrize("seed", [30_015, 692_835_952])
def test_graphs_that_found_faults(seed: int) -> None:
    """What waits in late work is withdrawn without a fault: nodes behind it, and their counts."""
    assert simulate_events(seed, graphs=1).runs == len(EVENTS)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(40))
def test_100_000_runs_of_events(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Other graphs each time. A failure names its seed, which repeats it."""
    seed = SEED + part * 1_000
    with capsys.disabled():
        print(f"\nseed {seed}:", end=" ", flush=True)
        tally = simulate_events(seed, graphs=278)
        print(f"{tally}; {tally.signals} signals, {tally.refused_signals} refused")
    assert tally.runs == 278 * len(EVENTS)  # × 40 parts: 100,080


@pytest.mark.parametrize("bug", DETECTED_BY, ids=lambda bug: bug.__name__)
def test_planted_bug_of_events_is_detected(bug) -> None:
    """A planted bug breaks the rule that is meant to detect it."""
    check, seed = DETECTED_BY[bug]
    with bug(), pytest.raises((Broken, InternalError)) as raised:
        simulate_events(seed, graphs=30)
    error = raised.value
    assert (error.check if isinstance(error, Broken) else "check_invariants") == check
    assert "drive(random_graph(" in error.__notes__[0]  # how to see it again


def test_every_bug_of_events_is_planted() -> None:
    """Every bug that can be planted is."""
    members = vars(planted_events).values()
    made = {
        item
        for item in members
        if inspect.isfunction(item) and item.__module__ == planted_events.__name__
    }
    assert made == {*DETECTED_BY}
