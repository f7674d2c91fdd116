"""Fan-out: a deadline or a quorum ends the wait, and gaps name the missing branches."""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, Node, QuorumNotMet, Request, Retry, agent, append, node
from graphorch.journal.memory import MemoryStore
from graphorch.patterns import Gaps
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, asked, cause, codes, failure
from tests.scenarios.crashed_copies import copy_run


class Deal(BaseModel):
    deal: str


class Legal(BaseModel):
    legal: str


class Money(BaseModel):
    money: str


class Tech(BaseModel):
    tech: str


class Brief(BaseModel):
    brief: str = ""


class Review(Deal, Legal, Money, Tech, Brief, Gaps): ...


class Notes(BaseModel):
    notes: Annotated[list[str], append] = []


class Book(Deal, Notes, Brief): ...


def noting(name: str, seconds: float, error: Exception | None = None) -> Node[Any]:
    @node(name=name)
    async def work(d: Deal) -> Notes:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return Notes(notes=[name])

    return work


@node
def conclude(n: Notes) -> Brief:
    return Brief(brief="+".join(n.notes))


def branch(
    name: str, model: type[BaseModel], seconds: float = 1, error: Exception | None = None
) -> Node[Any]:
    async def work(d: Deal) -> Any:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return model(**{name: f"{name} of {d.deal}"})

    work.__annotations__["return"] = model
    return node(name=name)(work)


@node
def brief(l: Legal | None, m: Money | None, t: Tech | None, g: Gaps) -> Brief:  # noqa: E741
    parts = [l.legal if l else "", m.money if m else "", t.tech if t else ""]
    return Brief(
        brief="; ".join(
            [*filter(None, parts), *(f"no {name}: {why}" for name, why in g.gaps.items())]
        )
    )


def review(
    legal: Node[Any], money: Node[Any], tech: Node[Any], **options: Any
) -> Flow[Deal, Brief, Review]:
    return (
        Graph("review", Review, input=Deal, output=Brief)
        .fan_out([legal, money, tech], brief, **options)
        .build()
    )


def seconds_of(times: list[float], **options: Any) -> float:
    branches = [noting(f"branch{number}", seconds) for number, seconds in enumerate(times)]
    graph = Graph("book", Book, input=Deal, output=Brief)
    flow = (
        graph.fan_out(branches, conclude, **options) if options else graph.chain(branches, conclude)
    )
    return run_virtual(flow.build().run(Deal(deal="x"))).seconds


def test_deadline_cuts_slowest_branch() -> None:
    """With one branch ten times slower, the p90 is that of the second slowest."""
    chance = random.Random(7)
    plain, pattern, second = [], [], []
    for _ in range(50):
        times = [chance.uniform(1, 2) for _ in range(4)]
        times[chance.randrange(4)] *= 10
        plain.append(seconds_of(times))
        pattern.append(seconds_of(times, need=3))
        second.append(sorted(times)[-2])
    p90 = 44
    assert sorted(plain)[p90] > 5 * sorted(second)[p90]
    assert sorted(pattern)[p90] <= 1.2 * sorted(second)[p90]


def test_fan_out_survives_failed_branch() -> None:
    """A branch that raises brings the plain wiring down, and not the pattern."""
    branches = [noting("a", 1), noting("b", 2), noting("c", 0.5, RuntimeError("no network"))]
    plain = Graph("book", Book, input=Deal, output=Brief).chain(branches, conclude).build()
    assert "no network" in str(failure(plain.run(Deal(deal="x"))))
    flow = Graph("book", Book, input=Deal, output=Brief).fan_out(branches, conclude, need=2).build()
    assert run_virtual(flow.run(Deal(deal="x"))).output.brief == "a+b"


def test_gaps_name_missing_branches() -> None:
    """A partial result names the missing branches and the reasons."""
    broken = branch("money", Money, 0.5, RuntimeError("no network"))
    flow = review(branch("legal", Legal, 1), broken, branch("tech", Tech, 100), deadline=10)
    result = run_virtual(flow.run(Deal(deal="x")))
    assert result.seconds == pytest.approx(10, abs=0.01)
    no_money = "no money: it failed: RuntimeError: no network"
    no_tech = "no tech: it failed: NodeTimedOut: "
    assert result.output.brief.startswith(f"legal of x; {no_money}; {no_tech}")
    assert set(result.state.gaps) == {"money", "tech"}


def test_quorum_names_abandoned_branches() -> None:
    """With enough branches, the gaps name those that were not waited for."""
    broken = branch("money", Money, 0.5, RuntimeError("no network"))
    flow = review(branch("legal", Legal, 1), broken, branch("tech", Tech, 100), need=1)
    result = run_virtual(flow.run(Deal(deal="x")))
    no_money = "no money: it failed: RuntimeError: no network"
    no_tech = "no tech: it was not waited for: enough others had come"
    assert result.output.brief == f"legal of x; {no_money}; {no_tech}"
    assert result.seconds == pytest.approx(1, abs=0.01)


