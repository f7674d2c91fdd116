"""Time of a build, checks and plan, in seconds of the processor: the best of a few tries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, create_model

from graphorch.graph.build import build_plan
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.node import Node
from graphorch.graph.signature import Read, Signature
from graphorch.state.reducers import add

pytestmark = pytest.mark.slow


class Sum(BaseModel):
    total: Annotated[int, add] = 0


def idle() -> None: ...


def made(name: str, reads: list[type[BaseModel]], writes: list[type[BaseModel]]) -> Node[Any]:
    return Node(
        idle,
        Signature(tuple(map(Read, reads)), tuple(writes), False, None, False, False),
        name=name,
    )


def chain(count: int) -> GraphBuilder[Any]:
    return GraphBuilder("chain", Sum, None, None).chain(
        *(made(f"n{index}", [Sum], [Sum]) for index in range(count))
    )


def fan_out(count: int) -> GraphBuilder[Any]:
    return GraphBuilder("fan", Sum, None, None).chain(
        made("first", [Sum], [Sum]),
        [made(f"n{index}", [Sum], [Sum]) for index in range(count)],
        made("last", [Sum], [Sum]),
    )


def ladder(count: int) -> GraphBuilder[Any]:
    """Build stages of one node and of five side by side, in turns, with loops around them.

    Each node writes a required field of its own, and reads those of the stage before it.
    """
    make: Any = create_model
    slices: list[type[BaseModel]] = [
        make(f"S{index}", **{f"f{index}": (int, ...)}) for index in range(count)
    ]
    state: type[BaseModel] = create_model("State", __base__=tuple(slices))
    builder: GraphBuilder[Any] = GraphBuilder("ladder", state, slices[0], slices[-1])
    stages: list[list[Node[Any]]] = []
    before: list[type[BaseModel]] = [slices[0]]
    index = 0
    while index < count:
        own = slices[index : index + (5 if len(stages) % 2 else 1)]
        stages.append(
            [made(f"n{index + number}", before[:4], [model]) for number, model in enumerate(own)]
        )
        before, index = own, index + len(own)
    if len(stages[-1]) > 1:
        stages[-1] = stages[-1][-1:]
    builder.chain(*stages)
    for first, last in zip(stages[0:-2:4], stages[2::4], strict=False):
        builder.loop(last, back_to=first[0], while_=lambda state: True, max_iterations=2)
    builder.spec.output = state
    return builder


def tangle(count: int) -> GraphBuilder[Any]:
    """Build a random graph without loops in which each field has three writers in a row."""
    rng = random.Random(5)
    make: Any = create_model
    slices: list[type[BaseModel]] = [
        make(f"S{index}", **{f"f{index}": (int, 0)}) for index in range(count // 3 + 1)
    ]
    state: type[BaseModel] = create_model("State", __base__=tuple(slices))
    nodes = [
        made(f"n{index}", [slices[index // 3]], [slices[index // 3]]) for index in range(count)
    ]
    builder: GraphBuilder[Any] = GraphBuilder("tangle", state, None, None)
    for index in range(1, count):
        sources = (
            {index - 1}
            if index % 3
            else {rng.randrange(max(0, index - 20), index) for _ in range(2)}
        )
        for source in sources:
            builder.chain(nodes[source], nodes[index])
    return builder


def best(make: Callable[[int], GraphBuilder[Any]], count: int, tries: int) -> float:
    seconds: list[float] = []
    for _ in range(tries):
        builder = make(count)
        start = time.process_time()
        build_plan(builder.spec)
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize("make", [chain, fan_out, ladder, tangle])
def test_100_nodes_build_in_20_ms(make: Callable[[int], GraphBuilder[Any]]) -> None:
    """A graph of 100 nodes builds in 20 milliseconds."""
    assert best(make, 100, 5) <= 0.020


@pytest.mark.parametrize("make", [chain, fan_out, ladder, tangle])
def test_1000_nodes_build_in_a_second(make: Callable[[int], GraphBuilder[Any]]) -> None:
    """A graph of 1,000 nodes builds in a second."""
    assert best(make, 1000, 2) <= 1.0


@pytest.mark.parametrize("make", [chain, fan_out])
def test_10_000_nodes_build_without_recursion(
    make: Callable[[int], GraphBuilder[Any]],
) -> None:
    """A graph of 10,000 nodes builds in a few seconds and needs no deep recursion."""
    assert best(make, 10_000, 1) <= 4.0
