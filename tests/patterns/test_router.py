"""Router: a second opinion sends more requests to the right specialist."""

from __future__ import annotations

import random
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import Committed, Graph, Request, agent, node
from graphorch.graph.fingerprint import describe
from graphorch.patterns import Chosen, ScoreOutside
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, asked, cause, codes, emitted, events_of, failure

Label = Literal["billing", "technical", "account"]
LABELS: tuple[Label, ...] = ("billing", "technical", "account")


class Question(BaseModel):
    question: str


class Sorted(BaseModel):
    kind: Label
    sure: float = 1.0


class Reply(BaseModel):
    reply: str = ""


class Desk(Question, Sorted, Reply): ...


@agent(output=Sorted, model="vendor/small")
def classify(q: Question) -> str:
    return q.question


@agent(output=Sorted, model="other/large")
def classify_again(q: Question) -> str:
    return q.question


@node
def billing(q: Question) -> Reply:
    return Reply(reply="billing")


@node
def technical(q: Question) -> Reply:
    return Reply(reply="technical")


@node
def account(q: Question) -> Reply:
    return Reply(reply="account")


@node
def person(q: Question) -> Reply:
    return Reply(reply="person")


def kind_of(s: Sorted) -> Label:
    return s.kind


def sure_of(s: Sorted) -> float:
    return s.sure


def desk(**options: Any) -> Graph[Desk, Question, Reply]:
    options = {"default": person, "confidence": sure_of, "threshold": 0.7, **options}
    routes: Any = options.pop(
        "routes", {"billing": billing, "technical": technical, "account": account}
    )
    return Graph("desk", Desk, input=Question, output=Reply).router(
        classify, kind_of, routes, **options
    )


def says(kind: Label, sure: float, again: Label = "billing", sure_again: float = 1.0) -> Models:
    return Models(
        lambda request: (
            Sorted(kind=kind, sure=sure)
            if request.model == "vendor/small"
            else Sorted(kind=again, sure=sure_again)
        )
    )


def routed(graph: Graph[Desk, Question, Reply], models: Models) -> str:
    return run_virtual(graph.build().run(Question(question="?"), client=models)).output.reply


def misclassifying(seed: int) -> Models:
    """Answer as classifiers that are wrong in 20 % (small) and 10 % (large) of the cases.

    Most wrong answers are unsure.
    """
    chance = random.Random(seed)

    def say(request: Request) -> Sorted:
        right = LABELS[int(asked(request)) % 3]
        kind: Label
        is_wrong = chance.random() < (0.2 if request.model == "vendor/small" else 0.1)
        kind = chance.choice([label for label in LABELS if label != right]) if is_wrong else right
        sure = (
            chance.uniform(0.3, 0.69)
            if chance.random() < (0.8 if is_wrong else 0.15)
            else chance.uniform(0.7, 1.0)
        )
        return Sorted(kind=kind, sure=sure)

    return Models(say)


def shares(graph: Graph[Desk, Question, Reply], cases: int = 400) -> tuple[float, float]:
    """The share of cases that the right specialist answered, and the share that a wrong one did."""
    flow, models = graph.build(), misclassifying(3)

    async def all_of() -> list[str]:
        return [
            (await flow.run(Question(question=str(number)), client=models)).output.reply
            for number in range(cases)
        ]

    replies = run_virtual(all_of())
    right = sum(reply == LABELS[number % 3] for number, reply in enumerate(replies))
    wrong = sum(
        reply in LABELS and reply != LABELS[number % 3] for number, reply in enumerate(replies)
    )
    return right / cases, wrong / cases


def test_second_opinion_improves_routing() -> None:
    """With one in five misclassified, a second opinion brings more to the right specialist."""
    plain = Graph("desk", Desk, input=Question, output=Reply)
    plain.route(classify, kind_of).when("billing", billing).when("technical", technical).when(
        "account", account
    ).exhaustive()
    right_plain, wrong_plain = shares(plain)
    right_threshold, wrong_threshold = shares(desk())
    right_second, wrong_second = shares(desk(second_opinion=classify_again))
    print(
        f"right/wrong specialist: plain {right_plain:.3f}/{wrong_plain:.3f}, "
        f"threshold {right_threshold:.3f}/{wrong_threshold:.3f}, "
        f"second opinion {right_second:.3f}/{wrong_second:.3f}"
    )
    assert 0.17 < wrong_plain < 0.23
    assert wrong_threshold < 0.07
    assert right_second > right_plain + 0.05
    assert right_second > right_threshold + 0.15
    assert wrong_second < 0.07