def test_deadline_covers_all_attempts() -> None:
    """A deadline is for all attempts of a branch."""

    @node(retry=Retry(5, first=2, factor=1))
    async def flaky(d: Deal) -> Notes:
        await asyncio.sleep(3)
        raise RuntimeError("again")

    flow = (
        Graph("book", Book, input=Deal, output=Brief)
        .fan_out([flaky, noting("a", 1)], conclude, deadline=8)
        .build()
    )
    result = run_virtual(flow.run(Deal(deal="x")))
    assert result.output.brief == "a"
    assert result.seconds < 8.01


def test_quorum_missed_fails() -> None:
    """Too few branches end the run with every reason."""
    branches = [
        noting("a", 1),
        noting("b", 2, ValueError("bad page")),
        noting("c", 3, RuntimeError("no network")),
    ]
    flow = Graph("book", Book, input=Deal, output=Brief).fan_out(branches, conclude, need=2).build()
    failed = failure(flow.run(Deal(deal="x")))
    assert isinstance(cause(failed), QuorumNotMet)
    reasons = "'b': it failed: ValueError: bad page; 'c': it failed: RuntimeError: no network"
    assert f"'conclude' needs 2 of 3 branches, and only 1 came. {reasons}" in str(failed)


def test_no_branch_in_time_fails() -> None:
    """If no branch comes before its deadline, the run fails."""
    flow = (
        Graph("book", Book, input=Deal, output=Brief)
        .fan_out([noting("a", 50), noting("b", 60)], conclude, deadline=5)
        .build()
    )
    failed = failure(flow.run(Deal(deal="x")))
    assert "No branch into 'conclude' brought anything. 'a': it failed: NodeTimedOut" in str(failed)


def test_fan_out_without_options() -> None:
    """Without options the join waits for all branches, and fails with any."""
    assert seconds_of([1, 5, 2], need="arriving") == pytest.approx(5, abs=0.01)
    flow = (
        Graph("book", Book, input=Deal, output=Brief)
        .fan_out([noting("a", 1), noting("b", 1, ValueError("bad"))], conclude)
        .build()
    )
    assert "bad" in str(failure(flow.run(Deal(deal="x"))))


def test_merging_prompt_names_gaps() -> None:
    """The prompt of an agent that merges names the missing branches."""

    @agent(output=Brief, model="vendor/brief")
    def sum_up(n: Notes) -> str:
        return f"Sum up: {n.notes}"

    branches = [noting("a", 1), noting("b", 1, ValueError("bad page"))]
    flow = (
        Graph("book", Book, input=Deal, output=Brief).fan_out(branches, sum_up, deadline=9).build()
    )
    models = Models(lambda _: "done")
    run_virtual(flow.run(Deal(deal="x"), client=models))
    assert asked(models.requests[0]).splitlines() == [
        "Sum up: ['a']",
        "Some parts are missing; say so where it matters:",
        "- b: it failed: ValueError: bad page",
    ]
    whole = Models(lambda _: "done")
    ok = (
        Graph("book", Book, input=Deal, output=Brief)
        .fan_out([noting("a", 1), noting("b", 2)], sum_up, deadline=9)
        .build()
    )
    run_virtual(ok.run(Deal(deal="x"), client=whole))
    assert asked(whole.requests[0]) == "Sum up: ['a', 'b']"


def test_slow_call_is_hedged() -> None:
    times = iter([60.0, 1.0])

    def say(request: Request) -> tuple[float, str]:
        return next(times), "law"

    @agent(output=Legal, model="vendor/law")
    def law(d: Deal) -> str:
        return d.deal

    flow = (
        Graph("review", Review, input=Deal, output=Brief)
        .fan_out([law, branch("money", Money), branch("tech", Tech)], brief, hedge_after=5)
        .build()
    )
    result = run_virtual(flow.run(Deal(deal="x"), client=Models(say)))
    assert result.seconds == pytest.approx(6, abs=0.01)


def test_first_answer_assigns_slice() -> None:
    """The first of several answers to one question is enough to read it."""

    @node
    def publish(t: Tech) -> Brief:
        return Brief(brief=t.tech)

    slow, fast = branch("tech", Tech, 9).named("slow"), branch("tech", Tech, 1).named("fast")
    flow = (
        Graph("review", Review, input=Deal, output=Brief)
        .fan_out([slow, fast], publish, need=1)
        .build()
    )
    assert flow.warnings == ()
    assert run_virtual(flow.run(Deal(deal="x"))).output.brief == "tech of x"


