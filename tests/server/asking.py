"""Flows that ask, wait and act, and requests that answer them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field

from graphorch import Graph, node
from tests.server.serving import Answer, AnyFlow, Client


class Topic(BaseModel):
    topic: str = Field(min_length=1)
    copies: int = 1


class Letter(BaseModel):
    letter: str = ""


class Verdict(BaseModel):
    approved: bool
    note: str = Field("", max_length=20)


class State(Topic, Letter, Verdict): ...


@node
def write(topic: Topic) -> Letter:
    return Letter(letter=f"A letter on {topic.topic}")


def build_letters(
    act: Callable[[str], None] = lambda text: None, *, expires: float | None = None
) -> AnyFlow:
    """Return a flow that asks before it acts: it calls `act` with the letter."""

    @node(effect="once")
    def send(letter: Letter, verdict: Verdict) -> Letter:
        act(letter.letter)
        return Letter(letter=f"{letter.letter}: {'sent' if verdict.approved else 'kept'}")

    graph = Graph("letters", State, input=Topic, output=Letter)
    approve = graph.ask(
        "approve", question=lambda s: f"Send '{s.letter}'?", answer=Verdict, expires=expires
    )
    return graph.chain(write, approve, send).build()


async def begin(ask: Client, flow: str = "letters", **body: Any) -> str:
    """Begin a run, and wait until it is at rest; return its id."""
    given = {"input": {"topic": "tides"}, "wait": 30, **body}
    answer = await ask("POST", f"/api/flows/{flow}/runs", given)
    assert answer.status == 201, answer
    return answer.value["run_id"]


async def read_question(ask: Client, run_id: str) -> dict[str, Any]:
    """Return the open question of a run."""
    page = (await ask("GET", f"/api/runs/{run_id}")).value
    (question,) = page["questions"]
    return question


async def give(ask: Client, run_id: str, question: dict[str, Any], **answer: Any) -> Answer:
    """Answer a question as it was read."""
    body = {"question": question["id"], "digest": question["digest"], "answer": answer}
    return await ask("POST", f"/api/runs/{run_id}/answers", body)


async def wait_for(ask: Client, run_id: str, *states: str) -> dict[str, Any]:
    """Return the page of a run once it has one of some states."""
    async with asyncio.timeout(30):
        while True:
            page = (await ask("GET", f"/api/runs/{run_id}")).value
            if page["row"]["status"] in states and not page["row"]["is_under_way"]:
                return page
            await asyncio.sleep(0.02)
