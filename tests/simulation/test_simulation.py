"""Over a thousand simulated runs: invariants after every event, and the reference's result."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from graphorch.errors import WriteConflict
from tests.simulation.driver import Schedule, drive
from tests.simulation.graphs import Sample, random_graph
from tests.simulation.reference import Conflict, Result, TooLong, run_reference
from tests.simulation.simulate import SCHEDULES, features, simulate

PARTS, GRAPHS = 5, 20  # × the eleven schedules: 1,100 runs
SEED = random.SystemRandom().randrange(10**9)  # of the long simulation


@pytest.mark.parametrize("part", range(PARTS))
def test_schedules_end_like_reference(part):
    """Every schedule ends like the reference."""
    tally = simulate(part * 10_000, graphs=GRAPHS)
    assert tally.runs == GRAPHS * len(SCHEDULES)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(40))
def test_100_000_runs_end_like_reference(part, capsys):
    """Other graphs each time. A failure names its seed: `simulate(seed, graphs=1)` repeats it."""
    seed = SEED + part * 1_000
    with capsys.disabled():
        print(f"\nseed {seed}:", end=" ", flush=True)
        tally = simulate(seed, graphs=228)
        print(tally)
    assert tally.runs == 228 * len(SCHEDULES)  # × 40 parts: 100,320


def calm_graphs(count: int) -> Iterator[tuple[Sample, Result]]:
    """Return graphs without races, with the results of the reference."""
    for seed in range(count):
        sample = random_graph(seed)
        if not sample.races:
            with contextlib.suppress(Conflict, TooLong):
                yield sample, run_reference(sample)


def test_cancelled_run_ends_at_once():
    """Cancelled after each number of steps, until the run is over before that."""
    cancelled = 0
    for sample, _ in calm_graphs(40):
        for after in range(1, 40, 3):
            outcome = drive(
                sample, Schedule(sample.seed, cancel_after=after, limit=3, retries=10, asks=10)
            )
            if outcome.status != "cancelled":
                break
            cancelled += 1
    assert cancelled > 50


def test_isolated_failures_never_hang():
    """What fails is a dead path: the run ends, with what reached END or without."""
    ends: set[str] = set()
    for seed in range(60):
        with contextlib.suppress(WriteConflict):  # two branches of a race
            ends.add(
                drive(
                    random_graph(seed),
                    Schedule(seed, failures=8, retries=10, asks=5, limit=3, policy="isolate"),
                ).status
            )
    assert ends == {"succeeded", "partial", "failed"}


def test_reference_ignores_schedule():
    """The reference itself does not depend on the schedule."""
    for sample, first in calm_graphs(60):
        second = run_reference(sample, random.Random(sample.seed).choice)
        assert (first.done, first.final, first.path) == (second.done, second.final, second.path)


def test_seed_repeats_run():
    """The same seed gives the same run."""
    for sample, _ in calm_graphs(25):
        schedule = Schedule(sample.seed, limit=3, retries=10, stops=5)
        assert drive(sample, schedule) == drive(random_graph(sample.seed), schedule)


def test_generator_covers_every_structure():
    """The generator covers every structure."""
    covered = {feature for seed in range(150) for feature in features(random_graph(seed))}
    assert covered == {
        *(
            "loops",
            "nested loops",
            "loops on one header",
            "several sources",
            "exhausted nodes",
            "routes",
            "multi-choice",
            "maps",
        ),
        *("sub-flows", "two levels", "error edges", "races", "losers that finish"),
        "exclusive regions",
    }
