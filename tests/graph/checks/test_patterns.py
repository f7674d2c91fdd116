"""Graphs in the shape of the six patterns and of common variants raise no false alarm."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

from graphorch.graph.build import build_plan
from graphorch.graph.node import END, node
from tests.graph.content import (
    Content,
    Draft,
    Job,
    Kind,
    Notes,
    Research,
    Sketch,
    Topic,
    Verdict,
    classify,
    dash,
    dig,
    jobs_of,
    judge,
    kind_of,
    list_problems,
    notes_of,
    rescue,
    research,
    tidy,
    weak,
    write,
)


class Legal(BaseModel):
    legal: str = ""


class Money(BaseModel):
    money: str = ""


class Next(BaseModel):
    next: Literal["web", "paper", "done"] = "done"


class Plan(BaseModel):
    jobs: list[Job] = []


class Case(Topic, Research, Draft, Verdict, Notes, Kind, Legal, Money, Next, Plan): ...


@node
def compose(t: Topic, r: Research) -> Draft:
    return Draft(draft=r.research)


@node
def outline(t: Topic) -> Research:
    return Research(research=t.topic)


@node
def legal(r: Research) -> Legal:
    return Legal(legal="fine")


@node
def money(r: Research) -> Money:
    return Money(money="none")


@node
def merge(l: Legal, m: Money) -> Draft:  # noqa: E741
    return Draft(draft=l.legal + m.money)


@node
def improve(d: Draft, v: Verdict) -> Draft:
    return d


@node
def lead(t: Topic, n: Notes) -> Next:
    return Next()


@node
def web(t: Topic) -> Notes:
    return Notes(notes=["web"])


@node
def paper(t: Topic) -> Notes:
    return Notes(notes=["paper"])


@node
def report(n: Notes) -> Draft:
    return Draft(draft=" ".join(n.notes))


@node
def plan(t: Topic, v: Verdict) -> Plan:
    return Plan()


@node
def stop(v: Verdict) -> None: ...
@node
def solve(t: Topic) -> Draft:
    return Draft(draft="4")


def next_of(n: Next) -> Literal["web", "paper", "done"]:
    return n.next


def jobs_in(p: Plan) -> list[Job]:
    return p.jobs


def always(n: Next) -> bool:
    return True


def to_topic(r: Research) -> Topic:
    return Topic(topic=r.research)


def to_notes(d: Draft) -> Notes:
    return Notes(notes=[d.draft])


def clean(sketch: Sketch) -> None:
    assert list_problems(sketch) == []
    assert list_problems(sketch, warnings=True) == []
    build_plan(sketch.spec)


def case(output: type[BaseModel] = Draft) -> Sketch:
    return Sketch(Case, Topic, output)


def test_pipeline() -> None:
    clean(case().chain(research, compose, judge, improve))


def test_pipeline_with_gates() -> None:
    """Pipeline with gates that repeat a step or stop."""
    sketch = case()
    sketch.chain(research, write, judge, tidy)
    sketch.loop(judge, back_to=write, while_=weak, max_iterations=3, exhausted=stop)
    clean(sketch)


def test_supervisor_with_a_map() -> None:
    """A supervisor whose workers are a map."""
    sketch = case()
    sketch.chain(plan, sketch.map("digs", dig, jobs_in, notes_of), report, judge)
    sketch.loop(judge, back_to=plan, while_=weak, max_iterations=2)
    clean(sketch)


def test_supervisor_with_routes() -> None:
    """Supervisor with routes to its workers and back."""
    sketch = case()
    sketch.route(lead, next_of).when("web", web).when("paper", paper).when(
        "done", report
    ).exhaustive()
    sketch.chain([web, paper], report)
    sketch.loop([web, paper], back_to=lead, while_=always, max_iterations=5)
    clean(sketch)


def test_supervisor_with_parallel_workers() -> None:
    """Supervisor that starts several workers at once."""

    def several(n: Next) -> set[Literal["web", "paper"]]:
        return {"web"}

    sketch = case()
    sketch.route(lead, several).when("web", web).when("paper", paper).exhaustive()
    sketch.chain([web, paper], report, judge)
    sketch.loop(judge, back_to=lead, while_=weak, max_iterations=5)
    clean(sketch)


def test_fan_out() -> None:
    clean(case().chain(research, [legal, money], merge))


def test_fan_out_with_revision() -> None:
    """Both `merge` and `improve` write the draft, and `improve` may not run."""
    sketch = case()
    sketch.chain(classify, research, [legal, money], merge, judge)
    sketch.route(judge, kind_of).when("math", improve).when("prose", END).exhaustive()  # type: ignore[arg-type]
    clean(sketch)


def test_fan_out_with_quorum() -> None:
    """Fan out of which two are enough."""
    sketch = case(Notes)
    collect = web.named("collect")
    sketch.chain(research, [web, paper, web.named("third")], collect)
    sketch.join(collect, need=2)
    assert list_problems(sketch) == []


def test_fan_out_with_fallback() -> None:
    """Fan out with a branch that falls back."""
    sketch = case()
    sketch.chain(research, [legal, money], merge)
    sketch.on_error(research, rescue)
    sketch.chain(rescue, [legal, money])
    clean(sketch)


def test_router() -> None:
    sketch = case()
    sketch.route(classify, kind_of).when("math", solve).otherwise(dash)
    clean(sketch)


def test_router_with_joined_branches() -> None:
    """Router whose branches meet again."""
    sketch = case()
    sketch.route(classify, kind_of).when("math", solve).when("prose", [research]).exhaustive()
    sketch.chain(research, compose)
    sketch.chain([solve, compose], judge, improve)
    clean(sketch)


def test_hierarchy() -> None:
    team = build_plan(case().chain(research, compose, judge, improve).spec)
    sketch = case()
    item, two = (
        sketch.sub("one", team, to_topic, to_notes),
        sketch.sub("two", team, to_topic, to_notes),
    )
    sketch.chain(outline, [item, two], report)
    clean(sketch)


def test_evaluator_loop() -> None:
    sketch = case()
    sketch.chain(research, write, judge)
    sketch.loop(judge, back_to=write, while_=weak, max_iterations=3)
    clean(sketch)


def test_nested_loops_with_fan_out() -> None:
    """A loop in a loop with a fan out inside."""
    sketch = case()
    sketch.chain(research, [legal, money], merge, judge, tidy)
    sketch.loop(judge, back_to=merge, while_=weak, max_iterations=3)
    sketch.loop(tidy, back_to=research, while_=weak, max_iterations=2)
    clean(sketch)


def test_question_between_steps() -> None:
    """A question between two steps."""

    def ask_for(d: Draft) -> str:
        return d.draft

    sketch = case()
    sketch.chain(dash, sketch.ask("approve", ask_for, Verdict), improve)
    clean(sketch)


@pytest.mark.parametrize("output", [Content, Topic])
def test_graph_of_single_node(output: type[BaseModel]) -> None:
    """A graph of one node."""
    assert list_problems(Sketch(Content, Topic, output).chain(dash)) == []


def test_map_over_jobs() -> None:
    """Jobs of a topic can be mapped directly."""
    sketch = case(Notes)
    clean(sketch.chain(sketch.map("digs", dig, jobs_of, notes_of)))
