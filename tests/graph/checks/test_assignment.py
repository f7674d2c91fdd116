"""Required fields that are not assigned on every path to their reader."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphorch import Graph, GraphError
from graphorch.graph.checks import assignment, check
from graphorch.graph.node import node
from graphorch.graph.topology import build_topology
from tests.graph.content import (
    Content,
    Draft,
    Kind,
    Sketch,
    Topic,
    dash,
    judge,
    list_codes,
    list_problems,
    look,
    maybe,
    note,
    research,
    tidy,
    weak,
    write,
)
from tests.graph.drawn import Drawing, random_drawing
from tests.graph.simulated import Simulator


@node
def opt(d: Draft | None) -> None: ...
@node
def whole(c: Content) -> None: ...
def long(d: Draft) -> bool:
    return len(d.draft) > 3


def unassigned(drawing: Drawing) -> set[str]:
    """Return the readers that a drawing leaves without a field."""
    problems = check(drawing.blueprint, build_topology(drawing.blueprint)).problems
    assert {problem.code for problem in problems} <= {"UNASSIGNED", "UNORDERED_WRITES"}, problems
    return {problem.where.split("'")[1] for problem in problems if problem.code == "UNASSIGNED"}


def test_unwritten_field_is_unassigned() -> None:
    """A field that is never written is reported."""
    sketch = Sketch()
    sketch.chain(write)
    assert list_problems(sketch) == [
        "UNASSIGNED at node 'write': it reads Research.research, which has no default, "
        "and nothing writes it\n"
        "    fix: write it in a node before, make it part of the input, or give it a "
        "default, or read `Research | None`"
    ]


def test_path_past_writer_is_shown() -> None:
    """A path past the writer is shown."""
    sketch = Sketch()
    sketch.chain(look, [research, note])
    sketch.chain(note, write)
    assert list_problems(sketch) == [
        "UNASSIGNED at node 'write': it reads Research.research, which has no default "
        "and is not assigned on the path START → look → note → write\n"
        "    fix: write it on that path too ('research' may write it), or give it a "
        "default, or read `Research | None`"
    ]


def test_unannotated_gather_is_asked_for_annotation() -> None:
    """What the only writer returns is not annotated: that is the fault, and not the path."""
    graph = Graph("g", Content, input=Topic, output=Draft)
    each = graph.map(
        "each", research, over=lambda state: [], gather=lambda made: Draft(draft=""), max_items=3
    )
    with pytest.raises(GraphError) as caught:
        graph.chain(each).build()
    fixes = {problem.code: problem.fix for problem in caught.value.problems}
    assert fixes["UNASSIGNED"] == (
        "annotate what the function of 'each' returns: without that, as in a lambda, it may "
        "write any field"
    )


def test_flow_output_is_reader() -> None:
    """The output of the flow is a reader."""
    sketch = Sketch(output=Draft)
    sketch.chain(maybe)
    assert list_problems(sketch) == [
        "UNASSIGNED at output of graph 'content': it reads Draft.draft, which has no "
        "default and is not assigned on the path START → maybe → END\n"
        "    fix: write it on that path too ('maybe' may write it), or give it a default"
    ]


def test_selectors_see_own_node_writes() -> None:
    """Selectors and predicates see what their own node writes."""
    sketch = Sketch()
    sketch.chain(dash, tidy)
    sketch.loop(dash, back_to=dash, while_=long, max_iterations=2)
    assert list_problems(sketch) == []
    sketch = Sketch()
    sketch.chain(look, tidy)
    sketch.loop(look, back_to=look, while_=long, max_iterations=2)
    assert [line.split(":")[0] for line in list_problems(sketch)] == [
        "UNASSIGNED at node 'tidy'",
        "UNASSIGNED at loop 'look' → 'look'",
    ]


def test_optional_and_whole_state_need_nothing() -> None:
    """An optional slice and the whole state need no assignment."""
    sketch = Sketch(output=Content)
    sketch.chain(opt, whole)
    sketch.loop(whole, back_to=opt, while_=lambda state: state.score < 1, max_iterations=2)
    assert list_problems(sketch) == []


def test_over_enter_question_are_readers() -> None:
    """The functions `over`, `enter` and `question` are readers."""

    def ask_for(d: Draft) -> str:
        return d.draft

    sketch = Sketch()
    sketch.chain(sketch.ask("ok", ask_for, Kind))
    assert [line.split(":")[0] for line in list_problems(sketch)] == [
        "UNASSIGNED at question of 'ok'"
    ]


def test_field_written_in_body_missing_first_iteration() -> None:
    """A field that is first written in the body is missing in the first iteration."""
    sketch = Sketch()
    sketch.chain(tidy, dash, judge)
    sketch.loop(judge, back_to=tidy, while_=weak, max_iterations=2)
    assert [line.split(":")[0] for line in list_problems(sketch)] == ["UNASSIGNED at node 'tidy'"]
    optional = Sketch()
    optional.chain(opt, dash, judge)
    optional.loop(judge, back_to=opt, while_=weak, max_iterations=2)
    assert list_codes(optional) == []


# ---- drawn: f forks, w writes x, r reads it ----------------------------------------------------
def drawn(*edges: str, writers: str = "w", reader: str = "r", skips: str = "") -> Drawing:
    drawing = Drawing("x")
    names = dict.fromkeys(
        name
        for line in edges
        for step in line.split(">")
        for name in step.split(",")
        if name != "END"
    )
    for name in names:
        drawing.node(
            name, "x" if name == reader else "", "x" if name in writers else "", skips=name in skips
        )
    drawing.edges(*edges)
    return drawing


def test_one_joined_branch_is_enough() -> None:
    """One of two branches that meet is enough."""
    assert unassigned(drawn("f>w,b>r")) == set()


def test_one_exclusive_branch_is_not_enough() -> None:
    """A writer in one of two exclusive branches is not enough."""
    drawing = drawn("w,b>r")
    drawing.node("f")
    drawing.route("f", {"one": "w", "two": "b"})
    assert unassigned(drawing) == {"r"}


def test_joined_branch_covers_later_route() -> None:
    """The branch of the writer may avoid the reader, but not after both have met."""
    drawing = drawn("f>w,b>m")
    drawing.node("r", "x")
    drawing.route("m", {"one": "r", "two": "END"})
    assert unassigned(drawing) == set()


def test_branch_routed_away_does_not_count() -> None:
    """A branch that may be routed away does not count."""
    drawing = drawn("f>g,b", "b>r", "w>r")
    drawing.route("g", {"one": "w", "two": "END"})
    assert unassigned(drawing) == {"r"}


def test_writer_that_skips_does_not_count() -> None:
    """A writer that may skip does not count."""
    assert unassigned(drawn("w>r", skips="w")) == {"r"}


def test_error_edge_of_writer_brings_nothing() -> None:
    """An error edge of the writer brings nothing."""
    drawing = drawn("w>r")
    drawing.error("w", "r")
    assert unassigned(drawing) == {"r"}


def test_error_edge_after_writer_brings_all() -> None:
    """An error edge after the writer brings all."""
    drawing = drawn("w>b>r")
    drawing.error("b", "r")
    assert unassigned(drawing) == set()


def test_exhausted_loop_is_another_path() -> None:
    """An exhausted loop is another path."""
    drawing = drawn("a>b>w>r")
    drawing.loop("b", "a", "r")
    assert unassigned(drawing) == {"r"}


@pytest.mark.parametrize(
    ("need", "writers", "missing"),
    [(1, "pqs", set()), (1, "pq", {"r"}), (2, "pq", set()), (2, "p", {"r"}), (3, "p", set())],
)
def test_quorum_needs_enough_assigning_branches(need: int, writers: str, missing: set[str]) -> None:
    """Of n branches, n-k+1 must assign a field that a reader after a `need=k` join needs."""
    drawing = drawn("f>p,q,s>j>r", writers=writers)
    drawing.join("j", need)
    assert unassigned(drawing) == missing


def test_quorum_assignment_reaches_all_targets() -> None:
    """Any two of p, q and s include a writer, so j or b carries the field to all targets."""
    drawing = drawn("e>f,b", "f>p,q,s>j>r", "b>r", writers="pq")
    drawing.join("j", 2)
    assert unassigned(drawing) == set()
    fewer = drawn("e>f,b", "f>p,q,s>j>r", "b>r", writers="p")
    fewer.join("j", 2)
    assert unassigned(fewer) == {"r"}


def test_region_unites_joined_branches() -> None:
    """Branches that meet inside a region are united."""
    drawing = drawn("f>a>w,b>r>j", "f>c>j")
    drawing.join("j", 1)
    assert unassigned(drawing) == set()


def test_quorum_branches_are_separate_before_join() -> None:
    """Branches before a quorum are each on their own."""
    drawing = drawn("f>b>j", "f>w>r>j")
    drawing.join("j", 1)
    assert unassigned(drawing) == set()


@given(seed=st.integers(0, 2**32))
def test_random_runs_find_no_new_unassigned(seed: int) -> None:
    """Random runs miss only fields that the check reports."""
    drawing = random_drawing(seed, size=9)
    shape = build_topology(drawing.blueprint)
    problems = check(drawing.blueprint, shape).problems
    assume({problem.code for problem in problems} <= {"UNASSIGNED", "UNORDERED_WRITES"})
    unassigned_nodes = {problem.where for problem in problems if problem.code == "UNASSIGNED"}
    simulator, rng = Simulator.of(drawing.blueprint, shape), random.Random(seed)
    for _ in range(6):
        assert {f"node '{name}'" for name, _ in simulator.run(rng).unassigned} <= unassigned_nodes


@given(st.lists(st.integers(0, 255), max_size=9), st.integers(1, 10))
def test_bits_of_enough_masks_are_counted(masks: list[int], enough: int) -> None:
    """A bit is carried by enough masks if so many of them have it."""
    expected = sum(1 << bit for bit in range(8) if sum(mask >> bit & 1 for mask in masks) >= enough)
    assert assignment._intersect_enough(masks, enough) == expected
