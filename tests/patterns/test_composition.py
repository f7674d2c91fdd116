"""Patterns within patterns: each is an ordinary graph that runs, replays and is estimated."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, GraphError, Request, agent, node
from graphorch.patterns import Repeat
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, failure

Kind = Literal["short", "long"]


class Topic(BaseModel):
    topic: str


class Sorted(BaseModel):
    kind: Kind
    sure: float = 1.0


class Draft(BaseModel):
    draft: str


class Grade(BaseModel):
    points: float = 0


class Task(BaseModel):
    part: str
    worker: Literal["essay"] = "essay"


class Plan(BaseModel):
    tasks: list[Task] = []


class Legal(BaseModel):
    legal: str


class Money(BaseModel):
    money: str


class Desk(Topic, Sorted, Draft, Grade, Plan, Legal, Money): ...


@agent(output=Sorted, model="vendor/sort")
def classify(t: Topic) -> str:
    return t.topic


@agent(output=Draft, model="vendor/write")
def write(t: Topic) -> str:
    return f"Write {t.topic}"


@agent(output=Grade, model="vendor/judge")
def judge(d: Draft) -> str:
    return f"Grade {d.draft}"


@agent(output=Draft, model="vendor/note")
def note_down(t: Topic) -> str:
    return f"Note {t.topic}"


@agent(output=Plan, model="vendor/plan")
def plan(t: Topic) -> str:
    return f"Plan {t.topic}"


@agent(output=Legal, model="vendor/law")
def law(d: Draft) -> str:
    return f"Law of {d.draft}"


@agent(output=Money, model="vendor/money")
def money(d: Draft) -> str:
    return f"Money of {d.draft}"


@agent(output=Draft, model="vendor/publish")
def publish(d: Draft, l: Legal | None, m: Money | None) -> str:  # noqa: E741
    return f"Publish {d.draft} {l} {m}"


def kind_of(s: Sorted) -> Kind:
    return s.kind


def sure_of(s: Sorted) -> float:
    return s.sure


def good(g: Grade) -> bool:
    return g.points >= 9


def points(g: Grade) -> float:
    return g.points


def long_enough(d: Draft) -> bool | Repeat:
    return True if len(d.draft) > 3 else Repeat("too short")


def tasks_of(p: Plan) -> list[Task]:
    return p.tasks


def worker_of(t: Task) -> Literal["essay"]:
    return t.worker


def joined(drafts: list[Draft]) -> Draft:
    return Draft(draft="\n".join(draft.draft for draft in drafts))


def to_topic(t: Task) -> Topic:
    return Topic(topic=t.part)


def same(d: Draft) -> Draft:
    return d


def models(kind: Kind = "long") -> Models:
    """All the agents above; the judge is content with the second draft."""
    grades: dict[str, int] = {}

    def say(request: Request) -> Any:
        match request.metadata["node"]:
            case "classify":
                return Sorted(kind=kind)
            case "judge":
                path = request.metadata["path"].removesuffix("judge")
                grades[path] = grades.get(path, 0) + 1
                return Grade(points=9.5 if grades[path] % 2 == 0 else 5)
            case "plan":
                return Plan(tasks=[Task(part="tides"), Task(part="moons")])
            case name:
                return f"{name} {len(answering.of(name))}"

    answering = Models(say)
    return answering


def graph(name: str = "desk") -> Graph[Desk, Topic, Draft]:
    return Graph(name, Desk, input=Topic, output=Draft)


def flat() -> Graph[Desk, Topic, Draft]:
    """Draw four patterns in one graph.

    The long route of a router is an evaluator loop, whose result a fan-out reviews in a gated
    pipeline.
    """
    made = graph()
    made.router(
        classify,
        kind_of,
        {"short": note_down, "long": write},
        default=note_down,
        confidence=sure_of,
        threshold=0.5,
    )
    made.evaluator_loop(write, judge, accept=good, score=points, max_rounds=3)

    @node
    def review(d: Draft) -> None: ...

    made.pipeline([judge, note_down], review, gates={note_down: long_enough})
    made.chain(review, [law, money]).fan_out([law, money], publish, need=1)
    return made


def essay() -> Flow[Task, Draft, Any]:
    class Essay(Task, Topic, Draft, Grade): ...

    made = Graph("essay", Essay, input=Task, output=Draft)

    @node
    def begin(t: Task) -> Topic:
        return Topic(topic=t.part)

    return (
        made.chain(begin, write)
        .evaluator_loop(write, judge, accept=good, score=points, max_rounds=3)
        .build()
    )


def nested() -> Flow[Topic, Draft, Desk]:
    """A hierarchy whose team is a supervisor, whose worker is an evaluator loop."""
    office = graph("office")
    office.supervisor(
        plan,
        tasks=tasks_of,
        worker_of=worker_of,
        workers={"essay": essay()},
        gather=joined,
        max_tasks=4,
    )
    house = graph("house")
    team = house.sub("office", office.build(), enter=lambda s: Topic(topic=s.topic), leave=same)

    @node
    def lead(t: Topic) -> None: ...

    return house.hierarchy(lead, [team], publish).build()


def test_patterns_share_nodes_in_one_graph() -> None:
    flow = flat().build()
    assert flow.warnings == ()
    result = run_virtual(flow.run(Topic(topic="tides"), client=models()))
    ran = [step.node for step in result.steps]
    assert ran[:8] == [
        "classify",
        "write",
        "judge",
        "judge_progress",
        "write",
        "judge",
        "judge_progress",
        "review",
    ]
    assert result.output.draft == "publish 1"
    short = run_virtual(flow.run(Topic(topic="tides"), client=models("short")))
    assert [step.node for step in short.steps][:4] == [
        "classify",
        "note_down",
        "note_down_gate",
        "review",
    ]


def test_pattern_holds_pattern_flows() -> None:
    """The steps of a pattern may be flows that are patterns."""
    flow = nested()
    assert flow.warnings == ()
    result = run_virtual(flow.run(Topic(topic="tides"), client=models()))
    paths = {step.path for step in result.steps}
    assert {
        "office/plan_essay[0]/judge",
        "office/plan_essay[1]/judge_progress",
        "office/plan_reports",
        "publish",
    } <= paths
    assert result.output.draft == "publish 1"


def test_nested_fault_names_its_path() -> None:
    """A fault inside of nested patterns names its path."""

    def say(request: Request) -> Any:
        if request.metadata["node"] == "judge":
            raise RuntimeError("out of red ink")
        return Plan(tasks=[Task(part="tides")]) if request.metadata["node"] == "plan" else "text"

    failed = failure(nested().run(Topic(topic="tides"), client=Models(say)))
    assert "office/plan_essay[0]/judge" in str(failed)
    assert "out of red ink" in str(failed)


def test_graph_changes_after_pattern() -> None:
    """A graph can be changed after a pattern was drawn."""
    made = graph()
    made.evaluator_loop(write, judge, accept=good, max_rounds=3)
    made.chain(note_down.named("first"), write)
    made.chain(judge, publish)
    result = run_virtual(made.build().run(Topic(topic="tides"), client=models()))
    ran = [step.node for step in result.steps]
    assert ran[0] == "first"
    assert ran[-2:] == ["judge_progress", "publish"]


@pytest.mark.parametrize("make", [lambda: flat().build(), nested])
def test_pattern_run_replays_from_journal(make: Any, tmp_path: Path) -> None:
    """A run of a pattern is kept in a journal and replays."""
    flow = make()
    store = tmp_path / "runs.sqlite"

    async def both() -> tuple[Any, Any]:
        first = await flow.run(Topic(topic="tides"), client=models(), durable=store, run_id="one")
        return first, await flow.replay("one", durable=store)

    first, again = asyncio.run(both())
    assert again.output == first.output
    assert [step.path for step in again.steps] == [step.path for step in first.steps]


def test_inner_loop_counts_anew() -> None:
    """A loop of a pattern counts anew inside of another loop that has its header."""

    class Count(BaseModel):
        n: int = 0

    @node
    def up(c: Count) -> Count:
        return Count(n=c.n + 1)

    @node
    def look(c: Count) -> None: ...

    made = Graph("rounds", Count).pipeline(up, look, gates={up: lambda s: s.n % 3 == 0}, attempts=3)
    made.loop(look, back_to=up, while_=lambda s: True, max_iterations=4)
    flow = made.build()
    result = run_virtual(flow.run(Count()))
    assert result.output.n == 12
    ran = [step.node for step in result.steps].count("up")
    assert flow.estimate().worst.activations >= len(result.steps)
    assert {row.path: row.worst.activations for row in flow.estimate().nodes}["up"] == ran == 12


@pytest.mark.parametrize("seed", range(20))
def test_estimate_bounds_pattern_runs(seed: int) -> None:
    """The estimate of a pattern is never below the usage of a run."""
    for flow in (flat().build(), nested()):
        asked = models("long" if seed % 2 else "short")
        result = run_virtual(flow.run(Topic(topic="tides"), client=asked), seed=seed)
        worst = flow.estimate().worst
        assert worst.activations >= len(result.steps)
        assert worst.calls >= len(asked.requests)


def test_memory_stays_out_of_result() -> None:
    """The memory of a pattern is not part of the state of the result."""
    result = run_virtual(flat().build().run(Topic(topic="tides"), client=models()))
    assert set(type(result.state).model_fields) == set(Desk.model_fields)
    assert type(result.state) is Desk


def test_node_in_two_patterns_refused() -> None:
    """A node in two patterns that cannot both hold it does not build."""
    made = (
        graph()
        .evaluator_loop(write, judge, accept=good, max_rounds=3)
        .evaluator_loop(write, judge, accept=good, max_rounds=3)
    )
    with pytest.raises(GraphError):
        made.build()
