"""The worst case: a bound that no random run exceeds, and figures worked out by hand."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from graphorch.graph.checks import build_plan, check
from graphorch.graph.context import Context
from graphorch.graph.estimate import Worst, worst_case
from graphorch.graph.node import Node, node
from graphorch.graph.options import Options, Retry
from graphorch.graph.plan import compile_plan
from graphorch.graph.shape import shape_of
from tests.graph.content import Sketch, Topic, dig, jobs_of, kind_of, look, no_notes, note, notes_of, to_topic, weak
from tests.graph.drawn import random_drawing
from tests.graph.simulated import Simulator


def agent(of: Node[Any], name: str, **options: Any) -> Node[Any]:
    return type(of)(of.fn, of.signature, name=name, kind="agent", options=Options(**options))


@node
def talks(ctx: Context, t: Topic) -> None: ...


def test_a_chain_runs_each_node_once_and_asks_once_per_agent_and_attempt() -> None:
    sketch = Sketch().chain(look, agent(note, "a"), agent(note, "b", retry=Retry(3)), agent(note, "c", hedge_after=1))
    assert worst_case(build_plan(sketch.blueprint)) == Worst(4, 1 + 3 + 2, {"look": 1, "a": 1, "b": 1, "c": 1})


def test_a_node_that_talks_to_models_itself_makes_the_number_of_calls_unknown() -> None:
    assert worst_case(build_plan(Sketch().chain(look, talks).blueprint)).calls is None


def test_of_exclusive_branches_the_dearest_counts_and_of_a_fork_all() -> None:
    forked = Sketch().chain(look, [agent(note, "a"), agent(note, "b"), agent(note, "c")], agent(note, "z"))
    assert worst_case(build_plan(forked.blueprint)).calls == 4
    routed = Sketch()
    a, b, c, z = (agent(note, name) for name in "abcz")
    routed.route(look, kind_of).when("math", a).when("prose", b).exhaustive()
    routed.chain(b, c)
    routed.chain([a, c], z)
    worst = worst_case(build_plan(routed.blueprint))
    assert (worst.activations, worst.calls) == (4, 3)


def test_loops_multiply_and_loops_of_one_header_add_their_rounds() -> None:
    nested = Sketch().chain(look, agent(note, "a"), agent(note, "b"), agent(note, "c"))
    nodes = nested.blueprint.nodes
    nested.loop(nodes["b"], back_to=nodes["a"], while_=weak, max_iterations=5)
    nested.loop(nodes["c"], back_to=look, while_=weak, max_iterations=5)
    worst = worst_case(build_plan(nested.blueprint))
    assert (worst.by_node, worst.calls) == ({"look": 5, "a": 25, "b": 25, "c": 5}, 55)
    shared = Sketch().chain(look, note)
    for _ in range(2):
        shared.loop(look, back_to=look, while_=weak, max_iterations=5)
    assert worst_case(build_plan(shared.blueprint)).by_node == {"look": 9, "note": 1}


def test_a_branch_that_leaves_the_loop_is_taken_after_the_other_rounds() -> None:
    sketch = Sketch()
    stay, leave, last = agent(note, "stay"), agent(note, "leave"), agent(note, "last")
    sketch.route(look, kind_of).when("math", stay).when("prose", leave).exhaustive()
    sketch.chain([stay, leave], last)
    sketch.loop(stay, back_to=look, while_=weak, max_iterations=4)
    worst = worst_case(build_plan(sketch.blueprint))
    assert worst.calls == 4 + 1 + 1  # a bound: in truth the last round takes one of the two


def test_maps_and_sub_flows_are_counted_by_path() -> None:
    inner = build_plan(Sketch().chain(look, agent(note, "a")).blueprint)
    sketch = Sketch()
    team = sketch.sub("team", inner, to_topic, no_notes)
    digs = sketch.map("digs", agent(dig, "dig", retry=Retry(2)), jobs_of, notes_of, max_items=10)
    sketch.chain(team, digs)
    sketch.loop(digs, back_to=team, while_=weak, max_iterations=3)
    worst = worst_case(build_plan(sketch.blueprint))
    assert worst.by_node == {"team": 3, "team/look": 3, "team/a": 3, "digs": 3, "digs/dig": 30}
    assert (worst.activations, worst.calls) == (42, 3 + 60)


@given(seed=st.integers(0, 2**32))
def test_no_random_run_does_more(seed: int) -> None:
    drawing = random_drawing(seed, size=9)
    shape = shape_of(drawing.blueprint)
    checked = check(drawing.blueprint, shape)
    assume({problem.code for problem in checked.problems} <= {"UNASSIGNED", "UNORDERED_WRITES"})
    worst = worst_case(compile_plan(drawing.blueprint, shape, checked.regions))
    simulator, rng = Simulator.of(drawing.blueprint, shape), random.Random(seed)
    for _ in range(6):
        ran = [name for name in simulator.run(rng).ran if name != "END"]
        assert len(ran) <= worst.activations
        assert all(ran.count(name) <= worst.by_node[name] for name in ran)
