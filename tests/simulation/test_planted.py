"""Planted bugs: the simulation finds each within a few hundred runs; a table names the check."""

from __future__ import annotations

import inspect

import pytest

from graphorch.errors import InternalError
from tests.simulation import planted
from tests.simulation.driver import Broken
from tests.simulation.simulate import SCHEDULES, simulate

WITHIN = 200  # graphs, of as many runs each as there are schedules

DETECTED_BY = {
    planted.join_fires_early: "check_invariants",
    planted.join_forgets_a_token: "I7 no token is left",
    planted.join_is_not_live_while_a_token_waits: "check_invariants",
    planted.join_counts_shared_history_twice: "I15 the same activations",
    planted.fold_in_order_of_completion: "I14 input is the fold of the causal past",
    planted.depth_of_the_first_branch: "the path in canonical order",
    planted.no_latch: "I10 no join fires early",
    planted.latch_blocks_its_own_body: "I15 the reference follows",
    planted.counters_survive_the_loop: "I15 the same activations",
    planted.body_of_one_loop_alone: "I15 the same activations",
    planted.exhausted_is_ignored: "I15 the reference follows",
    planted.double_start: "I3 attempts do not overlap",
    planted.start_in_a_closed_scope: "check_invariants",
    planted.retry_waits_forever_in_a_drain: "check_invariants",
    planted.lost_attempts_count: "stale events",
    planted.lost_results_count: "stale events",
    planted.failures_end_the_path: "I15 the same activations",
    planted.answers_are_forgotten: "the run succeeds",
    planted.resuming_runs_finished_work_again: "I2 committed once",
    planted.cancel_misses_one_node: "I10 no join fires early",
    planted.quorum_of_one_less: "I15 the reference follows",
    planted.items_in_order_of_completion: "I14 input is the fold of the causal past",
    planted.too_many_items_at_once: "check_invariants",
    planted.error_edge_and_all_others: "failures on error edges",
    planted.id_depends_on_the_attempt: "I5 ids",
    planted.busy_is_miscounted: "check_invariants",
    planted.region_is_not_taken: "I27 exclusive regions",
    planted.region_is_not_given_back: "check_invariants",
    planted.turn_in_a_closed_scope: "I24 nothing starts",
    planted.turn_without_a_unit_of_work: "check_invariants",
}


@pytest.mark.parametrize("bug", DETECTED_BY, ids=lambda bug: bug.__name__)
def test_planted_bug_is_detected(bug):
    """A planted bug breaks the invariant that is meant to detect it."""
    with bug(), pytest.raises((Broken, InternalError)) as raised:
        simulate(0, graphs=WITHIN)
    error = raised.value
    assert (error.check if isinstance(error, Broken) else "check_invariants") == DETECTED_BY[bug]
    assert "drive(random_graph(" in error.__notes__[0]  # how to see it again


def test_every_bug_is_planted():
    """Every bug that can be planted is."""
    made = {
        item
        for name, item in vars(planted).items()
        if inspect.isfunction(item)
        and item.__module__ == planted.__name__
        and not name.startswith("replaced")
    }
    assert made == {*DETECTED_BY}


def test_no_bug_no_finding():
    """Without a bug every invariant holds."""
    assert simulate(0, graphs=10).runs == 10 * len(SCHEDULES)