def test_gaps_are_of_each_round() -> None:
    """In a loop each round has gaps of its own."""
    calls: list[str] = []

    @node
    async def sometimes(d: Deal) -> Notes:
        calls.append("x")
        if len(calls) == 1:
            raise ValueError("the first time")
        return Notes(notes=["sometimes"])

    class Whole(Book, Gaps): ...

    @node
    def head(d: Deal) -> None: ...

    @node
    def look(n: Notes, g: Gaps) -> Brief:
        return Brief(brief=f"{','.join(n.notes)}|{','.join(g.gaps)}")

    graph = Graph("book", Whole, input=Deal, output=Brief)
    always = noting("a", 1)
    graph.chain(head, [sometimes, always]).fan_out([sometimes, always], look, deadline=5)
    graph.loop(look, back_to=head, while_=lambda s: len(s.notes) < 2, max_iterations=3)
    result = run_virtual(graph.build().run(Deal(deal="x")))
    assert result.output.brief == "a,sometimes,a|"


def test_deadline_ends_sub_flow_and_map() -> None:
    """A branch that is a sub-flow or a map is ended by the deadline like a node, and is missing."""

    class Missed(Book, Gaps): ...

    @node
    def look(n: Notes, g: Gaps) -> Brief:
        return Brief(brief=f"{','.join(n.notes)}|{','.join(sorted(g.gaps))}")

    def gather(found: list[Notes]) -> Notes:
        return found[0]

    def make(seconds: float) -> Flow[Deal, Brief, Any]:
        inner = Graph("inner", Book, input=Deal, output=Notes)
        flow = inner.chain(noting("deep", seconds)).build()
        graph = Graph("book", Missed, input=Deal, output=Brief)
        team = graph.sub(
            "team", flow, enter=lambda s: Deal(deal=s.deal), leave=lambda n: Notes(notes=n.notes)
        )
        work: Any = noting("work", seconds)
        each = graph.map("each", work, over=lambda s: [s], gather=gather, max_items=1)
        return graph.fan_out([team, each, noting("a", 1)], look, deadline=5).build()

    results = [run_virtual(make(seconds).run(Deal(deal="x"))) for seconds in (2, 60)]
    assert [result.output.brief for result in results] == ["deep,work,a|", "a|each,team"]
    assert results[1].seconds == pytest.approx(5, abs=0.1)


def test_fan_out_problems_are_reported() -> None:
    """A fan-out that cannot work does not build."""
    item, other = noting("a", 1), noting("b", 1)

    def graph() -> Graph[Book, Deal, Brief]:
        return Graph("book", Book, input=Deal, output=Brief)

    inner = graph().chain(item, conclude).build()
    whole = graph()
    team = whole.sub(
        "team", inner, enter=lambda s: Deal(deal=s.deal), leave=lambda b: Notes(notes=[b.brief])
    )
    whole.fan_out([team, item], conclude, deadline=5).build()
    asking = graph()
    person = asking.ask("person", question=lambda s: s.deal, answer=Notes)
    assert codes(asking.fan_out([person, item], conclude, deadline=5).build) == {"FAN_OUT_DEADLINE"}
    assert codes(graph().fan_out([item, other], conclude, need=3).build) == {"FAN_OUT_NEED"}
    assert codes(graph().fan_out([item, other], conclude, need=0).build) == {"FAN_OUT_NEED"}
    assert codes(graph().fan_out([item, item], conclude).build) == {"FAN_OUT_TWICE"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"need": 2},
        {"need": 3},
        {"need": 1},
        {"deadline": 5.0},
        {"need": 2, "deadline": 5.0, "hedge_after": 1.0},
    ],
)
def test_fan_out_builds_and_draws(options: dict[str, Any]) -> None:
    """The fan-out builds without a warning and can be drawn."""
    flow = (
        Graph("book", Book, input=Deal, output=Brief)
        .fan_out([noting("a", 1), noting("b", 1), noting("c", 1)], conclude, **options)
        .build()
    )
    assert flow.warnings == ()
    assert "conclude" in flow.svg()


# ---- losers that finish --------------------------------------------------------------------------
def finishing(*branches: Node[Any], need: int = 1, **options: Any) -> Flow[Deal, Brief, Book]:
    graph = Graph("book", Book, input=Deal, output=Brief)
    return graph.fan_out(branches, conclude, need=need, rest="finish", **options).build()


