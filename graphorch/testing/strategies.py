"""Hypothesis strategies: slices of state, updates of nodes, flows that build, and schedules.

Needs Hypothesis installed.

@given(flows(), schedules())
def test_no_schedule_changes_a_result(flow, schedule):
    assert run_under(schedule, flow, Drawn()).state == run_under(Schedule(0), flow, Drawn()).state
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, cast
from zlib import crc32

from pydantic import BaseModel, ValidationError

from graphorch.flow.flow import Flow
from graphorch.flow.graph import Graph
from graphorch.graph.node import Node, node
from graphorch.state.reducers import add, append
from graphorch.testing.schedule import Schedule

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

M = TypeVar("M", bound=BaseModel)


def slices(model: type[M]) -> SearchStrategy[M]:
    """Return instances of a pydantic model, every field set: `slices(Verdict)`.

    Instances that the model's own validators refuse are left out.
    """
    return _instances(model, partial=False)


def updates(model: type[M]) -> SearchStrategy[M]:
    """Return updates that a node may return for a slice.

    Fields that have defaults may be left unset, and then count as not written.
    """
    return _instances(model, partial=True)


def schedules(*, longest: float = 1.0) -> SearchStrategy[Schedule]:
    """Return schedules; each attempt takes up to `longest` seconds more."""
    import hypothesis.strategies as st

    return st.builds(
        Schedule,
        st.integers(0, 2**16),
        st.sampled_from([None, 1, 2, 3]),
        st.sampled_from([0.0, longest]),
    )


def _instances(model: type[M], *, partial: bool) -> SearchStrategy[M]:
    import hypothesis.strategies as st

    fields = {
        name: st.from_type(cast(Any, Annotated)[(info.annotation, *(info.metadata or ("",)))])
        for name, info in model.model_fields.items()
    }
    required = {
        name: values
        for name, values in fields.items()
        if not partial or model.model_fields[name].is_required()
    }
    optional = {name: values for name, values in fields.items() if name not in required}

    def make(values: dict[str, Any]) -> M | None:
        try:
            return model(**values)
        except ValidationError:
            return None

    return cast(
        "SearchStrategy[M]",
        st.fixed_dictionaries(required, optional=optional)
        .map(make)
        .filter(lambda item: item is not None),
    )


# ---- flows -------------------------------------------------------------------------------------
class Trail(BaseModel):
    """Slice that the nodes of a drawn flow write.

    Each adds a value made of all that it reads, so that a wrong value anywhere changes the end.
    """

    trail: Annotated[list[int], append] = []
    total: Annotated[int, add] = 0


class Drawn(Trail):
    """The state of a drawn flow, and its input."""


Block: TypeAlias = tuple[Any, ...]
AnyFlow: TypeAlias = Flow[Drawn, Drawn, Drawn]


def flows(*, depth: int = 3) -> SearchStrategy[AnyFlow]:
    """Return flows over `Drawn` that build.

    They are made of sequences, forks, routes, loops and sub-flows nested up to `depth`.

    Their nodes are pure functions of all that they read, so any two runs of one have to end alike.
    """
    import hypothesis.strategies as st

    step = st.just(("step",))

    def larger(blocks: SearchStrategy[Block]) -> SearchStrategy[Block]:
        several = st.lists(blocks, min_size=2, max_size=3)
        return st.one_of(
            st.tuples(st.just("sequence"), several),
            st.tuples(st.just("fork"), several),
            st.tuples(st.just("route"), several),
            st.tuples(st.just("loop"), blocks, st.integers(1, 3)),
            st.tuples(st.just("sub"), blocks),
        )

    @st.composite
    def build(draw: DrawFn) -> AnyFlow:
        block: SearchStrategy[Block] = step
        for _ in range(draw(st.integers(1, depth))):
            block = st.one_of(step, larger(block))
        return _build_flow(draw(larger(block)))

    return build()


def _build_flow(block: Block) -> AnyFlow:
    graph = Graph("drawn", Drawn)
    first, _ = _add(graph, block, (f"n{number}" for number in itertools.count()))
    graph.chain(first)
    return graph.build()


def _add(
    graph: Graph[Drawn, Drawn, Drawn], block: Block, names: Iterator[str]
) -> tuple[Node[Any], Node[Any]]:
    """Add a block to a graph; return its first and its last node."""
    kind, *rest = block
    if kind == "step":
        item = _step(next(names))
        return item, item
    if kind == "sub":
        item = graph.sub(next(names), _build_flow(rest[0]), enter=_whole, leave=_sum_up)
        return item, item
    if kind == "loop":
        return _loop(graph, rest[0], rest[1], names)
    parts = [_add(graph, part, names) for part in rest[0]]
    if kind == "sequence":
        for (_, before), (after, _) in itertools.pairwise(parts):
            graph.chain(before, after)
        return parts[0][0], parts[-1][1]
    first, last = _step(next(names)), _step(next(names))
    if kind == "fork":
        for begin, end in parts:
            graph.chain(first, begin)
            graph.chain(end, last)
        return first, last
    route: Any = graph.route(first, _CHOICES[len(parts)])
    for number, (begin, end) in enumerate(parts):
        route.when(str(number), begin)
        graph.chain(end, last)
    route.exhaustive()
    return first, last


def _loop(
    graph: Graph[Drawn, Drawn, Drawn], body: Block, bound: int, names: Iterator[str]
) -> tuple[Node[Any], Node[Any]]:
    header, source, after = _step(next(names)), _step(next(names)), _step(next(names))
    begin, end = _add(graph, body, names)
    graph.chain(header, begin)
    graph.chain(end, source, after)
    graph.loop(source, back_to=header, while_=_continues, max_iterations=bound)
    return header, after


def _hash(state: Drawn) -> int:
    return crc32(repr((state.trail, state.total)).encode())


def _step(name: str) -> Node[Any]:
    @node(name=name, isolation="inline")
    def write(state: Drawn) -> Trail:
        return Trail(trail=[crc32(name.encode(), _hash(state)) % 997], total=1)

    return write


def _whole(state: Drawn) -> Drawn:
    return Drawn(trail=state.trail, total=state.total)


def _sum_up(state: Drawn) -> Trail:
    return Trail(trail=[_hash(state) % 997], total=state.total % 7)


def _continues(state: Drawn) -> bool:
    return _hash(state) % 4 > 0


def _choose_of_two(state: Drawn) -> Literal["0", "1"]:
    return "1" if _hash(state) % 2 else "0"


def _choose_of_three(state: Drawn) -> Literal["0", "1", "2"]:
    labels: tuple[Literal["0"], Literal["1"], Literal["2"]] = ("0", "1", "2")
    return labels[_hash(state) % 3]


_CHOICES: dict[int, Callable[[Drawn], Any]] = {2: _choose_of_two, 3: _choose_of_three}
