"""Schedules of work: what waits for what, and for a slot of which limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.trace.analysis.work_schedule import (
    Limit,
    Work,
    WorkItem,
    compute_finishes,
    measure,
    schedule,
)


def work(*rows: tuple[float, tuple[int, ...]], at_once: int | None = None) -> Work:
    """Return items that all need a slot of one limit."""
    items = [
        WorkItem(f"w{number}", seconds, after, (0,), (0,), (0.0, number))
        for number, (seconds, after) in enumerate(rows)
    ]
    return Work(items, (Limit("the run", at_once),))


def limited(items: Work, at_once: int) -> float:
    return measure(items.with_limits([Limit("the run", at_once)]))


def test_diamond_takes_its_longer_side() -> None:
    """A diamond takes as long as its longer side, and with one slot the sum of both."""
    diamond = work((1, ()), (5, (0,)), (2, (0,)), (1, (1, 2)))
    assert measure(diamond) == 7
    assert [limited(diamond, at_once) for at_once in (1, 2, 4)] == [9, 7, 7]


def test_limit_of_two_halves_time() -> None:
    """A limit of two on four equal items takes half of the sum."""
    four = work(*[(3.0, ()) for _ in range(4)])
    assert [limited(four, at_once) for at_once in (1, 2, 4, 8)] == [12, 6, 3, 3]


def test_slot_is_a_dependency() -> None:
    """The critical path goes along the item whose slot another one got, and slack counts it."""
    items = work((2, ()), (3, ()), (4, ()), at_once=2)
    times = schedule(items)
    assert (times.seconds, times.trace_path(), times.contested) == (6.0, [0, 2], {0})
    assert times.compute_slack(items.items) == [0.0, 3.0, 0.0]


def test_slot_that_was_free_limits_slack() -> None:
    """An item can take longer until another one must have its slot: at 6, not at the end at 9."""
    items = work((2, ()), (5, ()), (3, (1,)), (4, (1,)), at_once=2)
    assert schedule(items).compute_slack(items.items) == [4.0, 0.0, 1.0, 0.0]


@st.composite
def plans(draw: st.DrawFn) -> Work:
    """Draw work in which each item waits for some earlier ones."""
    count = draw(st.integers(1, 12))
    rows: list[tuple[float, tuple[int, ...]]] = []
    for number in range(count):
        before = st.sets(st.integers(0, number - 1)) if number else st.just(set[int]())
        rows.append((float(draw(st.integers(0, 9))), tuple(sorted(draw(before)))))
    return work(*rows)


@given(plans(), st.integers(1, 5))
def test_schedule_keeps_grahams_bounds(items: Work, at_once: int) -> None:
    """No schedule beats the critical path or a full load, and list scheduling is near both.

    Source: Graham 1969, "Bounds on multiprocessing timing anomalies".
    """
    critical = max(compute_finishes(items.items))
    busy = sum(item.seconds for item in items.items)
    seconds = limited(items, at_once)
    assert max(critical, busy / at_once) - 1e-9 <= seconds
    assert seconds <= busy / at_once + critical * (1 - 1 / at_once) + 1e-9


@given(plans())
def test_limit_ends_match_sums(items: Work) -> None:
    """One slot takes the sum of all work, and a slot for each item the critical path."""
    assert limited(items, 1) == sum(item.seconds for item in items.items)
    assert limited(items, len(items.items)) == max(compute_finishes(items.items))


@given(plans(), st.integers(1, 4))
def test_critical_path_adds_up(items: Work, at_once: int) -> None:
    """The seconds on the critical path are those of the whole, whatever limits there are."""
    times = schedule(items.with_limits([Limit("the run", at_once)]))
    path = times.trace_path()
    assert sum(items.items[number].seconds for number in path) == pytest.approx(times.seconds)
    slack = times.compute_slack(items.items)
    assert min(slack) >= 0
    assert all(slack[number] == 0 for number in path)
