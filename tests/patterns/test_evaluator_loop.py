"""Evaluator loop: spending stays below the cap, and the best attempt is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from graphorch import Budget, Graph, Limits, Request, RunFailed, agent, node
from graphorch.patterns import Round, ScoreOutside, Unjudged
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, asked, cause, codes, emitted, events_of, failure, metered


class Task(BaseModel):
    task: str


class Draft(BaseModel):
    draft: str


class Grade(BaseModel):
    points: float = 0
    remark: str = ""


class Essay(Task, Draft, Grade): ...


class Out(Draft, Grade): ...


class State(Task, Out): ...


@agent(output=Draft, model="vendor/writer", max_tokens=200)
def write(t: Task) -> str:
    return f"Write: {t.task}"


@agent(output=Grade, model="vendor/judge", max_tokens=200)
def judge(d: Draft) -> str:
    return f"Grade: {d.draft}"


class Loose(BaseModel):
    value: float = 0


class Rated(Draft, Loose): ...


def value_of(v: Loose) -> float:
    return v.value


def good(g: Grade) -> bool:
    return g.points >= 9


def points(g: Grade) -> float:
    return g.points


def graded(*scores: float) -> Models:
    """Answer as a writer of numbered drafts and as a judge that gives these points in turn.

    The last points are given for ever.
    """
    left, drafts = list(scores), iter(range(1, 1000))

    def say(request: Request) -> str | BaseModel:
        if request.model == "vendor/writer":
            return f"draft {next(drafts)}"
        return Grade(
            points=left.pop(0) if len(left) > 1 else left[0],
            remark=f"more, after {asked(request)[-1]}",
        )

    return Models(say)


def looped(**options: Any) -> Graph[State, Task, Out]:
    options = {"accept": good, "max_rounds": 6, "score": points, **options}
    return Graph("essay", State, input=Task, output=Out).evaluator_loop(write, judge, **options)


def rounds(models: Models) -> int:
    return len(models.of("write"))


def test_loop_leaves_best_attempt() -> None:
    """The plain wiring returns the last attempt, and the pattern the best one."""
    plain = Graph("essay", State, input=Task, output=Out).chain(write, judge)
    plain.loop(judge, back_to=write, while_=lambda s: s.points < 9, max_iterations=4)
    scores = (3, 8, 4, 2)
    assert run_virtual(plain.build().run(Task(task="tides"), client=graded(*scores))).output == Out(
        draft="draft 4", points=2, remark="more, after 4"
    )
    best = run_virtual(looped(max_rounds=4).build().run(Task(task="tides"), client=graded(*scores)))
    assert best.output == Out(draft="draft 2", points=8, remark="more, after 2")


def test_loop_stops_when_accepted() -> None:
    """The loop stops when the evaluator accepts."""
    models = graded(3, 9.5, 1)
    assert (
        run_virtual(looped().build().run(Task(task="tides"), client=models)).output.draft
        == "draft 2"
    )
    assert rounds(models) == 2


def test_generator_prompt_holds_draft_and_feedback() -> None:
    """The prompt of the generator has the task, the last draft and the feedback."""
    models = graded(3, 9.5)
    run_virtual(looped().build().run(Task(task="tides"), client=models))
    first, second = models.of("write")
    assert asked(first) == "Write: tides"
    assert asked(second).startswith("Write: tides")
    assert "draft 1" in asked(second)
    assert "more, after 1" in asked(second)


def test_generator_prompt_repeats_nothing() -> None:
    """A generator that reads draft and feedback itself does not get them twice."""

    @agent(output=Draft, model="vendor/writer")
    def rewrite(t: Task, d: Draft | None, g: Grade) -> str:
        return f"Write: {t.task}" + (
            f", better than {d.draft}: {g.remark}" if d is not None else ""
        )

    flow = (
        Graph("essay", State, input=Task, output=Out)
        .evaluator_loop(rewrite, judge, accept=good, max_rounds=3)
        .build()
    )
    models = graded(3, 9.5)
    run_virtual(flow.run(Task(task="tides"), client=models))
    assert asked(models.of("rewrite")[1]) == "Write: tides, better than draft 1: more, after 1"


def test_loop_stops_without_better_score() -> None:
    """The loop stops when no score is better for two rounds."""
    models = graded(5, 4, 5, 9.9)
    result = run_virtual(looped().build().run(Task(task="tides"), client=models))
    assert (rounds(models), result.output.draft) == (3, "draft 1")


def test_loop_stops_at_repeated_attempt() -> None:
    """The loop stops when an attempt was made before."""

    def say(request: Request) -> str | BaseModel:
        return "the same" if request.model == "vendor/writer" else Grade(points=5)

    models = Models(say)
    events = run_virtual(events_of(looped(score=None).build(), Task(task="tides"), client=models))
    assert rounds(models) == 2
    assert "this very attempt was made before" in emitted(events, Round)[-1].stopped


@pytest.mark.parametrize("is_same", [True, False])
@pytest.mark.parametrize("kind", ["data", "token", "left_out", "thing"])
def test_attempt_needs_no_json(kind: str, is_same: bool) -> None:
    """Attempts are compared by what they hold: data, secrets, and fields that no JSON shows."""

    class Thing:
        def __init__(self, number: int) -> None:
            self.number = number

    class Attempt(BaseModel):
        data: bytes = b""
        token: SecretStr = SecretStr("")
        left_out: str = Field("", exclude=True)
        thing: Any = None

    class Outcome(Attempt, Grade): ...

    class Work(Task, Outcome): ...

    made: list[int] = []

    @node
    def make(task: Task, last: Attempt) -> Attempt:
        made.append(0 if is_same else len(made))
        number = made[-1]
        values: dict[str, Any] = {
            "data": b"\xff%d" % number,
            "token": SecretStr(str(number)),
            "left_out": str(number),
            "thing": Thing(number),
        }
        return Attempt(**{kind: values[kind]})

    @node
    def rate(attempt: Attempt) -> Grade:
        return Grade(points=1)

    graph = Graph("work", Work, input=Task, output=Outcome)
    graph.evaluator_loop(make, rate, accept=good, max_rounds=3)
    run_virtual(graph.build().run(Task(task="tides")))
    assert len(made) == (2 if is_same else 3)


def test_loop_stops_at_its_bound() -> None:
    """The bound ends the loop, and the result says so."""
    models = graded(1, 2, 3, 4, 5, 6, 7, 8)
    result = run_virtual(looped(max_rounds=4).build().run(Task(task="tides"), client=models))
    assert (rounds(models), result.output.draft) == (4, "draft 4")
    assert result.exhausted == (("judge_progress", "write"),)


def test_loop_rounds_are_events() -> None:
    """Each round is an event."""
    events = run_virtual(events_of(looped().build(), Task(task="tides"), client=graded(3, 2, 9.5)))
    progress = [
        (item.round, item.score, item.best, item.accepted, item.stopped)
        for item in emitted(events, Round)
    ]
    assert progress == [(1, 3, 3, False, ""), (2, 2, 3, False, ""), (3, 9.5, 9.5, True, "accepted")]


def never(usd: float | None) -> tuple[Models, Any]:
    """Run a loop whose evaluator never accepts, though every draft is a little better.

    A round costs about two cents.
    """
    models = graded(*(1 + number / 100 for number in range(100)))
    return models, looped(max_rounds=50, usd=usd).build().run(
        Task(task="tides"), client=metered(models)
    )


def test_loop_without_cap_spends_dollars() -> None:
    """An evaluator that never accepts spends over a dollar without a cap."""
    _, run = never(None)
    assert run_virtual(run).cost > 1.0


@pytest.mark.parametrize("usd", [0.2, 0.25, 0.3, 0.5, 1.0])
def test_cap_bounds_spending(
    usd: float,
) -> None:
    """An evaluator that never accepts spends at most the cap, and the best attempt is left."""
    models, run = never(usd)
    result = run_virtual(run)
    judged = len(models.of("judge"))
    assert 0 < result.cost <= usd
    assert judged >= 2
    assert result.output == Out(
        draft=f"draft {judged}", points=1 + (judged - 1) / 100, remark=f"more, after {judged % 10}"
    )


def test_cap_below_first_round_fails() -> None:
    """A cap that does not cover the first round ends the run as a limit."""
    models, run = never(0.01)
    assert failure(run).end_reason == "limit:usd"
    assert models.requests == []


def test_cap_reached_inside_a_round() -> None:
    """The best attempt is left when the money ends in the middle of a round."""

    def say(request: Request) -> str | BaseModel:
        number = len(models.of("write"))
        return (
            f"draft {number}" + "!" * 2000 * (number - 1)
            if request.model == "vendor/writer"
            else Grade(points=number)
        )

    models = Models(say, tokens=10)
    flow = looped(usd=0.25).build()
    events = run_virtual(events_of(flow, Task(task="tides"), client=metered(models)))
    assert emitted(events, Round)[-1].stopped == "the money set aside is over"
    result = run_virtual(
        flow.run(Task(task="tides"), client=metered(models := Models(say, tokens=10)))
    )
    assert (result.output.draft, result.cost <= 0.25) == ("draft 1", True)


def test_cap_counts_at_run_budget() -> None:
    """Spending under the cap counts at the budget of the run too."""
    failed = failure(
        looped(usd=0.5)
        .build()
        .run(Task(task="tides"), client=metered(graded(1)), budget=Budget(usd=0.01))
    )
    assert failed.end_reason == "limit:usd"


class Visits(BaseModel):
    visits: int = 0


class VisitedState(State, Visits): ...


def test_loop_entered_again_begins_anew() -> None:
    """A loop that is entered again begins anew."""

    class Count(BaseModel):
        n: int = 0

    class Mark(BaseModel):
        mark: int = 0

    class Both(Count, Mark): ...

    ran: list[str] = []

    @node
    def head(c: Count) -> None: ...

    @node
    def more(c: Count) -> Count:
        ran.append("more")
        return Count(n=c.n + 1)

    @node
    def look(c: Count) -> Mark:
        return Mark(mark=c.n)

    @node
    def tail(m: Mark) -> None:
        ran.append("tail")

    graph = (
        Graph("twice", Both)
        .evaluator_loop(more, look, accept=lambda s: s.mark % 5 == 0, max_rounds=3)
        .chain(look, tail)
    )
    graph.chain(head, more).loop(tail, back_to=head, while_=lambda s: s.mark < 10, max_iterations=9)
    result = run_virtual(graph.build().run(Both()))
    assert ran == ["more"] * 3 + ["tail"] + ["more"] * 2 + ["tail"] + ["more"] * 3 + ["tail"] + [
        "more"
    ] * 2 + ["tail"]
    assert result.output.n == 10


@pytest.mark.parametrize("value", [11.0, -0.5, float("nan"), float("inf")])
def test_score_outside_range_fails(value: float) -> None:
    """A score outside its range ends the run in plain words."""

    @node
    def draft(d: Draft | None) -> Draft:
        return Draft(draft="x")

    @node
    def rate(d: Draft) -> Loose:
        return Loose(value=value)

    graph = Graph("rated", Rated, input=Loose, output=Draft)
    graph.evaluator_loop(
        draft, rate, accept=lambda s: False, max_rounds=3, score=value_of, scale=(0, 10)
    )
    failed = failure(graph.build().run(Loose()))
    assert isinstance(cause(failed), ScoreOutside)
    assert f"'value_of' gave {value!r}, which is not a number from 0 to 10." in str(failed)


def test_shared_model_refused() -> None:
    """Two agents that name one model do not build without `same_model=True`."""
    twin = judge.with_model("vendor/writer")

    def build(**options: Any) -> Callable[[], Any]:
        return (
            Graph("essay", State, input=Task, output=Out)
            .evaluator_loop(write, twin, accept=good, max_rounds=2, **options)
            .build
        )

    assert codes(build()) == {"EVALUATOR_MODEL"}
    assert build(same_model=True)().warnings == ()


def test_default_models_warn() -> None:
    """Two agents that leave the model to the run get a warning."""
    graph = Graph("essay", State, input=Task, output=Out)
    graph.evaluator_loop(
        write.with_model("default"), judge.with_model("default"), accept=good, max_rounds=2
    )
    assert [problem.code for problem in graph.build().warnings] == ["EVALUATOR_MODEL"]


def test_unheard_feedback_warns() -> None:
    """A generator that reads no feedback gets a warning."""

    @node
    def deaf(t: Task) -> Draft:
        return Draft(draft=t.task)

    flow = (
        Graph("essay", State, input=Task, output=Out)
        .evaluator_loop(deaf, judge, accept=good, max_rounds=2)
        .build()
    )
    assert [problem.code for problem in flow.warnings] == ["EVALUATOR_UNHEARD"]


def test_loop_bounds_are_checked() -> None:
    assert codes(looped(max_rounds=0).build) >= {"EVALUATOR_BOUND"}
    assert codes(looped(usd=0).build) >= {"EVALUATOR_USD"}
    assert codes(looped(scale=(10, 0)).build) >= {"EVALUATOR_SCALE"}


@pytest.mark.parametrize("options", [{}, {"usd": 0.5}, {"score": None}, {"max_rounds": 1}])
def test_loop_builds_and_draws(options: dict[str, Any]) -> None:
    """The loop builds without a warning and can be drawn."""
    flow = looped(**options).build()
    assert flow.warnings == ()
    assert "judge_progress" in flow.svg()


def test_edges_leave_after_the_loop() -> None:
    """Edges from the evaluator lead on after the loop."""

    @node
    def publish(d: Draft) -> Draft:
        return Draft(draft=f"published {d.draft}")

    flow = looped(usd=0.5).chain(judge, publish).build()
    result = run_virtual(flow.run(Task(task="tides"), client=metered(graded(8, 9.5))))
    assert result.output.draft == "published draft 2"
    assert [step.node for step in result.steps].count("publish") == 1


def test_loop_inside_loop_with_shared_header() -> None:
    """The best attempt is left where a loop around it shares its header and so its rounds."""
    scores = (3, 8, 4, 2)
    graph = looped(max_rounds=2)
    graph.loop(judge, back_to=write, while_=lambda s: s.task != "", max_iterations=2)
    result = run_virtual(graph.build().run(Task(task="tides"), client=graded(*scores)))
    assert result.output.points == 4


def test_cap_counts_across_resume(tmp_path: Path) -> None:
    """Spending before a stop counts at the cap after the resume."""
    models = graded(*(1 + number / 100 for number in range(100)))
    flow, store = looped(max_rounds=50, usd=0.4).build(), tmp_path / "runs.sqlite"

    async def stopped_and_resumed() -> Any:
        with pytest.raises(RunFailed):
            await flow.run(
                Task(task="tides"),
                client=metered(models),
                durable=store,
                run_id="one",
                limits=Limits(activations=14),
            )
        assert len(models.requests) >= 8
        return await flow.resume(
            "one", client=metered(models), durable=store, limits=Limits(activations=1_000)
        )

    result = asyncio.run(stopped_and_resumed())
    assert result.cost <= 0.4
    assert len(models.requests) >= 12
    assert result.output.points == pytest.approx(1 + (len(models.of("judge")) - 1) / 100)


# ---- a judge whose answers cannot be used --------------------------------------------------------
def judged(*grades: float | None) -> Models:
    """Answer as a writer of numbered drafts and as a judge; None is an answer without JSON."""
    left, drafts = list(grades), iter(range(1, 1000))

    def say(request: Request) -> str | BaseModel:
        if request.model == "vendor/writer":
            return f"draft {next(drafts)}"
        if left[0] is None:
            return "Quite good, I think!"
        return Grade(points=left.pop(0) or 0)

    return Models(say)


def test_invalid_judgement_keeps_best_attempt() -> None:
    """The loop ends with the best attempt that was judged, and the note says why."""
    result = run_virtual(looped().build().run(Task(task="tides"), client=judged(3, 7, 4, None)))
    assert (result.output.draft, result.output.points) == ("draft 2", 7)
    (note,) = result.notes
    assert note.path == "judge_progress"
    assert note.text.startswith(
        "the loop ended without an accepted attempt after 3 evaluated rounds ('judge' gave no "
        "valid answer: "
    )
    assert note.text.endswith("; the best attempt was kept, with score 7") or "…" in note.text


def test_invalid_judgement_inside_sub_flow_keeps_best_attempt() -> None:
    """The same holds for a judge that is a flow of its own."""

    class Judged(Draft, Grade): ...

    def enter(d: Draft) -> Draft:
        return d

    def leave(g: Grade) -> Grade:
        return g

    jury = Graph("jury", Judged, input=Draft, output=Grade).chain(judge).build()
    graph = Graph("essay", State, input=Task, output=Out)
    judges = graph.sub("judges", jury, enter=enter, leave=leave)
    graph.evaluator_loop(write, judges, accept=good, score=points, max_rounds=6)
    result = run_virtual(graph.build().run(Task(task="tides"), client=judged(3, 7, 4, None)))
    assert (result.output.draft, result.output.points) == ("draft 2", 7)
    assert "('judges' gave no valid answer: " in result.notes[0].text


def test_invalid_first_judgement_keeps_the_attempt() -> None:
    """Without any judgement the attempt stays as it is, if the judge's slice has defaults."""
    result = run_virtual(looped().build().run(Task(task="tides"), client=judged(None)))
    assert (result.output.draft, result.output.points) == ("draft 1", 0)
    assert "after 0 evaluated rounds" in result.notes[0].text


