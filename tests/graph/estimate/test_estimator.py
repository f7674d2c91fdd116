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
from graphorch.models.pricing.metering import MeteredClient
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
from tests.graph.talking import PRICE as TALKED
from tests.graph.talking import Talk, Talker, talk
from tests.simulation.behaviour import INPUT, State


def agent(of: Node[Any], name: str, **options: Any) -> Node[Any]:
    return type(of)(of.fn, of.signature, name=name, kind="agent", options=NodeSettings(**options))


@node
def talks(ctx: Context, t: Topic) -> None: ...


def test_chain_counts_agents_and_attempts() -> None:
    """A chain runs its nodes once, and an agent calls its model once per attempt."""
    sketch = Sketch().chain(
        look, agent(note, "a"), agent(note, "b", retry=Retry(3)), agent(note, "c", hedge_after=1)
    )
    assert worst_case(build_plan(sketch.spec)) == Worst(
        4, 1 + 3 + 2, {"look": 1, "a": 1, "b": 1, "c": 1}
    )


def test_function_with_context_hides_calls() -> None:
    """A function that calls models itself makes the number of calls unknown."""
    assert worst_case(build_plan(Sketch().chain(look, talks).spec)).calls is None


def test_dearest_exclusive_branch_counts() -> None:
    """The dearest of exclusive branches counts, and all branches of a fork do."""
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


def test_loops_multiply_or_add_rounds() -> None:
    """Nested loops multiply, and loops that share a header add their iterations."""
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


def test_branch_out_of_loop_adds_calls() -> None:
    """A branch that leaves the loop is taken after the other iterations."""
    sketch = Sketch()
    stay, leave, last = agent(note, "stay"), agent(note, "leave"), agent(note, "last")
    sketch.route(look, kind_of).when("math", stay).when("prose", leave).exhaustive()
    sketch.chain([stay, leave], last)
    sketch.loop(stay, back_to=look, while_=weak, max_iterations=4)
    worst = worst_case(build_plan(sketch.spec))
    assert worst.calls == 4 + 1 + 1  # a bound: in truth the last round takes one of the two


def test_inner_nodes_are_counted_by_path() -> None:
    """Nodes of maps and sub-flows are counted under their paths."""
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
def test_random_runs_stay_within_bound(seed: int) -> None:
    """No random run activates more nodes or makes more calls than the worst case."""
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


def test_figures_follow_from_options() -> None:
    """Tokens, dollars and seconds follow from max_tokens, prices and timeouts."""
    plan = (
        Graph("paper", Paper)
        .chain(writer(retry=Retry(3, first=1, factor=2)), count_words)
        .build()
        .plan
    )
    estimated = estimate(
        plan,
        tariff=priced(),
        assumed=Assumed(longest_prompt=5_000, usual_prompt=1_000, usual_answer=200),
    )
    assert estimated.worst.values() == pytest.approx(
        (2, 3, 15_000, 3_000, 3 * (5_000 * 2 + 1_000 * 8) / 1e6, 60 + 1 + 2)
    )
    assert estimated.expected.values() == pytest.approx(
        (2, 1, 1_000, 200, (1_000 * 2 + 200 * 8) / 1e6, 1 + 200 / 50)
    )
    assert (estimated.gaps, estimated.is_bounded) == ((), True)


def test_repairs_and_tools_add_calls() -> None:
    """A repair of a structured answer is a second call, and rounds of tools add theirs."""

    def look(word: str) -> str: ...

    calls = [
        estimate(Graph("paper", Paper).chain(item).build().plan).worst.calls
        for item in (writer(), judge(), writer(tools=[look]), judge(tools=[look]))
    ]
    assert calls == [1, 2, 9, 11]


def test_text_with_rules_adds_repair() -> None:
    """A text with rules may not fit and is then asked for again."""

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


def test_policy_pays_all_requests() -> None:
    """A policy pays every request that it may make."""
    plan = Graph("paper", Paper).chain(writer()).build().plan
    estimated = estimate(plan, tariff=priced(PRICE, PRICE.times(10)))
    assert (estimated.worst.calls, estimated.worst.output_tokens) == (1, 2_000)
    assert estimated.worst.usd == pytest.approx(11 * (8_000 * 2 + 1_000 * 8) / 1e6)
    assert estimated.expected.usd == pytest.approx((2_000 * 2 + 500 * 8) / 1e6)


