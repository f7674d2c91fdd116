"""Flows for worker processes of tests whose nodes ask a model: in their run, and on other workers.

A prompt names the run and the node that asks, so that a server can count what each was answered.
"""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import BaseModel

from graphorch import Context, Flow, Graph, agent, append, node

PARTS = 6


class Topic(BaseModel):
    """`name` is that of the run."""

    name: str = ""


class Draft(BaseModel):
    draft: str = ""


class Checked(BaseModel):
    checked: str = ""


class Part(Topic):
    number: int = 0


class Answers(BaseModel):
    answers: Annotated[list[str], append] = []


class Essay(Topic, Draft, Checked): ...


class Survey(Topic, Answers): ...


def log(ctx: Context[None]) -> None:
    """Add a line to the file of the test: which node begins for which activation, and where."""
    with open(os.environ["WORKER_TEST_LOG"], "a", encoding="utf-8") as file:
        file.write(f"{ctx.path} {ctx.key} {os.getpid()}\n")


@agent(output=Draft, model="m")
def write(topic: Topic) -> str:
    return f"Write. run={topic.name} node=write"


@node(isolation="worker")
async def check(ctx: Context[None], topic: Topic, draft: Draft) -> Checked:
    """Ask on another worker; the owner of the run makes the call."""
    log(ctx)
    answer = await ctx.complete(f"Check. run={topic.name} node=check", model="m")
    return Checked(checked=answer)


@node(isolation="worker")
async def ask_part(ctx: Context[None], part: Part) -> Answers:
    """Ask again and again, so that a budget ends while others of its kind are under way."""
    log(ctx)
    for number in range(3):
        prompt = f"Part. run={part.name} node=part-{part.number}-{number}"
        await ctx.complete(prompt, model="m")
    return Answers(answers=[f"part {part.number}"])


def split(topic: Topic) -> list[Part]:
    return [Part(name=topic.name, number=number) for number in range(PARTS)]


def collect(answers: list[Answers]) -> Answers:
    return Answers(answers=[text for each in answers for text in each.answers])


def build_survey() -> Flow[Topic, Answers, Survey]:
    """Return a flow of parts that ask at the same time, each on another worker."""
    graph = Graph("survey", Survey, input=Topic, output=Answers)
    each = graph.map("each", ask_part, over=split, gather=collect, max_items=PARTS)
    return graph.chain(each).build()


flow = Graph("essay", Essay, input=Topic, output=Checked).chain(write, check).build()
survey = build_survey()
