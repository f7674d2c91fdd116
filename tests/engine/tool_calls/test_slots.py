"""Limits on how much runs at once, in runs whose agents call tools."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, Limits, agent, node, tool
from graphorch.models.offline.client import OfflineClient
from graphorch.testing import run_virtual


class Topic(BaseModel):
    topic: str = "depth"


class Left(BaseModel):
    left: str = ""


class Right(BaseModel):
    right: str = ""


class State(Topic, Left, Right): ...


_STEPS = 'Look.\nSteps:\nlook {"word": "a"}\nlook {"word": "b"}\n'


@tool(effect="pure")
async def look(word: str) -> str:
    await asyncio.sleep(1)
    return word


@agent(output=Left, tools=[look])
def left(topic: Topic) -> str:
    return _STEPS


@node
async def right(ctx: Context, topic: Topic) -> Right:
    return Right(right=await ctx.complete(_STEPS, tools=[look]))


@pytest.mark.parametrize("at_once", [1, 2, None])
def test_tools_run_within_the_slot_of_their_agent(at_once: int | None) -> None:
    """A call of a tool waits for no slot: its agent holds one, and waits for the call."""
    graph = Graph("both", State, input=Topic, output=State)
    flow = graph.chain([left, right]).build()
    limits = Limits(concurrency=at_once)
    result = run_virtual(flow.run(Topic(), client=OfflineClient(), limits=limits))
    assert result.status == "succeeded"
    assert sum(bool(step.tool) for step in result.steps) == 4
    # Both calls of a round run at once, whatever the limit is.
    assert result.seconds == pytest.approx(2 if at_once == 1 else 1, abs=0.1)
