"""A flow for worker processes of tests: it logs what runs, and does what its input says.

With the variable WORKER_TEST_VERSION its graph is another version, which has one node more; if its
value is `migrating`, that version continues runs of the first one.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from graphorch import Context, Graph, append, node
from graphorch.graph.fingerprint import compute_fingerprint

Kind = Literal["quick", "slow", "die", "ask", "later", "far"]


class Task(BaseModel):
    """What to do in the second node, for how many seconds."""

    kind: Kind = "quick"
    seconds: float = 0.0


class Verdict(BaseModel):
    verdict: str = ""


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Case(Task, Verdict, Done): ...


def log(ctx: Context[None], end: str = "") -> None:
    """Add a line to the file of the test: which node begins for which activation, and where."""
    with open(os.environ["WORKER_TEST_LOG"], "a", encoding="utf-8") as file:
        file.write(f"{ctx.path}{end} {ctx.key} {os.getpid()}\n")


@node
async def first(ctx: Context[None], task: Task) -> Done:
    """Begin."""
    log(ctx)
    return Done(done=["first"])


@node
async def second(ctx: Context[None], task: Task) -> Done:
    """Work, or end the process."""
    log(ctx)
    if task.kind == "die":
        os._exit(9)
    if task.kind == "slow":
        await asyncio.sleep(task.seconds)
    return Done(done=["second"])


@node(pool="gpu")
async def far(ctx: Context[None], task: Task) -> Done:
    """Work on a worker of a pool."""
    log(ctx)
    try:
        await asyncio.sleep(task.seconds)
    except asyncio.CancelledError:
        log(ctx, "-cancelled")
        raise
    return Done(done=["far"])


@node
async def third(ctx: Context[None], task: Task) -> Done:
    """Come to an end."""
    log(ctx)
    return Done(done=["third"])


def choose(task: Task) -> Kind:
    return task.kind


def wait_for(task: Task) -> timedelta:
    return timedelta(seconds=task.seconds)


def ask(task: Task) -> str:
    return f"Is {task.kind} right?"


def count_new_edge(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the numbers of routed edges after one more edge that is not routed."""
    if route := record.get("route"):
        route["edges"] = [number + 1 for number in route["edges"]]
    return record


def build(version: str = "") -> Graph[Case, Task, Case]:
    """Return the graph of a version."""
    graph = Graph("work", Case, input=Task, output=Case)
    review = graph.ask("review", question=ask, answer=Verdict)
    later = graph.timer("later", after=wait_for)
    graph.chain(first, second)
    (
        graph.route(second, choose)
        .when("quick", third)
        .when("slow", third)
        .when("die", third)
        .when("ask", review)
        .when("later", later)
        .when("far", far)
        .exhaustive()
    )
    graph.chain(review, third)
    graph.chain(later, third)
    graph.chain(far, third)
    if version:
        graph.chain(third, third.named("fourth"))
    if version == "migrating":
        graph.migration(from_=compute_fingerprint(build().build().plan), change=count_new_edge)
    return graph


flow = build(os.environ.get("WORKER_TEST_VERSION", "")).build()
