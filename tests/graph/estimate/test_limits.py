"""Limits in estimates: the seconds that nodes, runs and endpoints add, as less runs at once."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch import Flow, Graph, InputError, Limits, Retry, agent, append, node
from graphorch.graph.estimate.amounts import Assumed
from graphorch.graph.estimate.estimator import estimate
from graphorch.graph.estimate.limits import ModelPace
from graphorch.models.config.schema import Config
from graphorch.testing import run_virtual


class Items(BaseModel):
    items: list[int] = []


class Item(BaseModel):
    item: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class State(Items, Log): ...


class Inside(Item, Log): ...


AnyFlow = Flow[Any, Any, Any]


def works(name: str, seconds: float, **options: Any) -> Any:
    """Return a node that takes all of its time."""

    @node(name=name, timeout=seconds + 0.001, **options)
    async def work(item: Item) -> Log:
        await asyncio.sleep(seconds)
        return Log(log=[name])

    return work


def gather(results: list[Log]) -> Log:
    return Log(log=[line for result in results for line in result.log])


def each_item(items: Items) -> list[Item]:
    return [Item(item=n) for n in items.items]


def map_of(inner: Any, at_once: int = 8, most: int = 6) -> AnyFlow:
    graph = Graph("outer", State, input=Items, output=Log)
    each = graph.map(
        "each", inner, over=each_item, gather=gather, max_items=most, concurrency=at_once
    )
    return graph.chain(each).build()


def chain_of(*steps: Any) -> Any:
    return Graph("inner", Inside, input=Item, output=Log).chain(*steps).build()


def seconds_of(flow: AnyFlow, count: int, concurrency: int | None) -> float:
    """Return how long a run takes on a virtual clock."""

    async def main() -> float:
        time = asyncio.get_running_loop().time
        began = time()
        limits = Limits(concurrency=concurrency)
        await flow.run(Items(items=list(range(count))), limits=limits)
        return time() - began

    return run_virtual(main())


def worst(flow: AnyFlow, concurrency: int | None = None) -> float:
    return estimate(flow.plan, concurrency=concurrency).worst.seconds


def test_node_limit_inside_map_adds_seconds() -> None:
    """Six items at once, of which a node inside lets one run at once, take six times its time."""
    free = map_of(chain_of(works("dig", 1), works("end", 2)))
    narrow = map_of(chain_of(works("dig", 1, concurrency=1), works("end", 2)))
    assert worst(free) == pytest.approx(3, abs=0.1)
    assert seconds_of(narrow, 6, None) == pytest.approx(8, abs=0.1)
    assert 8 <= worst(narrow) <= 9.1


def test_limit_of_run_adds_seconds() -> None:
    """Six items of a second, two at once in the whole run, take three seconds."""
    flow = map_of(works("dig", 1))
    assert worst(flow) == pytest.approx(1, abs=0.1)
    assert 3 <= worst(flow, 2) <= 3.6
    assert worst(flow, 1) == pytest.approx(6, abs=0.1)
    assert worst(flow, 100) == pytest.approx(1.05, abs=0.1)
    assert flow.estimate(limits=Limits(concurrency=1)).worst.seconds == worst(flow, 1)


@settings(max_examples=25)
@given(
    st.integers(1, 3),
    st.none() | st.integers(1, 2),
    st.none() | st.integers(1, 3),
    st.integers(0, 6),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_runs_stay_within_estimate(
    at_once: int, dig: int | None, run: int | None, count: int, lasts: tuple[int, int]
) -> None:
    """No run takes longer than its estimate, under every limit."""
    options = {} if dig is None else {"concurrency": dig}
    flow = map_of(chain_of(works("dig", lasts[0], **options), works("end", lasts[1])), at_once)
    assert seconds_of(flow, count, run) <= worst(flow, run) + 1e-6


def test_pauses_between_attempts_count() -> None:
    """The pauses of a retry take time, also where a function itself counts as instantaneous."""

    @node(retry=Retry(3, first=1, factor=2))
    def often(item: Item) -> Log:
        raise ValueError

    assert estimate(chain_of(often).plan).worst.seconds == 1 + 2


@pytest.mark.parametrize(
    "pace, seconds",
    [
        (ModelPace(concurrency=1), 3 * 3.0),
        (ModelPace(concurrency=100), 3.0),
        (ModelPace(per_minute=1), 60 * (3 - 1)),
        (None, 3.0),
    ],
)
def test_limits_of_models_shape_expected_seconds(pace: ModelPace | None, seconds: float) -> None:
    """Calls of a limited model wait for each other in the expected case."""

    @agent(output=Log, model="slow")
    def ask(item: Item) -> str:
        return "?"

    assumed = Assumed(first_token=1, usual_answer=100, tokens_per_second=50)
    flow = map_of(ask)
    found = estimate(flow.plan, assumed=assumed, pace=lambda model: pace)
    assert found.expected.seconds == pytest.approx(seconds)


def test_configured_limits_are_followed() -> None:
    """The limits of a model in the configuration are those that `Flow.estimate` takes."""

    @agent(output=Log, model="slow")
    def ask(item: Item) -> str:
        return "?"

    flow = map_of(ask)
    free = flow.estimate(config=Config()).expected.seconds
    config = Config.model_validate({"limits": {"slow": {"concurrency": 1}}})
    assert flow.estimate(config=config).expected.seconds == pytest.approx(3 * free)


def test_wrong_limits_are_refused() -> None:
    """Limits of another type are an error that says how to write them."""
    with pytest.raises(InputError, match="limits"):
        map_of(works("dig", 1)).estimate(limits=3)  # type: ignore[arg-type]


def exclusive_chain(*steps: Any) -> Any:
    graph = Graph("inner", Inside, input=Item, output=Log).chain(*steps)
    return graph.exclusive("db", steps[0]).build()


def test_exclusive_region_adds_seconds() -> None:
    """Branches of a region, and the items of a map, take their sum at worst."""
    branches = [works(name, seconds) for name, seconds in (("a", 1), ("b", 2), ("c", 4))]
    graph = Graph("branches", Inside, input=Item, output=Log).chain(branches)
    assert worst(graph.build()) == pytest.approx(4, abs=0.1)
    graph.exclusive("db", branches[:2])
    assert 4 <= worst(graph.build()) <= 7.1
    mapped = map_of(exclusive_chain(works("dig", 1), works("end", 2)))
    assert seconds_of(mapped, 6, None) == pytest.approx(8, abs=0.1)
    assert 8 <= worst(mapped) <= 9.1


def test_exclusive_region_of_one_node_adds_nothing() -> None:
    """A node that is alone in its region, and not in a map, waits for nothing."""
    assert worst(exclusive_chain(works("dig", 1), works("end", 2))) == pytest.approx(3, abs=0.1)
