"""Reruns tell what they did themselves: their own time and cost, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, agent
from graphorch.engine.events import Cancelled, Started
from graphorch.engine.replay import rebuild
from graphorch.journal.memory import MemoryStore
from graphorch.models.messages import Request, Response, Usage
from graphorch.testing import run_virtual
from graphorch.trace.analysis.critical_path import find_critical_path
from graphorch.trace.conversation.builder import build_conversation
from graphorch.trace.conversation.text import format_headline
from graphorch.trace.spans.model import sum_calls


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class Essay(BaseModel):
    essay: str = ""


class State(Topic, Draft, Essay): ...


@agent(output=Draft)
def write(topic: Topic) -> str:
    return f"Write about {topic.topic}"


@agent(output=Essay)
def polish(draft: Draft) -> str:
    return f"Polish {draft.draft}"


FLOW: Flow[Any, Any, Any] = (
    Graph("two", State, input=Topic, output=Essay).chain(write, polish).build()
)


def now() -> float:
    """Return virtual seconds, for records as for sleeps."""
    return 1_800_000_000 + asyncio.get_running_loop().time()


class Dear:
    """Model whose n-th answer takes a second and costs n cents."""

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """Answer after a second."""
        self.calls += 1
        await asyncio.sleep(1.0)
        usage, usd = Usage(10, 5), self.calls / 100
        return Response(
            f"answer {self.calls}", "dear", usage, usd, "reported", "stop", 1, 1.0, None
        )


async def first_run(store: MemoryStore) -> Dear:
    """Run the flow once, and let an hour pass."""
    model = Dear()
    await FLOW.run(Topic(), run_id="old", durable=store, client=model, clock=now)
    await asyncio.sleep(3_600)
    return model


def test_rerun_counts_its_own_seconds() -> None:
    """A rerun begins when it is made, live, in its record and in its trace."""

    async def main() -> None:
        store = MemoryStore()
        model = await first_run(store)
        again = await FLOW.rerun(
            "old", start="polish", durable=store, client=model, clock=now, run_id="new"
        )
        assert again.result.seconds == pytest.approx(1.0, abs=0.1)
        assert again.difference.seconds == pytest.approx(0.0, abs=0.1)
        log = await store.load("new")
        rebuilt = rebuild(FLOW.plan, "new", log.records)
        assert rebuilt.engagements.seconds == pytest.approx(1.0, abs=0.1)
        path = find_critical_path(rebuilt.run, 1.0, taken_over=rebuilt.taken_over)
        assert [step for step, _ in path.path] == ["polish"]
        assert path.seconds == pytest.approx(1.0, abs=0.1)

    run_virtual(main())


def test_rerun_reports_no_crash() -> None:
    """Nobody hears of a cancellation, or of a second attempt, where nothing ran before."""
    heard: list[Any] = []

    async def main() -> None:
        store = MemoryStore()
        model = await first_run(store)
        await FLOW.rerun(
            "old",
            start="polish",
            durable=store,
            client=model,
            clock=now,
            run_id="new",
            watch=[heard.append],
        )
        kinds = [record.kind for record in (await store.load("new")).records]
        assert "stopping" not in kinds
        assert "resumed" not in kinds

    run_virtual(main())
    assert not any(isinstance(event, Cancelled) for event in heard)
    started = [(e.path, e.attempt) for e in heard if isinstance(e, Started)]
    assert started == [("polish", 1)]


@pytest.mark.parametrize("change", [{}, {"output": Essay(essay="mine")}, {"model": "other"}])
def test_rerun_costs_the_same_everywhere(change: dict[str, Any]) -> None:
    """A rerun costs in its result, its conversation and its record what it paid itself."""

    async def main() -> None:
        store = MemoryStore()
        model = await first_run(store)
        again = await FLOW.rerun(
            "old", start="polish", durable=store, client=model, clock=now, run_id="new", **change
        )
        log = await store.load("new")
        talk = build_conversation(log.head, log.records)
        own = 0.0 if "output" in change else 0.03
        assert again.result.cost == pytest.approx(own)
        assert sum_calls(talk.trace)["usd"] == pytest.approx(own)
        assert f"${own:.6f}" in format_headline(talk.trace)
        read = await FLOW.replay("new", durable=store)
        assert read.cost == pytest.approx(own)

    run_virtual(main())


def test_fork_that_waits_counts_from_its_making() -> None:
    """A fork that is resumed later runs its node then, and not since the old run came to it."""

    async def main() -> None:
        store = MemoryStore()
        model = await first_run(store)
        await FLOW.fork("old", start="polish", durable=store, client=model, clock=now, run_id="new")
        result = await FLOW.resume("new", durable=store, client=model, clock=now)
        [step] = [step for step in result.steps if step.path == "polish"]
        assert step.seconds == pytest.approx(1.0, abs=0.1)
        assert result.seconds == pytest.approx(1.0, abs=0.1)

    run_virtual(main())


def test_rerun_of_rerun_begins_anew() -> None:
    """A rerun of a rerun counts its own seconds and calls, too."""

    async def main() -> None:
        store = MemoryStore()
        model = await first_run(store)
        await FLOW.rerun(
            "old", start="polish", durable=store, client=model, clock=now, run_id="one"
        )
        await asyncio.sleep(3_600)
        two = await FLOW.rerun(
            "one", start="polish", durable=store, client=model, clock=now, run_id="two"
        )
        assert two.result.seconds == pytest.approx(1.0, abs=0.1)
        assert (two.result.usage["calls"], two.result.cost) == (1, pytest.approx(0.04))

    run_virtual(main())


def test_rerun_that_waits_can_be_answered() -> None:
    """A rerun that reaches a person waits, and goes on with the answer."""

    async def main() -> None:
        graph = Graph("asks", State, input=Topic, output=Essay)
        asked = graph.ask("ask", question=lambda s: f"{s.draft}?", answer=Essay)
        flow = graph.chain(write, asked).build()
        store, model = MemoryStore(), Dear()
        await flow.run(Topic(), run_id="old", durable=store, client=model, clock=now)
        await flow.answer("old", "ask", Essay(essay="yes"), durable=store, client=model, clock=now)
        again = await flow.rerun(
            "old", start="write", durable=store, client=model, clock=now, run_id="new"
        )
        assert again.result.status == "waiting"
        done = await flow.answer(
            "new", "ask", Essay(essay="no"), durable=store, client=model, clock=now
        )
        assert done.output.essay == "no"
        assert (await flow.replay("new", durable=store)).output.essay == "no"

    run_virtual(main())