@pytest.mark.parametrize(
    ("first", "second", "route"),
    [
        (("billing", 0.9), ("technical", 0.9), "billing"),  # sure: the second is not asked
        (("billing", 0.3), ("technical", 0.9), "technical"),  # the second is sure
        (("billing", 0.3), ("billing", 0.3), "billing"),  # both unsure, but they agree
        (("billing", 0.3), ("technical", 0.3), "person"),
    ],
)
def test_opinions_decide_the_route(
    first: tuple[Label, float], second: tuple[Label, float], route: str
) -> None:
    models = says(*first, *second)
    assert routed(desk(second_opinion=classify_again), models) == route
    assert len(models.requests) == (1 if first[1] >= 0.7 else 2)


def test_unsure_classifier_takes_default() -> None:
    """An unsure classifier leads to the default."""
    assert routed(desk(), says("billing", 0.69)) == "person"
    assert routed(desk(), says("billing", 0.7)) == "billing"


def test_unrouted_label_takes_default() -> None:
    """A label without a route leads to the default."""
    graph = desk(routes={"billing": billing}, confidence=None, threshold=0.0)
    assert routed(graph, says("technical", 1.0)) == "person"


def test_routes_with_several_targets() -> None:
    """A route and the default may have several targets."""

    @node
    def log(q: Question) -> None: ...

    graph = desk(
        routes={"billing": [billing, log], "technical": technical, "account": account},
        default=[person, log],
    )
    result = run_virtual(graph.build().run(Question(question="?"), client=says("billing", 0.9)))
    assert sorted(step.node for step in result.steps) == ["billing", "classify", "log"]


def test_route_is_in_metadata_and_commit() -> None:
    """The route is in the metadata of later calls and in the commit."""

    @agent(output=Reply, model="vendor/pay")
    def pay(q: Question) -> str:
        return q.question

    for options in ({}, {"second_opinion": classify_again}):
        models = Models(
            lambda request: (
                "paid" if request.model == "vendor/pay" else Sorted(kind="billing", sure=0.9)
            )
        )
        graph = desk(routes={"billing": pay, "technical": technical, "account": account}, **options)
        events = run_virtual(events_of(graph.build(), Question(question="?"), client=models))
        assert models.of("pay")[0].metadata["route.classify"] == "billing"
        assert "route.classify" not in models.of("classify")[0].metadata
        commits = {event.node: event for event in events if isinstance(event, Committed)}
        assert commits["classify"].update["kind"] == "billing"
        last = "classify_route" if options else "classify"
        assert commits[last].to == ("pay",)


def test_default_is_named_in_metadata() -> None:
    """The default is called default in the metadata."""

    @agent(output=Reply, model="vendor/help")
    def helper(q: Question) -> str:
        return q.question

    kinds: dict[str, Label] = {"vendor/small": "billing", "other/large": "account"}
    for options in ({}, {"second_opinion": classify_again}):
        models = Models(
            lambda request: (
                Sorted(kind=kinds[request.model], sure=0.2) if request.model in kinds else "ok"
            )
        )
        run_virtual(
            desk(default=helper, **options).build().run(Question(question="?"), client=models)
        )
        assert models.of("helper")[0].metadata["route.classify"] == "default"


def test_two_opinions_are_an_event() -> None:
    """The decision of two opinions is an event."""
    events = run_virtual(
        events_of(
            desk(second_opinion=classify_again).build(),
            Question(question="?"),
            client=says("billing", 0.3, "account", 0.8),
        )
    )
    assert emitted(events, Chosen) == [
        Chosen(router="classify", label="account", route="account", confidence=0.8, opinions=2)
    ]


@pytest.mark.parametrize("sure", [85.0, -0.1, float("nan")])
def test_confidence_outside_range_fails(sure: float) -> None:
    """A confidence outside its range ends the run in plain words."""

    @node
    def guess(q: Question) -> Sorted:
        return Sorted(kind="billing", sure=sure)

    graph = Graph("desk", Desk, input=Question, output=Reply)
    graph.router(
        guess, kind_of, {"billing": billing}, default=person, confidence=sure_of, threshold=0.7
    )
    failed = failure(graph.build().run(Question(question="?")))
    assert isinstance(cause(failed), ScoreOutside)
    assert f"'sure_of' gave {sure!r}, which is not a number from 0 to 1." in str(failed)


