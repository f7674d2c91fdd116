"""Two writes of one field of which neither sees the other."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphorch.graph.checks import check
from graphorch.graph.topology import build_topology
from tests.graph.content import Content, Sketch, dash, judge, look, maybe, note, said
from tests.graph.drawn import Drawing, random_drawing
from tests.graph.simulated import Simulator


def drawn(*edges: str, writers: str = "uw") -> Drawing:
    """Nodes whose names are in `writers` write x."""
    drawing = Drawing("x")
    names = dict.fromkeys(
        name
        for line in edges
        for step in line.split(">")
        for name in step.split(",")
        if name != "END"
    )
    for name in names:
        drawing.node(name, "", "x" if name in writers else "")
    drawing.edges(*edges)
    return drawing


def races(drawing: Drawing) -> list[str]:
    """The nodes that race, as the problems name them."""
    found = check(drawing.blueprint, build_topology(drawing.blueprint)).problems
    assert {problem.code for problem in found} <= {"UNORDERED_WRITES"}, found
    return [problem.what.split(" may ")[0] for problem in found]


def test_two_branches_that_write_one_field() -> None:
    sketch = Sketch()
    sketch.chain(look, [dash, maybe])
    assert said(sketch) == [
        "UNORDERED_WRITES at field 'draft': 'dash' and 'maybe' may both write it without seeing each other's write: they branch at 'look'\n"
        "    fix: fold the writes (draft: Annotated[…, a reducer]), write different fields, or let one follow the other"
    ]


def test_the_fields_that_two_nodes_race_for_are_one_problem_and_start_is_a_fork_too() -> None:
    sketch = Sketch(output=Content)
    sketch.chain([judge, judge.named("second")])
    assert said(sketch)[-1] == (
        "UNORDERED_WRITES at fields 'score' and 'feedback': 'judge' and 'second' may both write them without seeing each other's write: "
        "they branch at 'START'\n"
        "    fix: fold the writes (score: Annotated[…, a reducer]), write different fields, or let one follow the other"
    )


def test_a_reducer_folds_them() -> None:
    assert said(Sketch().chain(look, [note, note.named("second")])) == []


def test_a_map_or_sub_flow_that_does_not_say_what_it_writes_is_told_to() -> None:
    sketch = Sketch()
    made: Any = sketch.ask("team", lambda state: "", Content)
    made.kind = "sub"
    sketch.chain(look, [made, dash])
    assert said(sketch)[-1].endswith(
        "fix: annotate what the function of 'team' returns: without that, as in a lambda, it may write any field"
    )


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        (("u>w",), []),
        (("f>u,w",), ["'u' and 'w'"]),
        (("f>u,b>w",), []),
        (("f>u,w", "u>w"), []),  # the plain skip edge: w waits for u and descends from it
        (("f>u,w", "u>w,END"), []),  # and no token of u can avoid w, but for the one to END
        (("f>a,b", "a>u>j", "b>j>w"), []),
        (("f>u,b,c", "u,b>j", "j>w", "c>w"), []),
        (("f>u,b", "b>w", "u>END"), ["'u' and 'w'"]),
        (("f>u,v,w",), ["'u', 'v' and 'w'"]),
    ],
)  # fmt: skip
def test_plain_forks(edges: tuple[str, ...], expected: list[str]) -> None:
    assert races(drawn(*edges, writers="uvw")) == expected


def test_a_writer_that_waits_without_descending_is_unordered() -> None:
    """`f → (u, w)`, `u` routes to w or END: w waits for u, but when u goes to END it has not seen what u wrote."""
    drawing = drawn("f>u,w")
    drawing.route("u", {"one": "w", "two": "END"})
    assert races(drawing) == ["'u' and 'w'"]


def test_what_follows_the_node_where_branches_met_is_ordered_even_if_it_may_not_run() -> None:
    drawing = drawn("f>u,b>j")
    drawing.node("w", "", "x")
    drawing.route("j", {"one": "w", "two": "END"})
    assert races(drawing) == []


def test_branches_that_met_before_the_others_of_their_fork_are_ordered_too() -> None:
    drawing = drawn("f>u,b>j", "f>c>z", "k>z")
    drawing.node("w", "", "x")
    drawing.route("j", {"one": "w", "two": "k"})
    drawing.edges("w>z")
    assert races(drawing) == []


def test_a_writer_that_failed_has_written_nothing() -> None:
    """Its error edge leads past the other writer, but brings no write there."""
    drawing = drawn("f>u,w", "u>w", "h>END")
    drawing.error("u", "h")
    assert races(drawing) == []


def test_exclusive_branches_never_meet_and_those_of_a_multiple_choice_do() -> None:
    for many, expected in ((False, []), (True, ["'u' and 'w'"])):
        drawing = drawn(writers="")
        drawing.node("f")
        drawing.node("u", "", "x")
        drawing.node("w", "", "x")
        drawing.route("f", {"one": "u", "two": "w"}, many=many)
        assert races(drawing) == expected


def test_a_plain_edge_beside_a_route_is_taken_with_each_of_its_branches() -> None:
    drawing = drawn("f>u")
    drawing.node("w", "", "x")
    drawing.node("b")
    drawing.route("f", {"one": "w", "two": "b"})
    assert races(drawing) == ["'u' and 'w'"]


def test_an_error_edge_excludes_the_others_but_is_a_path() -> None:
    instead = drawn("f>u", "w>END")
    instead.error("f", "w")
    assert races(instead) == []
    beside = drawn("f>u,b", "w>END")
    beside.error("b", "w")
    assert races(beside) == ["'u' and 'w'"]


def test_writers_of_one_loop_body_are_ordered_by_the_rounds() -> None:
    drawing = drawn("h>u,b>w>END")
    drawing.loop("w", "h")
    assert races(drawing) == []


def test_a_header_that_writes_what_a_side_branch_of_its_body_writes_is_ordered() -> None:
    drawing = drawn("a>w>u,b>s>END")
    drawing.loop("s", "w")
    assert races(drawing) == []


def test_branches_that_race_for_the_first_place_are_not_concurrent() -> None:
    first = drawn("f>u,w>j")
    first.join("j", 1)
    assert races(first) == []
    both = drawn("f>u,w>j")
    both.join("j", 2)
    assert races(both) == ["'u' and 'w'"]


def test_branches_that_meet_before_the_race_is_over_are() -> None:
    drawing = drawn("f>a>u,w>m>j", "f>b>j")
    drawing.join("j", 1)
    assert races(drawing) == ["'u' and 'w'"]


@given(seed=st.integers(0, 2**32))
def test_whatever_conflicts_in_a_random_run_was_found_before(seed: int) -> None:
    drawing = random_drawing(seed, size=9, writers=3)
    shape = build_topology(drawing.blueprint)
    problems = check(drawing.blueprint, shape).problems
    assume({problem.code for problem in problems} <= {"UNASSIGNED", "UNORDERED_WRITES"})
    found = [problem.what for problem in problems if problem.code == "UNORDERED_WRITES"]
    simulator, rng = Simulator.of(drawing.blueprint, shape), random.Random(seed)
    for _ in range(8):
        for _, text, other in simulator.run(rng).conflicts:
            assert any(f"'{text}'" in what and f"'{other}'" in what for what in found), (
                seed,
                text,
                other,
            )


@pytest.mark.slow
def test_of_a_thousand_random_graphs_none_is_missed_and_hardly_one_is_blamed_for_nothing() -> None:
    """The rule is only worth its name if what it flags really conflicts: here in all but a few of a hundred."""
    flagged = real = 0
    for seed in range(1500):
        drawing = random_drawing(seed, size=10, writers=3)
        shape = build_topology(drawing.blueprint)
        problems = check(drawing.blueprint, shape).problems
        if not {problem.code for problem in problems} <= {"UNASSIGNED", "UNORDERED_WRITES"}:
            continue
        simulator, rng = Simulator.of(drawing.blueprint, shape), random.Random(seed)
        conflicts = set[tuple[str, str, str]]().union(
            *(simulator.run(rng).conflicts for _ in range(30))
        )
        raced = any(problem.code == "UNORDERED_WRITES" for problem in problems)
        assert raced or not conflicts, (seed, conflicts)
        flagged += raced
        real += raced and bool(conflicts)
    assert flagged > 100
    assert real / flagged > 0.95
