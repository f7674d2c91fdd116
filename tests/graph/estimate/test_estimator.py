"""The worst case: a bound that no random run exceeds, and figures worked out by hand."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, StringConstraints, field_validator

from graphorch import END, Graph, InputError, RunFailed
from graphorch import agent as agent_of
from graphorch.graph.build import build_plan
from graphorch.graph.checks import check
from graphorch.graph.compiler import compile_plan
from graphorch.graph.context import Context
from graphorch.graph.estimate.amounts import Assumed
from graphorch.graph.estimate.estimator import Worst, estimate, worst_case
from graphorch.graph.node import Node, node
from graphorch.graph.options import NodeBudget, NodeSettings, Retry
from graphorch.graph.topology import build_topology
from graphorch.models.pricing.model_price import ModelPrice, Rates
from graphorch.testing.virtual_clock import run_virtual
from tests.graph.content import (
    Sketch,
    Topic,
    dig,
    jobs_of,
    kind_of,
    look,
    no_notes,
    note,
    notes_of,
    to_topic,
    weak,
)
from tests.graph.drawn import random_drawing
from tests.graph.simulated import Simulator
from tests.graph.talking import Talk, Talker, talk
from tests.simulation.behaviour import INPUT, State


def agent(of: Node[Any], name: str, **options: Any) -> Node[Any]:
    return type(of)(of.fn, of.signature, name=name, kind="agent", options=NodeSettings(**options))


@node
def talks(ctx: Context, t: Topic) -> None: ...


def test_a_chain_runs_each_node_once_and_asks_once_per_agent_and_attempt() -> None:
    sketch = Sketch().chain(
        look, agent(note, "a"), agent(note, "b", retry=Retry(3)), agent(note, "c", hedge_after=1)
    )
    assert worst_case(build_plan(sketch.spec)) == Worst(
        4, 1 + 3 + 2, {"look": 1, "a": 1, "b": 1, "c": 1}
    )


def test_a_node_that_talks_to_models_itself_makes_the_number_of_calls_unknown() -> None:
    assert worst_case(build_plan(Sketch().chain(look, talks).spec)).calls is None


def test_of_exclusive_branches_the_dearest_counts_and_of_a_fork_all() -> None:
    forked = Sketch().chain(
        look, [agent(note, "a"), agent(note, "b"), agent(note, "c")], agent(note, "z")
    )
    assert worst_case(build_plan(forked.spec)).calls == 4
    routed = Sketch()
    a, b, c, z = (agent(note, name) for name in "abcz")
    routed.route(look, kind_of).when("math", a).when("prose", b).exhaustive()
    routed.chain(b, c)
    routed.chain([a, c], z)
    worst = worst_case(build_plan(routed.spec))
    assert (worst.activations, worst.calls) == (4, 3)


def test_loops_multiply_and_loops_of_one_header_add_their_rounds() -> None:
    nested = Sketch().chain(look, agent(note, "a"), agent(note, "b"), agent(note, "c"))
    nodes = nested.spec.nodes
    nested.loop(nodes["b"], back_to=nodes["a"], while_=weak, max_iterations=5)
    nested.loop(nodes["c"], back_to=look, while_=weak, max_iterations=5)
    worst = worst_case(build_plan(nested.spec))
    assert (worst.by_node, worst.calls) == ({"look": 5, "a": 25, "b": 25, "c": 5}, 55)
    shared = Sketch().chain(look, note)
    for _ in range(2):
        shared.loop(look, back_to=look, while_=weak, max_iterations=5)
    assert worst_case(build_plan(shared.spec)).by_node == {"look": 9, "note": 1}


def test_a_branch_that_leaves_the_loop_is_taken_after_the_other_rounds() -> None:
    sketch = Sketch()
    stay, leave, last = agent(note, "stay"), agent(note, "leave"), agent(note, "last")
    sketch.route(look, kind_of).when("math", stay).when("prose", leave).exhaustive()
    sketch.chain([stay, leave], last)
    sketch.loop(stay, back_to=look, while_=weak, max_iterations=4)
    worst = worst_case(build_plan(sketch.spec))
    assert worst.calls == 4 + 1 + 1  # a bound: in truth the last round takes one of the two


def test_maps_and_sub_flows_are_counted_by_path() -> None:
    inner = build_plan(Sketch().chain(look, agent(note, "a")).spec)
    sketch = Sketch()
    team = sketch.sub("team", inner, to_topic, no_notes)
    digs = sketch.map("digs", agent(dig, "dig", retry=Retry(2)), jobs_of, notes_of, max_items=10)
    sketch.chain(team, digs)
    sketch.loop(digs, back_to=team, while_=weak, max_iterations=3)
    worst = worst_case(build_plan(sketch.spec))
    assert worst.by_node == {"team": 3, "team/look": 3, "team/a": 3, "digs": 3, "digs/dig": 30}
    assert (worst.activations, worst.calls) == (42, 3 + 60)


@given(seed=st.integers(0, 2**32))
def test_no_random_run_does_more(seed: int) -> None:
    drawing = random_drawing(seed, size=9)
    shape = build_topology(drawing.blueprint)
    checked = check(drawing.blueprint, shape)
    assume({problem.code for problem in checked.problems} <= {"UNASSIGNED", "UNORDERED_WRITES"})
    worst = worst_case(compile_plan(drawing.blueprint, shape, checked.regions))
    simulator, rng = Simulator.of(drawing.blueprint, shape), random.Random(seed)
    for _ in range(6):
        ran = [name for name in simulator.run(rng).ran if name != "END"]
        assert len(ran) <= worst.activations
        assert all(ran.count(name) <= worst.by_node[name] for name in ran)


# ---- tokens, dollars, seconds ------------------------------------------------------------------
make_agent: Any = agent_of  # options as they come
PRICE = ModelPrice((Rates(input=2, output=8, cached_input=1, dearest_input=2),))


def priced(*prices: ModelPrice) -> Callable[[str], Sequence[ModelPrice]]:
    return lambda model: prices or (PRICE,)


class Text(BaseModel):
    text: str = ""


class Score(BaseModel):
    score: float = 0
    why: str = ""


class Paper(Text, Score): ...


class Texts(BaseModel):
    texts: list[Text] = []


class Scores(BaseModel):
    scores: list[Score] = []


class Papers(Texts, Scores): ...


@node
def count_words(text: Text) -> Score: ...


def writer(**options: Any) -> Any:
    @make_agent(
        output=Text, **{"model": "vendor/large", "max_tokens": 1_000, "timeout": 20, **options}
    )
    def write(score: Score) -> str:
        return "write"

    return write


def judge(**options: Any) -> Any:
    @make_agent(
        output=Score, **{"model": "vendor/small", "max_tokens": 100, "timeout": 5, **options}
    )
    def judge(text: Text) -> str:
        return "judge"

    return judge


def unbounded(score: Score) -> bool: ...


def test_tokens_dollars_and_seconds_follow_from_max_tokens_prices_and_timeouts() -> None:
    plan = (
        Graph("paper", Paper)
        .chain(writer(retry=Retry(3, first=1, factor=2)), count_words)
        .build()
        .plan
    )
    found = estimate(
        plan,
        tariff=priced(),
        assumed=Assumed(longest_prompt=5_000, usual_prompt=1_000, usual_answer=200),
    )
    assert found.worst.values() == pytest.approx(
        (2, 3, 15_000, 3_000, 3 * (5_000 * 2 + 1_000 * 8) / 1e6, 60 + 1 + 2)
    )
    assert found.expected.values() == pytest.approx(
        (2, 1, 1_000, 200, (1_000 * 2 + 200 * 8) / 1e6, 1 + 200 / 50)
    )
    assert (found.gaps, found.is_bounded) == ((), True)


def test_an_answer_that_may_not_fit_is_asked_for_twice_and_tools_add_their_rounds() -> None:
    def look(word: str) -> str: ...

    calls = [
        estimate(Graph("paper", Paper).chain(item).build().plan).worst.calls
        for item in (writer(), judge(), writer(tools=[look]), judge(tools=[look]))
    ]
    assert calls == [1, 2, 9, 18]


def test_a_text_with_rules_may_not_fit_and_is_asked_for_twice() -> None:
    class Short(BaseModel):
        short: Annotated[str, StringConstraints(max_length=10)] = ""

    class Checked(BaseModel):
        checked: str = ""

        @field_validator("checked")
        @classmethod
        def is_good(cls, value: str) -> str:
            return value

    calls: list[float] = []
    for output in (Text, Short, Checked):

        @make_agent(output=output)
        def write(text: Text) -> str: ...

        calls.append(write.fn.most_calls)
    assert calls == [1, 2, 2]


def test_a_policy_pays_every_request_that_it_may_make() -> None:
    plan = Graph("paper", Paper).chain(writer()).build().plan
    found = estimate(plan, tariff=priced(PRICE, PRICE.times(10)))
    assert (found.worst.calls, found.worst.output_tokens) == (1, 2_000)
    assert found.worst.usd == pytest.approx(11 * (8_000 * 2 + 1_000 * 8) / 1e6)
    assert found.expected.usd == pytest.approx((2_000 * 2 + 500 * 8) / 1e6)


def test_what_nothing_bounds_is_named_with_its_path_and_the_way_out() -> None:
    inner = Graph("inner", Paper).chain(writer(max_tokens=None, timeout=None)).build()
    graph = Graph("outer", Paper)

    def enter(paper: Paper) -> Paper: ...
    def leave(paper: Paper) -> Text: ...

    graph.chain(graph.sub("team", inner, enter=enter, leave=leave), judge(model="vendor/secret"))
    found = estimate(
        graph.build().plan, tariff=lambda model: None if model == "vendor/secret" else (PRICE,)
    )
    assert [(gap.path, gap.figure) for gap in found.gaps] == [
        ("team/write", "tokens"),
        ("team/write", "seconds"),
        ("judge", "dollars"),
    ]
    assert [math.isinf(value) for value in found.worst.values()] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]
    assert "max_tokens=" in found.gaps[0].fix
    assert '[prices."vendor/secret"]' in str(found.gaps[2])
    assert not found.is_bounded


def test_a_function_that_asks_models_itself_bounds_nothing() -> None:
    found = estimate(build_plan(Sketch().chain(look, talks).spec))
    assert [(gap.path, gap.figure) for gap in found.gaps] == [
        ("talks", "calls"),
        ("talks", "seconds"),
    ]
    assert found.worst.usd == math.inf


def test_a_wallet_bounds_what_nothing_else_does() -> None:
    plan = Graph("paper", Paper).chain(writer(max_tokens=None), judge(max_tokens=None)).build().plan
    for step in plan.steps[:2]:
        step.node.options = replace(step.node.options, budget=NodeBudget("loop", usd=0.25))
    found = estimate(plan, tariff=priced())
    assert (found.worst.usd, [node_estimate.worst.usd for node_estimate in found.nodes]) == (
        0.25,
        [0.25, 0.25],
    )


def test_the_seconds_are_those_of_the_longest_branch_and_of_all_rounds() -> None:
    graph = Graph("paper", Paper)
    first, slow, fast = (
        writer(name="first", timeout=1),
        writer(name="slow", timeout=50),
        judge(name="fast", timeout=5),
    )
    last = judge(name="last", timeout=100)
    graph.chain(first, [slow, fast], count_words, last)
    graph.loop(count_words, back_to=first, while_=unbounded, max_iterations=4)
    assert estimate(graph.build().plan).worst.seconds == 4 * (1 + 50) + 100


def test_rounds_before_the_last_count_although_the_way_out_avoids_them() -> None:
    """The loop goes round by its slow branch, and is left by its fast one."""
    graph = Graph("paper", Paper)
    first, slow, after = (
        writer(name="first", timeout=1),
        writer(name="slow", timeout=50),
        judge(name="after", timeout=100),
    )
    graph.route(first, which).when("again", slow).when("done", after).exhaustive()
    graph.chain(slow, END)
    graph.loop(slow, back_to=first, while_=unbounded, max_iterations=3)
    assert estimate(graph.build().plan).worst.seconds == 3 * (1 + 50) + 100


def which(score: Score) -> Literal["again", "done"]: ...


def test_items_of_a_map_run_as_many_at_once_as_they_may() -> None:
    graph = Graph("papers", Papers)
    graph.chain(
        graph.map("digs", judge(), over=texts_of, gather=scores_of, max_items=10, concurrency=4)
    )
    found = estimate(graph.build().plan, tariff=priced())
    assert (found.worst.seconds, found.worst.calls, found.worst.activations) == (3 * 5, 20, 11)
    assert (found.expected.calls, found.expected.seconds) == (5, 2 * (1 + 100 / 50))


def texts_of(papers: Papers) -> list[Text]: ...


def scores_of(found: list[Score]) -> Scores: ...


def test_expected_are_the_routes_alike_half_of_the_further_rounds_and_no_failure() -> None:
    graph = Graph("paper", Paper)
    first, a, b, c = (writer(name=name) for name in ("first", "a", "b", "c"))
    graph.route(first, one_of_three).when("a", a).when("b", b).when("c", c).exhaustive()
    graph.chain([a, b, c], count_words)
    graph.on_error(count_words, judge(name="rescue"))
    graph.loop(count_words, back_to=first, while_=unbounded, max_iterations=5)
    expected = {
        node_estimate.path: node_estimate.expected.activations
        for node_estimate in estimate(graph.build().plan).nodes
    }
    assert expected == pytest.approx(
        {"first": 3, "a": 1, "b": 1, "c": 1, "count_words": 3, "rescue": 0}
    )


def one_of_three(score: Score) -> Literal["a", "b", "c"]: ...


def test_branches_that_meet_are_expected_once_however_many_they_are() -> None:
    graph = Graph("papers", Papers).chain(first_texts, [more_texts, more_scores], last_texts)
    assert estimate(graph.build().plan).expected.activations == 4


@node
def first_texts(papers: Papers) -> Texts: ...


@node
def more_texts(papers: Papers) -> Texts: ...


@node
def more_scores(papers: Papers) -> Scores: ...


@node
def last_texts(papers: Papers) -> Texts: ...


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 2},
        {"tokens_per_second": 0},
        {"usual_answer": -1},
        {"usual_prompt": 9_000},
        {"first_token": math.nan},
    ],
)
def test_assumptions_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Assumed(**wrong)


# ---- never below what a run used -----------------------------------------------------------------
def held_against_runs(seeds: Iterable[int]) -> int:
    """Run the random flow of each seed, and hold its estimate against what the run used; how many figures came close to their bound."""
    close = 0
    for seed in seeds:
        talking = talk(seed)
        most = talking.estimate.worst
        for model in (Talker(seed), Talker(-seed - 1)):
            record, seconds = used(talking, model, seed)
            usage = record.usage
            ran = sum(activation.step.name != "END" for activation in record.activations())
            figures = (
                ran,
                usage["calls"],
                usage["input_tokens"],
                usage["output_tokens"],
                record.usd,
                seconds,
            )
            assert all(
                figure <= bound + 1e-9 for figure, bound in zip(figures, most.values(), strict=True)
            ), (seed, figures, most)
            by_path = Counter(re.sub(r"\[\d+\]", "", step.path) for step in record.steps())
            assert all(
                by_path[node.path] <= node.worst.activations for node in talking.estimate.nodes
            ), seed
            close += sum(
                figure > bound / 2
                for figure, bound in zip(figures, most.values(), strict=True)
                if bound
            )
    return close


def used(talking: Talk, model: Talker, seed: int) -> tuple[Any, float]:
    """The record of one run on a virtual clock, and its seconds."""
    policy: Any = ("drain", "cancel", "isolate")[seed % 3]

    async def run() -> tuple[Any, float]:
        began = asyncio.get_running_loop().time()
        try:
            record = (
                await talking.flow.run(State(**INPUT), client=model, on_failure=policy)
            ).record
        except RunFailed as error:
            record = error.run
        return record, asyncio.get_running_loop().time() - began

    return run_virtual(run(), seed=seed)


def test_no_random_run_uses_more_than_the_estimate() -> None:
    assert held_against_runs(range(60)) > 10


@pytest.mark.slow
def test_a_thousand_random_flows_use_no_more_than_the_estimate() -> None:
    assert held_against_runs(range(1_000, 2_000)) > 200