class Mood(Enum):
    CALM = "calm"
    ANGRY = "angry"


class Tone(BaseModel):
    tone: Mood = Mood.CALM


class Office(Question, Tone, Reply): ...


def tone_of(t: Tone) -> Mood:
    return t.tone


def test_labels_may_be_an_enum() -> None:
    @node
    def listen(q: Question) -> Tone:
        return Tone(tone=Mood.ANGRY)

    graph: Any = Graph("office", Office, input=Question, output=Reply)
    graph.router(listen, tone_of, {Mood.ANGRY: person}, default=billing)
    assert run_virtual(graph.build().run(Question(question="?"))).output.reply == "person"


def free(s: Sorted) -> str:
    return s.kind


def test_router_problems_are_reported() -> None:
    """A router that cannot work does not build."""
    never: Any = {"billing": billing, "technical": technical, "account": account, "refund": person}
    anything: Any = free
    assert "ROUTER_LABEL" in codes(desk(routes=never).build)
    assert "ROUTER_SELECTOR" in codes(
        Graph("desk", Desk, input=Question, output=Reply)
        .router(classify, anything, {"billing": billing}, default=person)
        .build
    )
    assert "ROUTER_THRESHOLD" in codes(desk(threshold=70).build)
    assert "ROUTER_THRESHOLD" in codes(desk(threshold=0.0).build)
    assert "ROUTER_CONFIDENCE" in codes(desk(confidence=None).build)
    assert "ROUTER_OPINION" in codes(
        desk(second_opinion=classify_again.with_model("vendor/small")).build
    )
    assert "ROUTER_OPINION" in codes(desk(second_opinion=person).build)


def test_unused_default_warns() -> None:
    """A default that is never taken gets a warning: a plain function gives no invalid answer."""

    @node
    def sort(q: Question) -> Sorted:
        return Sorted(kind="account")

    routes: Any = {"billing": billing, "technical": technical, "account": account}
    flow = (
        Graph("desk", Desk, input=Question, output=Reply)
        .router(sort, kind_of, routes, default=person)
        .build()
    )
    assert [problem.code for problem in flow.warnings] == ["ROUTER_DEFAULT"]
    assert run_virtual(flow.run(Question(question="?"))).output.reply == "account"


@pytest.mark.parametrize(
    "options", [{}, {"second_opinion": classify_again}, {"routes": {"billing": billing}}]
)
def test_router_builds_and_draws(options: dict[str, Any]) -> None:
    """The router builds without a warning and can be drawn."""
    flow = desk(**options).build()
    assert flow.warnings == ()
    assert "person" in flow.svg()


# ---- answers that cannot be used -----------------------------------------------------------------
def babbles(*names: str) -> Models:
    """Answer as classifiers of which those with these models never follow the schema."""
    return Models(
        lambda request: (
            "I would say it is about money."
            if request.model in names
            else Sorted(kind="technical", sure=1.0)
        )
    )


@pytest.mark.parametrize(
    ("invalid", "options", "route", "note"),
    [
        (["vendor/small"], {}, "person", "'classify' gave no valid answer, so the default route"),
        (["vendor/small"], {"second_opinion": classify_again}, "technical",
         "'classify' gave no valid answer, so 'classify_again' was asked"),
        (["vendor/small", "other/large"], {"second_opinion": classify_again}, "person",
         "'classify_again' gave no valid answer, so the default route was taken"),
    ],
)  # fmt: skip
def test_invalid_answer_counts_as_unsure(
    invalid: list[str], options: dict[str, Any], route: str, note: str
) -> None:
    """A classifier that breaks its schema leads to the second opinion, or to the default."""
    flow = desk(**options).build()
    assert flow.warnings == ()
    result = run_virtual(flow.run(Question(question="?"), client=babbles(*invalid)))
    assert result.output.reply == route
    assert result.notes[-1].text.startswith(note)
    assert "JSON" in result.notes[-1].text


class SortedDesk(Question, Sorted): ...


def enter(q: Question) -> Question:
    return q


def enter_all(q: Question) -> list[Question]:
    return [q]


def leave(s: Sorted) -> Sorted:
    return s


def take_first(all_sorted: list[Sorted]) -> Sorted:
    return all_sorted[0]


