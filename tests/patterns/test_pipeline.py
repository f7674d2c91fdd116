"""Pipeline: a gate repeats a step or stops, where a plain chain passes garbage on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, NodeError, Request, agent, node
from graphorch.models import OfflineClient
from graphorch.patterns import Feedback, Gated, GateRejected, Repeat, Stop
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, asked, cause, codes, emitted, events_of, failure


class Topic(BaseModel):
    topic: str


class Facts(BaseModel):
    facts: str


class Text(BaseModel):
    text: str


class Article(Topic, Facts, Text): ...


class Told(Article, Feedback): ...


@agent(output=Facts, model="vendor/research")
def research(t: Topic) -> str:
    return f"Facts about {t.topic}"


@agent(output=Text, model="vendor/write")
def write(f: Facts) -> str:
    return f"Write from: {f.facts}"


def sourced(f: Facts) -> bool | Repeat:
    return True if "source" in f.facts else Repeat("no source is named")


def garbage_first(request: Request) -> str:
    """A model that begins with garbage, and does what it is told when it is told."""
    prompt = asked(request)
    if prompt.startswith("Facts"):
        return "tides: see the source" if "no source is named" in prompt else "lorem ipsum"
    return f"An article: {prompt}"


def gated(**options: Any) -> Graph[Article, Topic, Text]:
    return Graph("article", Article, input=Topic, output=Text).pipeline(
        research, write, gates={research: sourced}, **options
    )


def test_gate_keeps_garbage_out() -> None:
    """Garbage in step 1 poisons a plain chain, and a gate keeps it out."""
    plain = Graph("article", Article, input=Topic, output=Text).chain(research, write).build()
    poisoned = run_virtual(plain.run(Topic(topic="tides"), client=Models(garbage_first)))
    assert "lorem ipsum" in poisoned.output.text
    models = Models(garbage_first)
    result = run_virtual(gated().build().run(Topic(topic="tides"), client=models))
    assert "see the source" in result.output.text
    assert "lorem ipsum" not in result.output.text
    assert [step.path for step in result.steps] == [
        "research",
        "research_gate",
        "research",
        "research_gate",
        "write",
    ]


def test_repeat_prompt_holds_draft_and_reason() -> None:
    """The prompt of a repeated agent has its last text and the reason of the gate."""
    models = Models(garbage_first)
    run_virtual(gated().build().run(Topic(topic="tides"), client=models))
    first, second = models.of("research")
    assert asked(first) == "Facts about tides"
    assert asked(second).startswith("Facts about tides")
    assert "lorem ipsum" in asked(second)
    assert "no source is named" in asked(second)


def test_gate_rejects_after_attempts() -> None:
    """A gate that always rejects ends the run after its attempts with a typed reason."""
    failed = failure(
        gated(attempts=3).build().run(Topic(topic="tides"), client=Models(lambda _: "lorem ipsum"))
    )
    rejected = cause(failed)
    assert isinstance(rejected, GateRejected)
    assert (rejected.step, rejected.reason, rejected.attempts) == (
        "research",
        "no source is named",
        3,
    )
    assert "The gate after 'research' rejected 3 attempts of it: no source is named." in str(failed)


def test_gate_stops_at_once() -> None:
    """A gate may stop the run at once."""

    def closed(f: Facts) -> bool | Stop:
        return Stop("the topic is not for us")

    flow = (
        Graph("article", Article, input=Topic, output=Text)
        .pipeline(research, write, gates={research: closed}, attempts=5)
        .build()
    )
    models = Models(garbage_first)
    rejected = cause(failure(flow.run(Topic(topic="tides"), client=models)))
    assert isinstance(rejected, GateRejected)
    assert rejected.attempts == len(models.requests) == 1


def test_gate_attempts_are_events() -> None:
    """Every attempt is an event."""
    events = run_virtual(
        events_of(gated().build(), Topic(topic="tides"), client=Models(garbage_first))
    )
    attempts = [
        (item.step, item.attempt, item.passed, item.reason) for item in emitted(events, Gated)
    ]
    assert attempts == [("research", 1, False, "no source is named"), ("research", 2, True, "")]


def test_function_reads_feedback() -> None:
    """A plain function reads the reason of a gate as feedback."""

    @node
    def look_up(t: Topic, f: Feedback) -> Facts:
        return Facts(facts=f"{t.topic}: a source" if f.feedback else t.topic)

    flow = (
        Graph("article", Told, input=Topic, output=Facts)
        .pipeline(look_up, gates={look_up: sourced})
        .build()
    )
    assert run_virtual(flow.run(Topic(topic="tides"))).output.facts == "tides: a source"


def test_steps_inherit_timeout() -> None:
    """A step without a timeout gets that of the pipeline."""

    @node
    async def slow(t: Topic) -> Facts:
        await asyncio.sleep(60)
        return Facts(facts="late")

    @node(timeout=100)
    async def patient(f: Facts) -> Text:
        await asyncio.sleep(50)  # longer than the pipeline's time, and well within its own
        return Text(text=f.facts)

    failed = failure(
        Graph("article", Article, input=Topic, output=Text)
        .pipeline(slow, patient, timeout=10)
        .build()
        .run(Topic(topic="tides"))
    )
    assert "timeout=10 s" in str(failed)
    flow = (
        Graph("article", Article, input=Topic, output=Text)
        .pipeline(research, patient, timeout=10)
        .build()
    )
    assert run_virtual(
        flow.run(Topic(topic="tides"), client=Models(garbage_first))
    ).seconds == pytest.approx(50, abs=0.01)


def test_edges_leave_by_the_gate() -> None:
    """Edges from a gated step leave by its gate, whenever they are drawn."""

    @node
    def publish(t: Text) -> Text:
        return Text(text=f"published: {t.text}")

    def long(t: Text) -> bool:
        return len(t.text) > 3

    def build(graph: Graph[Article, Topic, Text], *, before: bool) -> Graph[Article, Topic, Text]:
        if before:
            graph.chain(write, publish)
        graph.pipeline(research, write, gates={write: long})
        return graph if before else graph.chain(write, publish)

    for before in (True, False):
        flow = build(Graph("article", Article, input=Topic, output=Text), before=before).build()
        result = run_virtual(flow.run(Topic(topic="tides"), client=Models(garbage_first)))
        assert [step.path for step in result.steps] == [
            "research",
            "write",
            "write_gate",
            "publish",
        ]


def test_rejected_step_is_handled() -> None:
    """A rejected step can be handled by an error edge of the step."""

    @node
    def give_up(t: Topic) -> Text:
        return Text(text=f"nothing about {t.topic}")

    graph = gated().on_error(research, give_up, when=GateRejected)
    result = run_virtual(
        graph.build().run(Topic(topic="tides"), client=Models(lambda _: "lorem ipsum"))
    )
    assert result.output.text == "nothing about tides"


def test_attempts_count_anew() -> None:
    """Attempts count anew each time that the step is entered."""

    class Count(BaseModel):
        n: int = 0

    @node
    def up(c: Count) -> Count:
        return Count(n=c.n + 1)

    @node
    def tail(c: Count) -> None: ...

    flow = Graph("twice", Count).pipeline(up, tail, gates={up: lambda s: s.n % 2 == 0}, attempts=2)
    flow.loop(tail, back_to=up, while_=lambda s: s.n < 8, max_iterations=9)
    assert run_virtual(flow.build().run(Count())).output.n == 8


def test_gate_problems_are_reported() -> None:
    """A gate is checked with the graph."""

    def other(t: Text) -> bool:
        return True

    assert codes(gated(attempts=0).build) == {"PIPELINE_ATTEMPTS"}
    assert codes(
        Graph("article", Article, input=Topic, output=Text)
        .chain(research, write)
        .pipeline(research, gates={write: other})
        .build
    ) == {"PIPELINE_GATE"}
    assert "UNASSIGNED" in codes(
        Graph("article", Article, input=Topic, output=Text)
        .pipeline(research, write, gates={research: other})
        .build
    )


def test_pipeline_builds_and_draws() -> None:
    """The pipeline builds without a warning and draws its gate."""
    flow = gated().build()
    assert flow.warnings == ()
    assert "research_gate" in flow.svg()
    assert "research_gate" in flow.to_mermaid()


def test_failed_step_names_itself() -> None:
    """A step that fails names itself."""

    @node
    async def broken(ctx: Context, t: Topic) -> Facts:
        raise RuntimeError("no network")

    failed = failure(
        Graph("article", Article, input=Topic, output=Text)
        .pipeline(broken, write)
        .build()
        .run(Topic(topic="tides"), client=OfflineClient())
    )
    error = failed.exceptions[0]
    assert isinstance(error, NodeError)
    assert error.path == "broken"
