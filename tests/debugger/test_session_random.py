"""Random flows, stepped to the end, back to every point and forward again, end as `run` does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from graphorch.flow.flow import Flow
from tests.simulation.behaviour import INPUT
from tests.simulation.behaviour import State as Values
from tests.simulation.graphs import Sample, random_graph
from tests.simulation.reference import Conflict, TooLong, run_reference


def samples(seed: int, count: int, most: int) -> Iterator[Sample]:
    """Graphs that run to their end, without races: who wins those is a matter of time."""
    while count:
        sample, seed = random_graph(seed), seed + 1
        try:
            activations = len(run_reference(sample).done)
        except (Conflict, TooLong):
            continue
        if not sample.races and activations <= most:
            count -= 1
            yield sample


def did(result: Any) -> tuple[list[tuple[str, str, str]], str]:
    return sorted(
        (step.activation, step.path, step.status) for step in result.steps
    ), result.state.model_dump_json()


def check(sample: Sample) -> None:
    flow: Flow[Any, Any, Any] = Flow(sample.plan)
    was = did(asyncio.run(flow.run(Values(**INPUT), run_id="r")))
    with flow.debug(Values(**INPUT), run_id="r") as session:
        states = [session.state.model_dump_json()]
        while session.next:
            session.step_into()
            states.append(session.state.model_dump_json())
        assert did(session.result) == was, sample.seed
        for state in states[-2::-1]:
            session.step_back()
            assert session.state.model_dump_json() == state, sample.seed
        for state in states[1:]:
            session.step_into()
            assert session.state.model_dump_json() == state, sample.seed
        assert did(session.result) == was, sample.seed


def test_few_random_flows_step_as_run() -> None:
    """A few random flows, stepped to the end, back, and forth again."""
    for sample in samples(7, 3, 25):
        check(sample)


@pytest.mark.slow
def test_many_random_flows_step_as_run() -> None:
    """A thousand random flows, stepped to the end, back, and forth again."""
    for sample in samples(1000, 1000, 60):
        check(sample)