@pytest.mark.parametrize("kind", ["sub", "map", "map of flows"])
@pytest.mark.parametrize(
    ("options", "route"), [({}, "person"), ({"second_opinion": classify_again}, "technical")]
)
def test_invalid_answer_inside_classifier(kind: str, options: dict[str, Any], route: str) -> None:
    """An invalid answer inside of a classifier that is a sub-flow or a map counts as unsure."""
    inner = Graph("inner", SortedDesk, input=Question, output=Sorted).chain(classify).build()
    graph = Graph("desk", Desk, input=Question, output=Reply)
    classifier: Any = (
        graph.sub("sort", inner, enter=enter, leave=leave)
        if kind == "sub"
        else graph.map(
            "sort",
            classify if kind == "map" else inner,
            over=enter_all,
            gather=take_first,
            max_items=2,
        )
    )
    routes: Any = {"billing": billing, "technical": technical, "account": account}
    graph.router(
        classifier, kind_of, routes, default=person, confidence=sure_of, threshold=0.7, **options
    )
    flow = graph.build()
    assert flow.warnings == ()
    result = run_virtual(flow.run(Question(question="?"), client=babbles("vendor/small")))
    assert result.output.reply == route
    assert result.notes[-1].text.startswith("'sort' gave no valid answer, so ")
    assert "JSON" in result.notes[-1].text
    # Runs that were stored before there was this way still belong to the graph.
    described = {format: str(describe(flow.plan, format)) for format in (3, 4)}
    assert {format: "sort_invalid" in text for format, text in described.items()} == {
        3: False,
        4: True,
    }


def test_unsure_then_invalid_takes_default() -> None:
    """An unsure first answer and an invalid second one lead to the default."""
    models = Models(
        lambda request: Sorted(kind="billing", sure=0.2) if request.model == "vendor/small" else "?"
    )
    assert routed(desk(second_opinion=classify_again), models) == "person"


def test_exhaustive_router_has_default_for_invalid_answers() -> None:
    """Without a confidence the default is there for answers that cannot be used."""
    graph = desk(confidence=None, threshold=0.0)
    assert graph.build().warnings == ()
    assert routed(graph, babbles("vendor/small")) == "person"
    assert routed(graph, says("billing", 0.1)) == "billing"


class Verdict(BaseModel):
    kind: Label


class VerdictDesk(Question, Verdict, Reply): ...


@agent(output=Verdict, model="vendor/small")
def decide(q: Question) -> str:
    return q.question


@node
def needs_verdict(v: Verdict) -> Reply:
    return Reply(reply=v.kind)


@node
def takes_verdict(v: Verdict | None) -> Reply:
    return Reply(reply=v.kind if v else "nobody")


def label_of(v: Verdict) -> Label:
    return v.kind


def test_default_that_needs_the_label_is_warned_about() -> None:
    """Where the default reads what is missing then, the run fails as before, and build() warns."""

    def graph(default: Any) -> Any:
        routes: Any = {"billing": billing, "technical": technical}
        return (
            Graph("desk", VerdictDesk, input=Question, output=Reply)
            .router(decide, label_of, routes, default=default)
            .build()
        )

    models = babbles("vendor/small")
    strict = graph(needs_verdict)
    assert [(problem.code, problem.severity) for problem in strict.warnings] == [
        ("ROUTER_INVALID", "warning")
    ]
    assert strict.warnings[0].what == (
        "an answer of its model that cannot be used ends the run, since the graph does not build "
        "with a way on which the default route is taken: at node 'needs_verdict', it reads "
        "Verdict.kind, which has no default and is not assigned on the path START → decide → "
        "decide_invalid → needs_verdict"
    )
    assert "or read `Verdict | None`" in strict.warnings[0].fix
    failed = failure(strict.run(Question(question="?"), client=models))
    assert "decide" in str(failed.exceptions[0])
    lenient = graph(takes_verdict)
    assert lenient.warnings == ()
    assert run_virtual(lenient.run(Question(question="?"), client=models)).output.reply == "nobody"


def test_chosen_event_names_default_after_invalid_answer() -> None:
    """The event of the router has no label, and one opinion for each classifier."""
    flow = desk(second_opinion=classify_again).build()
    events = run_virtual(
        events_of(flow, Question(question="?"), client=babbles("vendor/small", "other/large"))
    )
    assert emitted(events, Chosen) == [
        Chosen(router="classify", label="", route="default", opinions=2)
    ]