class Stars(BaseModel):
    stars: float


class MarkedEssay(Task, Draft, Stars): ...


@agent(output=Stars, model="vendor/judge")
def mark(d: Draft) -> str:
    return d.draft


def test_invalid_first_judgement_without_defaults_fails() -> None:
    """Nothing is made up: a required judgement that never came ends the run in one line."""
    flow = (
        Graph("essay", MarkedEssay, input=Task, output=MarkedEssay)
        .evaluator_loop(write, mark, accept=lambda m: m.stars > 9, max_rounds=3)
        .build()
    )
    error = cause(failure(flow.run(Task(task="tides"), client=judged(None))))
    assert isinstance(error, Unjudged)
    assert "'mark' gave no valid answer, and no attempt was judged before" in str(error)


@pytest.mark.parametrize(
    ("scores", "options", "reason"),
    [
        ((3, 4, 5, 6), {"max_rounds": 3}, "no more than 3 rounds"),
        ((5, 4, 3), {}, "no progress: no better score in 2 rounds"),
    ],
)
def test_unaccepted_loop_says_why(
    scores: tuple[float, ...], options: dict[str, Any], reason: str
) -> None:
    """A loop that ends without an accepted attempt leaves a note; an accepted one leaves none."""
    result = run_virtual(looped(**options).build().run(Task(task="t"), client=graded(*scores)))
    assert [note.text for note in result.notes] == [
        f"the loop ended without an accepted attempt after 3 evaluated rounds ({reason}); "
        f"the best attempt was kept, with score {max(scores[:3])}"
    ]
    assert "note of judge_progress: the loop ended without" in result.svg()
    accepted = run_virtual(looped().build().run(Task(task="t"), client=graded(9.5)))
    assert accepted.notes == ()


def test_loop_entered_again_forgets_its_last_visit() -> None:
    """An invalid judgement on a later visit does not bring back the best attempt of an earlier."""

    @node
    def count(v: Visits) -> Visits:
        return Visits(visits=v.visits + 1)

    outer = Graph("twice", VisitedState, input=Task, output=Out)
    outer.evaluator_loop(write, judge, accept=good, score=points, max_rounds=2)
    outer.chain(judge, count)
    outer.loop(count, back_to=write, while_=lambda v: v.visits < 2, max_iterations=3)
    result = run_virtual(outer.build().run(Task(task="t"), client=judged(5, 6, None)))
    assert result.output.draft == "draft 3"
