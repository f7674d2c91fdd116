"""Nodes of a run on other machines: they return, fail and end there as they would here."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Context, Flow, Graph, append, node
from graphorch.testing import run_virtual
from tests.distributed.team import Team


class Topic(BaseModel):
    topic: str = "tides"


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Case(Topic, Done): ...


@node(isolation="worker")
async def far(ctx: Context[list[str]], topic: Topic) -> Done:
    ctx.resources.append(f"{ctx.path} {ctx.attempt}")
    await asyncio.sleep(1)
    return Done(done=[f"far {topic.topic}"])


@node
async def near(ctx: Context[list[str]], topic: Topic) -> Done:
    ctx.resources.append(f"{ctx.path} {ctx.attempt}")
    return Done(done=["near"])


def build(*steps: Any, name: str = "case") -> Flow[Topic, Case, Case]:
    return Graph(name, Case, input=Topic, output=Case).chain(*steps).build()


def test_node_runs_on_other_machine() -> None:
    """A node that asks for it runs elsewhere, with the resources of that machine."""

    async def main() -> None:
        team, flow = Team(), build(far, near)
        here, there = list[str](), list[str]()
        owner = team.add(flow, served=0, resources=here)
        team.add(flow, resources=there)
        await team.submit(flow, "run", Topic())
        await owner.drive(flow, "run")
        result = await flow.replay("run", durable=team.store)
        assert result.output.done == ["far tides", "near"]
        assert (here, there) == (["near 1"], ["far 1"])
        assert team.notes.stored == {}
        await team.close()

    run_virtual(main())
