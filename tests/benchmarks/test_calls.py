"""Function calls per node: a measure of the hot path that does not depend on a busy machine.

Each bound is a little above what was counted when it was set. A change that needs fewer calls
lowers it; a change that needs more has to justify it. Run `python -m tests.benchmarks profile W1`
to see where they are made.
"""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks.by_graphorch import Programs
from tests.benchmarks.calls import calls_per_unit, count_calls
from tests.benchmarks.workloads import FIELD_NODES, IDLE_ROUNDS

PLAIN, WATCHED = Programs(), Programs(is_watched=True)
# calls of a further node, branch, round of two nodes, item
# The interpreter of Python 3.12 itself makes one call more for an item of a map.
MAP_ITEMS = 120 if sys.version_info[:2] == (3, 12) else 119
BOUNDS = {"chain": 27, "fan_out": 107, "loop": 86, "map_items": MAP_ITEMS}
ROUTED_RUN = 240  # calls of a whole run: a router and the node that it chose
OBSERVER_FACTOR = 2.5  # an observer of all events may cost so many times more


@pytest.mark.parametrize("program", BOUNDS)
def test_calls_per_unit_are_bounded(program: str) -> None:
    """Each further node, branch, round or item costs at most so many calls."""
    assert calls_per_unit(getattr(PLAIN, program), 10, 40) <= BOUNDS[program]


def test_calls_of_routed_run_are_bounded() -> None:
    assert count_calls(PLAIN.router(10)) <= ROUTED_RUN


@pytest.mark.parametrize("program", BOUNDS)
def test_calls_with_observer_are_bounded(program: str) -> None:
    """Runs with an observer take at most two and a half times the calls of runs without."""
    without, observed = (
        calls_per_unit(getattr(programs, program), 10, 40) for programs in (PLAIN, WATCHED)
    )
    assert without < observed <= OBSERVER_FACTOR * without


@pytest.mark.parametrize("program", [*BOUNDS, "unbalanced", "history"])
def test_calls_grow_linearly(program: str) -> None:
    """Another unit beside many costs as much as another unit beside few."""
    make = getattr(PLAIN, program)
    assert calls_per_unit(make, 100, 200) <= 1.02 * calls_per_unit(make, 10, 20)


def test_idle_nodes_cost_nothing() -> None:
    """Idle nodes add no calls to a round.

    Without any idle node there is no route either, so a run with an idle node may take more calls.
    """
    none, number, many = (count_calls(PLAIN.idle(size)) / IDLE_ROUNDS for size in (0, 1, 800))
    assert many <= 1.01 * number
    assert many <= 1.1 * none


def test_unused_fields_cost_nothing() -> None:
    """Nodes cost the same on a state of 500 fields as on a state of a single field."""
    few, many = (count_calls(PLAIN.fields(size)) / FIELD_NODES for size in (1, 500))
    assert many <= 1.01 * few
