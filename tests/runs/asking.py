"""Flows that ask models, and routers with fake endpoints, for tests of runs."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Context, Graph, RunFailed, agent, node
from graphorch.flow.flow import Flow
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router, RouterParts
from graphorch.testing.virtual_clock import run_virtual
from tests.models.fakes import FakeModel

ENDPOINT = {"base_url": "http://127.0.0.1:9/v1"}


class Topic(BaseModel):
    topic: str = "tides"


class Notes(BaseModel):
    notes: str = ""


class Draft(BaseModel):
    draft: str = ""


class Essay(Topic, Notes, Draft): ...


AskingFlow = Flow[Topic, Draft, Essay]


def build_flow(first: str = "default", second: str = "default") -> AskingFlow:
    """Build a flow of two agents, one after the other, that name these models."""

    @agent(output=Notes, model=first)
    def collect(topic: Topic) -> str:
        return f"Collect {topic.topic}"

    @agent(output=Draft, model=second)
    def write(notes: Notes) -> str:
        return f"Write {notes.notes}"

    graph = Graph("essay", Essay, input=Topic, output=Draft)
    return graph.chain(collect, write).build()


def build_judged(model: str, usd: float | None) -> AskingFlow:
    """Build a loop of an agent with model `m` and a judge with another, under a cap in dollars."""

    @agent(output=Draft, model="m")
    def write(topic: Topic) -> str:
        return f"Write {topic.topic}"

    @agent(output=Notes, model=model)
    def judge(draft: Draft) -> str:
        return f"Judge {draft.draft}"

    graph = Graph("judged", Essay, input=Topic, output=Draft)
    graph.evaluator_loop(write, judge, accept=lambda state: True, max_rounds=2, usd=usd)
    return graph.build()


def build_function_flow(model: str) -> AskingFlow:
    """Build a flow of a function that names its model only when it runs."""

    @node
    async def ask(ctx: Context, topic: Topic) -> Draft:
        return Draft(draft=await ctx.complete(topic.topic, model=model))

    return Graph("asks", Essay, input=Topic, output=Draft).chain(ask).build()


def run_failing(run: Coroutine[Any, Any, object]) -> str:
    """Run a coroutine in virtual time, and return what `RunFailed` says of its failures."""
    with pytest.raises(RunFailed) as caught:
        run_virtual(run)
    return "; ".join([caught.value.message, *map(str, caught.value.exceptions)])


def build_router(
    tables: Mapping[str, Any],
    model: FakeModel,
    environment: Mapping[str, str] | None = None,
    **parts: Any,
) -> Router:
    """Build a router of a configuration whose endpoints are all answered by one fake model."""
    made = RouterParts(connect=lambda connection: model, **parts)
    return Router(parse_config(tables), environment=environment or {}, parts=made)
