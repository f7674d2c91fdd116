"""Durable runs: the next turn of a conversation, answers, cancelling, reruns, and migrations."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, assert_type

from pydantic import BaseModel

from graphorch import Flow, Graph, Result, node


class Topic(BaseModel):
    topic: str


class Letter(BaseModel):
    letter: str = ""


class Verdict(BaseModel):
    approved: bool = False


class Count(BaseModel):
    count: int = 0


class State(Topic, Letter, Verdict, Count): ...


@node
def write(topic: Topic, count: Count) -> tuple[Letter, Count]:
    return Letter(letter=f"letter {count.count + 1} on {topic.topic}"), Count(count=count.count + 1)


@node
def send(letter: Letter, verdict: Verdict) -> Letter:
    return Letter(letter=f"{letter.letter}: {'sent' if verdict.approved else 'kept'}")


def as_it_was(record: dict[str, Any]) -> dict[str, Any] | None:
    return record


graph = Graph("letters", State, input=Topic, output=Letter, remember=[Count, Letter])
approve = graph.ask("approve", question=lambda s: f"send '{s.letter}'?", answer=Verdict)
graph.chain(write, approve, send).migration(from_="0" * 32, change=as_it_was)
flow = graph.build()
assert_type(flow, Flow[Topic, Letter, State])
whole = Graph("whole", State, remember=[Count])
assert_type(whole, Graph[State, State, State])
half = Graph("half", State, input=Topic, remember=(Count,))
assert_type(half, Graph[State, Topic, State])

ANSWER = ["letter 1 on tides: sent", "letter 1 on tides: kept", "send 'letter 2 on moons'?", "cancelled"]


async def letters(db: Path) -> list[str]:
    waiting = await flow.run(Topic(topic="tides"), durable=db, tags={"kind": "letter"})
    done = await flow.answer(waiting.run_id, approve, Verdict(approved=True), durable=db)
    assert_type(done, Result[Letter, State])
    again = await flow.rerun(done.run_id, start="approve", output=Verdict(), durable=db)
    assert_type(again.result, Result[Letter, State])
    second = await flow.run(Topic(topic="moons"), durable=db, after=done.run_id)
    await flow.cancel(second.run_id, durable=db)
    new_id: str = await flow.fork(done.run_id, start="send", durable=db)
    assert (await flow.resume(new_id, durable=db)).output == (await flow.replay(done.run_id, durable=db)).output
    return [done.output.letter, again.result.output.letter, second.questions[0].text, "cancelled"]


def main() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(letters(Path(folder) / "letters.sqlite"))