def test_losers_finish_beside_merge() -> None:
    """With `rest="finish"` the merge does not wait for the rest, and the run does."""
    result = run_virtual(finishing(noting("a", 1), noting("b", 9)).run(Deal(deal="x")))
    assert (result.status, result.output.brief) == ("succeeded", "a")
    assert result.seconds == pytest.approx(9, abs=0.01)
    [late] = [each for each in result.record.run.history if each.path == "b"]
    assert late.status.name == "DONE"


def test_loser_may_act_once() -> None:
    """A branch whose effect must not happen twice may lose, since it is not interrupted."""

    @node(effect="once")
    async def book(d: Deal) -> Notes:
        await asyncio.sleep(5)
        acted.append(d.deal)
        return Notes(notes=["booked"])

    acted: list[str] = []
    graph = Graph("book", Book, input=Deal, output=Brief)
    assert codes(graph.fan_out([noting("a", 1), book], conclude, need=1).build) == {"QUORUM_REGION"}
    result = run_virtual(finishing(noting("a", 1), book).run(Deal(deal="x")))
    assert (result.output.brief, acted) == ("a", ["x"])


@pytest.mark.parametrize("error_after", [0.5, 5.0])
@pytest.mark.parametrize("need", [1, 2])
def test_failed_loser_brings_nothing_down(need: int, error_after: float) -> None:
    """A branch that fails before or after enough have come changes nothing, as it is handled."""
    bad = noting("bad", error_after, ValueError("bad page"))
    flow, store = finishing(noting("a", 1), noting("b", 2), bad, need=need), MemoryStore()

    async def check() -> None:
        result = await flow.run(Deal(deal="x"), run_id="r", durable=store)
        assert result.status == "succeeded"
        assert result.output.brief == "+".join("ab"[:need])
        assert (await flow.replay("r", durable=store)).output == result.output

    run_virtual(check())


def test_too_few_fail_while_rest_finishes() -> None:
    """Too few branches fail the run with every reason, as without `rest`."""
    bad = [noting(name, 1, ValueError(f"{name} broke")) for name in ("c", "d")]
    failed = failure(finishing(noting("a", 1), *bad, need=2).run(Deal(deal="x")))
    assert isinstance(cause(failed), QuorumNotMet)
    assert "'c': it failed: ValueError: c broke; 'd': it failed: ValueError: d broke" in str(failed)


def test_first_of_slices_may_fail_late() -> None:
    """Where the first of several answers is enough, a late failure of another one is no failure."""

    @node
    def publish(t: Tech) -> Brief:
        return Brief(brief=t.tech)

    slow = branch("tech", Tech, 9, RuntimeError("no network")).named("slow")
    fast = branch("tech", Tech, 1).named("fast")
    graph = Graph("review", Review, input=Deal, output=Brief)
    flow = graph.fan_out([slow, fast], publish, need=1, rest="finish").build()
    assert flow.warnings == ()
    result = run_virtual(flow.run(Deal(deal="x")))
    assert (result.status, result.output.brief) == ("succeeded", "tech of x")


def test_gaps_name_unfinished_branches() -> None:
    """The gaps say of what still runs that it was not waited for, whenever it ends."""
    flow = review(
        branch("legal", Legal, 1),
        branch("money", Money, 1.0),
        branch("tech", Tech, 100),
        need=2,
        rest="finish",
    )
    result = run_virtual(flow.run(Deal(deal="x")))
    no_tech = "no tech: it was not waited for: enough others had come"
    assert result.output.brief == f"legal of x; money of x; {no_tech}"


def test_killed_fan_out_loses_no_loser() -> None:
    """Killed after each record and resumed, a fan-out ends alike and repeats no branch."""
    bad = noting("bad", 1.5, ValueError("bad page"))
    flow, store = finishing(noting("a", 1), noting("b", 2), bad), MemoryStore()

    async def check() -> None:
        whole = await flow.run(Deal(deal="x"), run_id="r", durable=store)
        log = await store.load("r")
        for seq in range(1, len(log.records) + 1):
            copy = MemoryStore()
            await copy_run(log.head, log.records[:seq], copy)
            result = await flow.resume("r", durable=copy)
            assert (result.status, result.output) == (whole.status, whole.output)
            commits = [
                record.body["path"]
                for record in (await copy.load("r")).records
                if record.kind == "commit"
            ]
            assert len(commits) == len({*commits})

    run_virtual(check())


def test_rest_of_fan_out_is_checked() -> None:
    """A `rest` that is unknown, or has nothing to finish, does not build."""
    a, b = noting("a", 1), noting("b", 1)
    wrong: Any
    for wrong in ({"need": 1, "rest": "wait"}, {"rest": "finish"}):
        graph = Graph("book", Book, input=Deal, output=Brief)
        assert codes(graph.fan_out([a, b], conclude, **wrong).build) == {"FAN_OUT_REST"}
