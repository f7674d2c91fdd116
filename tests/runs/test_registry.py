"""Open runs of a flow: one of an id at a time, and a bounded number of unfinished ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from graphorch import InputError
from graphorch.runs.registry import MAX_KEPT, OpenRuns


def make_scheduler(run_id: str, status: str = "failed") -> Any:
    """Stand in for a scheduler: its run has only an id and a status."""
    return SimpleNamespace(run=SimpleNamespace(run_id=run_id, status=status))


def test_id_is_under_way_only_once() -> None:
    """The id is free again when its run has ended."""
    runs, first, second = OpenRuns("g"), make_scheduler("r", "succeeded"), make_scheduler("r")
    runs.begin(first)
    with pytest.raises(InputError, match="A run r of flow 'g' is under way already"):
        runs.begin(second)
    runs.end(first)
    runs.begin(second)
    assert runs.find("r") is second


@pytest.mark.parametrize("status", ["waiting", "stopped", "failed"])
def test_unfinished_run_is_kept(status: str) -> None:
    runs, scheduler = OpenRuns("g"), make_scheduler("r", status)
    runs.begin(scheduler)
    runs.end(scheduler)
    assert runs.find("r") is scheduler


@pytest.mark.parametrize("status", ["succeeded", "partial", "cancelled"])
def test_finished_run_is_forgotten(status: str) -> None:
    runs, scheduler = OpenRuns("g"), make_scheduler("r", status)
    runs.begin(scheduler)
    runs.end(scheduler)
    with pytest.raises(InputError, match="Flow 'g' has no open run 'r'"):
        runs.find("r")


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_oldest_failed_run_is_dropped_with_notice(status: str) -> None:
    """Later runs take its place, and resuming it says that it was dropped, and why."""
    runs = OpenRuns("g")
    for number in range(MAX_KEPT + 1):
        scheduler = make_scheduler(f"r{number}", status)
        runs.begin(scheduler)
        runs.end(scheduler)
    assert runs.find("r1").run.run_id == "r1"
    with pytest.raises(InputError, match=r"Run r0 .* was dropped .* after 256 later runs"):
        runs.find("r0")


@pytest.mark.parametrize("status", ["waiting", "failed"])
def test_waiting_runs_are_never_dropped(status: str) -> None:
    """Neither for later ones that wait, nor for later ones that failed."""
    runs = OpenRuns("g")
    for number in range(10):
        runs.end(make_scheduler(f"question{number}", "waiting"))
    for number in range(4 * MAX_KEPT):
        runs.end(make_scheduler(f"r{number}", status))
    for number in range(10):
        assert runs.find(f"question{number}").run.status == "waiting"


def test_answered_run_is_no_longer_kept() -> None:
    """A run that waited and then ended leaves no trace."""
    runs, scheduler = OpenRuns("g"), make_scheduler("r", "waiting")
    runs.end(scheduler)
    runs.begin(scheduler)
    scheduler.run.status = "succeeded"
    runs.end(scheduler)
    with pytest.raises(InputError, match="no open run 'r'"):
        runs.find("r")


def test_unknown_id_names_nearest() -> None:
    runs = OpenRuns("g")
    runs.begin(make_scheduler("nightly"))
    with pytest.raises(InputError, match="Did you mean 'nightly'"):
        runs.find("nigthly")
