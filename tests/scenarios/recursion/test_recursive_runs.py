"""Runs of flows that run themselves: their bound, and how they are resumed, replayed and rerun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphorch import (
    InputError,
    Limits,
    NodeError,
    RecursionLimit,
    ReplayDiverged,
    RunFailed,
)
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.recursion.trees import (
    AnyFlow,
    Numbers,
    Place,
    Total,
    fibonacci_flow,
    halving_flow,
)

EIGHT = Numbers(numbers=[1, 2, 3, 4, 5, 6, 7, 8])


def fail(flow: AnyFlow, input: Any, **options: Any) -> NodeError:
    """Run a flow that fails, and return the failure of its node."""
    with pytest.raises(RunFailed) as failed:
        flow.run_sync(input, **options)
    error = failed.value.exceptions[0]
    assert isinstance(error, NodeError)
    return error


# ---- what it does --------------------------------------------------------------------------------
def test_recursive_map_divides_and_conquers() -> None:
    """A flow is the worker of its own map: each half is added up by the flow itself."""
    ran: list[int] = []
    result = halving_flow(3, ran=ran).run_sync(EIGHT)
    assert (result.output.total, sorted(ran)) == (36, EIGHT.numbers)
    paths = {step.path for step in result.steps}
    assert {"look", "halves[1]/look", "halves[0]/halves[1]/halves[0]/take"} <= paths


def test_recursive_sub_flows_run_side_by_side() -> None:
    """A flow has itself inside twice, and both share one plan for each level."""
    flow = fibonacci_flow(8)
    assert flow.run_sync(Place(place=10)).output.value == 55
    # Nine levels, and the plan without nodes below them.
    assert len(flow.plan.list_all()) == 10


def test_recursion_at_bound_fails_with_place() -> None:
    """Where the flow may not be inside itself once more, its node fails and names the bound."""
    error = fail(fibonacci_flow(2), Place(place=5))
    assert error.path in ("first/first/first", "first/first/second")
    assert isinstance(error.__cause__, RecursionLimit)
    assert error.__cause__.max_depth == 2
    assert "Flow 'fibonacci' is inside itself 2 times already, which is its max_depth" in str(error)


def test_recursive_map_at_bound_ends_without_items() -> None:
    """A map that has no items at the bound needs no deeper level; one with items fails."""
    flow = halving_flow(1)
    assert flow.run_sync(Numbers(numbers=[1, 2])).output.total == 3
    error = fail(flow, Numbers(numbers=[1, 2, 3]))
    assert error.path == "halves[1]/halves"


def test_recursion_at_bound_takes_error_edge() -> None:
    """The failure at the bound leads to a handler, which solves what is left directly."""
    ran: list[int] = []
    result = halving_flow(2, handled=True, ran=ran).run_sync(EIGHT)
    assert (result.output.total, sorted(ran)) == (36, EIGHT.numbers)
    paths = {step.path for step in result.steps if step.path.endswith("take")}
    assert paths == {f"halves[{left}]/halves[{right}]/take" for left in (0, 1) for right in (0, 1)}


def test_failure_at_bound_fits_edge_of_outermost_level() -> None:
    """An error edge outside of the recursion fits the failure at its bound, too."""
    flow = halving_flow(1, on_item_error="skip")
    # The inner map fails as a whole at the bound, and the outer one leaves that item out.
    result = flow.run_sync(Numbers(numbers=[1, 2, 3]))
    assert result.output.total == 1


# ---- the journal ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "input", "wanted"),
    [
        (lambda ran: fibonacci_flow(4, ran=ran), Place(place=5), 5),
        (lambda ran: halving_flow(3, ran=ran), Numbers(numbers=[1, 2, 3]), 6),
        (lambda ran: halving_flow(1, ran=ran, handled=True), Numbers(numbers=[1, 2, 3]), 6),
    ],
    ids=["sub-flows", "map", "bound"],
)
def test_recursion_resumes_after_every_record(make: Any, input: Any, wanted: int) -> None:
    """A run that is cut off after any record is resumed to the same end, and replayed to it."""

    async def check() -> None:
        store, ran, again = MemoryStore(), list[int](), list[int]()
        whole = await make(ran).run(input, run_id="r", durable=store)
        log = await store.load("r")
        for count in range(1, len(log.records) + 1):
            copy = MemoryStore()
            again.clear()
            await copy_run(log.head, log.records[:count], copy)
            flow = make(again)
            before = rebuild(flow.plan, "r", log.records[:count])
            result = await flow.resume("r", durable=copy)
            assert list(result.output.model_dump().values()) == [wanted]
            # What was committed did not run again, the rest did once.
            assert len(again) <= len(ran)
            committed = {each.id for each in before.run.history}
            assert committed <= {each.id for each in result.record.run.history}
            replayed = await flow.replay("r", durable=copy)
            assert replayed.output == whole.output
        assert again == [], "the whole run was there"

    asyncio.run(check())


def test_greater_bound_resumes_failed_recursion() -> None:
    """A run that failed at its bound is resumed under a greater one, which changes no graph."""

    async def check() -> None:
        store, before, after = MemoryStore(), list[int](), list[int]()
        with pytest.raises(RunFailed):
            await halving_flow(1, ran=before).run(EIGHT, run_id="r", durable=store)
        result = await halving_flow(3, ran=after).resume("r", durable=store)
        assert result.output.total == 36
        assert sorted(before + after) == EIGHT.numbers

    asyncio.run(check())


def test_smaller_bound_cannot_replay() -> None:
    """A run that went deeper than the bound allows now is refused, with the bound that it needs."""

    async def check() -> None:
        store = MemoryStore()
        await halving_flow(3).run(EIGHT, run_id="r", durable=store)
        with pytest.raises(ReplayDiverged, match=r"'halves\[.\]/halves' went one level deeper"):
            await halving_flow(1).replay("r", durable=store)

    asyncio.run(check())


def test_rerun_begins_inside_recursion() -> None:
    """A run is run again from a node in a deep level, with another result there."""

    async def check() -> None:
        store, ran = MemoryStore(), list[int]()
        flow = halving_flow(3, ran=ran)
        await flow.run(Numbers(numbers=[1, 2, 3, 4]), run_id="r", durable=store)
        ran.clear()
        deep = "halves[0]/halves[1]/take"
        again = await flow.rerun("r", start=deep, output=Total(total=20), durable=store)
        assert again.result.output.total == 28
        assert ran == []
        copied = await flow.fork("r", start=deep, durable=store)
        result = await flow.resume(copied, durable=store)
        assert (result.output.total, ran) == (10, [2])

    asyncio.run(check())


def test_recursion_stops_at_limit_and_resumes() -> None:
    """A limit on activations stops a recursion in its depth; it is resumed from there."""

    async def check() -> None:
        store, ran = MemoryStore(), list[int]()
        flow = halving_flow(3, ran=ran)
        with pytest.raises(RunFailed):
            await flow.run(EIGHT, run_id="r", durable=store, limits=Limits(activations=9))
        result = await flow.resume("r", durable=store, limits=Limits(activations=100))
        assert (result.output.total, sorted(ran)) == (36, EIGHT.numbers)

    asyncio.run(check())


def test_deep_path_is_named_where_it_is_missing() -> None:
    """A place that no level has is refused with the names that there are."""

    async def check() -> None:
        store = MemoryStore()
        flow = halving_flow(2)
        await flow.run(Numbers(numbers=[1, 2]), run_id="r", durable=store)
        with pytest.raises(InputError, match="halves\\[0\\]/takes"):
            await flow.fork("r", start="halves[0]/takes", durable=store)

    asyncio.run(check())
