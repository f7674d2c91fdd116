"""The named sets of statuses of runs."""

from __future__ import annotations

from typing import get_args

from graphorch.statuses import (
    COUNTED_AS,
    FINAL_STATUSES,
    HALTED_STATUSES,
    RESUMABLE_STATUSES,
    RUN_STATUSES,
    SUCCESS_STATUSES,
    UNFINISHED_STATUSES,
    RunStatus,
)


def test_run_statuses_list_the_type() -> None:
    """The tuple for programs and the type for checkers hold identical words."""
    assert get_args(RunStatus) == RUN_STATUSES


def test_sets_hold_known_statuses_only() -> None:
    """A misspelt status would never match."""
    for statuses in (
        FINAL_STATUSES,
        HALTED_STATUSES,
        RESUMABLE_STATUSES,
        SUCCESS_STATUSES,
        UNFINISHED_STATUSES,
    ):
        assert statuses <= set(RUN_STATUSES)


def test_final_and_resumable_are_disjoint() -> None:
    """A run that is over cannot be resumed; every other one is running, or can be."""
    assert not FINAL_STATUSES & RESUMABLE_STATUSES
    assert FINAL_STATUSES | RESUMABLE_STATUSES | {"running"} == set(RUN_STATUSES)


def test_narrow_sets_lie_in_their_wide_ones() -> None:
    """A halted run can be resumed, and a successful one is over."""
    assert HALTED_STATUSES < RESUMABLE_STATUSES
    assert SUCCESS_STATUSES < FINAL_STATUSES
    assert not HALTED_STATUSES & SUCCESS_STATUSES


def test_every_status_is_counted_once() -> None:
    """Each status, and that of a run whose process is gone, counts as exactly one thing."""
    counted = [status for statuses in COUNTED_AS.values() for status in statuses]
    assert sorted(counted) == sorted([*RUN_STATUSES, "crashed"])