def test_gaps_name_path_and_fix() -> None:
    """A figure that nothing bounds is named with its path and what would bound it."""
    inner = Graph("inner", Paper).chain(writer(max_tokens=None, timeout=None)).build()
    graph = Graph("outer", Paper)

    def enter(paper: Paper) -> Paper: ...
    def leave(paper: Paper) -> Text: ...

    graph.chain(graph.sub("team", inner, enter=enter, leave=leave), judge(model="vendor/secret"))
    estimated = estimate(
        graph.build().plan, tariff=lambda model: None if model == "vendor/secret" else (PRICE,)
    )
    assert [(gap.path, gap.figure) for gap in estimated.gaps] == [
        ("team/write", "tokens"),
        ("team/write", "seconds"),
        ("judge", "dollars"),
    ]
    assert [math.isinf(value) for value in estimated.worst.values()] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]
    assert "max_tokens=" in estimated.gaps[0].fix
    assert '[prices."vendor/secret"]' in str(estimated.gaps[2])
    assert not estimated.is_bounded


def test_function_with_context_bounds_nothing() -> None:
    """A function that calls models itself bounds no figure."""
    estimated = estimate(build_plan(Sketch().chain(look, talks).spec))
    assert [(gap.path, gap.figure) for gap in estimated.gaps] == [
        ("talks", "calls"),
        ("talks", "seconds"),
    ]
    assert estimated.worst.usd == math.inf


def test_node_budget_caps_dollars() -> None:
    """A budget bounds the dollars where nothing else does."""
    plan = Graph("paper", Paper).chain(writer(max_tokens=None), judge(max_tokens=None)).build().plan
    for step in plan.steps[:2]:
        step.node.options = replace(step.node.options, budget=NodeBudget("loop", usd=0.25))
    estimated = estimate(plan, tariff=priced())
    assert (
        estimated.worst.usd,
        [node_estimate.worst.usd for node_estimate in estimated.nodes],
    ) == (
        0.25,
        [0.25, 0.25],
    )


def test_seconds_follow_longest_path() -> None:
    """The seconds are those of the longest branch and of all iterations."""
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


def test_slow_rounds_before_fast_exit_count() -> None:
    """The loop iterates by its slow branch, and is left by its fast one."""
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


def test_map_items_share_seconds() -> None:
    """The items of a map run at once, as many as its concurrency allows."""
    graph = Graph("papers", Papers)
    graph.chain(
        graph.map("digs", judge(), over=texts_of, gather=scores_of, max_items=10, concurrency=4)
    )
    estimated = estimate(graph.build().plan, tariff=priced())
    assert (estimated.worst.seconds, estimated.worst.calls, estimated.worst.activations) == (
        3 * 5,
        20,
        11,
    )
    assert (estimated.expected.calls, estimated.expected.seconds) == (5, 2 * (1 + 100 / 50))


def texts_of(papers: Papers) -> list[Text]: ...


def scores_of(scores: list[Score]) -> Scores: ...


def test_expected_case_follows_assumptions() -> None:
    """Routes are equally likely, half of the further iterations are needed, and nothing fails."""
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


def test_joined_branches_are_expected_once() -> None:
    """A node where branches meet is expected once, however many they are."""
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
def test_impossible_assumptions_are_refused(wrong: dict[str, Any]) -> None:
    """Assumptions out of range are refused."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        Assumed(**wrong)


# ---- never below what a run used -----------------------------------------------------------------
def compare_with_runs(seeds: Iterable[int]) -> int:
    """Compare the estimates of random flows with what their runs use.

    Return how many figures came close to their bound.
    """
    close = 0
    for seed in seeds:
        talking = talk(seed)
        most = talking.estimate.worst
        for model in (Talker(seed), Talker(-seed - 1)):
            record, seconds = run_flow(talking, model, seed)
            usage = record.usage
            kinds = [activation.step.node.kind for activation in record.activations()]
            ran = sum(kind not in ("end", "tool") for kind in kinds)
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


class Everywhere:
    """One price for every model."""

    def find_price(self, model: str, /) -> ModelPrice:
        return TALKED


def run_flow(talking: Talk, model: Talker, seed: int) -> tuple[Any, float]:
    """Return the report of a run on a virtual clock, and its seconds."""
    policy: Any = ("drain", "cancel", "isolate")[seed % 3]
    client = MeteredClient(model, Everywhere())

    async def run() -> tuple[Any, float]:
        began = asyncio.get_running_loop().time()
        try:
            result = await talking.flow.run(State(**INPUT), client=client, on_failure=policy)
            record = result.record
        except RunFailed as error:
            record = error.run
        return record, asyncio.get_running_loop().time() - began

    return run_virtual(run(), seed=seed)


def test_random_flows_stay_within_estimate() -> None:
    """No run of a random flow uses more than its estimate."""
    assert compare_with_runs(range(60)) > 10


@pytest.mark.slow
def test_1000_random_flows_stay_within_estimate() -> None:
    """No run of a thousand random flows uses more than its estimate."""
    assert compare_with_runs(range(1_000, 2_000)) > 200
