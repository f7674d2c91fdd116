"""Random graphs whose nodes call models, and a model that answers at random."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from graphorch import Retry, Usage, agent
from graphorch.errors import ModelError
from graphorch.flow.flow import Flow
from graphorch.graph.compiler import compile_plan
from graphorch.graph.estimate.amounts import Assumed
from graphorch.graph.estimate.estimator import Estimate, estimate
from graphorch.graph.node import Node
from graphorch.graph.options import NodeBudget, NodeSettings
from graphorch.graph.topology import build_topology
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, ToolCall
from graphorch.models.pricing.model_price import ModelPrice, Rates
from tests.simulation.behaviour import SLICES, Item, Reply, State
from tests.simulation.graphs import Sample, random_graph, regions_of

PROMPT, PRICE = (
    900,
    ModelPrice(
        (
            Rates(input=2, output=8, cached_input=1, dearest_input=3),
            Rates(above=500, input=4, output=16, cached_input=2, dearest_input=6),
        )
    ),
)
ASSUMED = Assumed(longest_prompt=PROMPT, usual_prompt=300, usual_answer=50)


def look_up(word: str) -> str:
    return f"{word}!"


class Talker:
    """Model client that answers at random within the limits of a request.

    It answers late or wrongly, asks for tools, or fails.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.eager = self.rng.choice([0.1, 0.5, 0.9, 1.0])  # to ask for tools, and to answer badly

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        rng = self.rng
        assert request.max_tokens is not None
        await asyncio.sleep(rng.choice([0.0, 0.3, 2.0, 9.0]))
        if rng.random() < 0.05:
            raise ModelError("made to fail", model=request.model, retryable=True)
        asks = bool(request.tools) and rng.random() < self.eager
        usage = Usage(
            rng.choice([PROMPT, rng.randint(1, PROMPT)]),
            rng.choice([request.max_tokens, rng.randint(0, request.max_tokens)]),
        )
        calls = (ToolCall(id="1", name="look_up", arguments='{"word": "a"}'),) if asks else ()
        text = "no JSON" if rng.random() < self.eager / 2 else self._fitting(request.schema)
        return Response(
            text,
            request.model,
            usage,
            PRICE.cost(usage),
            "table",
            "stop",
            1,
            0.0,
            None,
            tool_calls=calls,
        )

    def _fitting(self, schema: type[BaseModel] | None) -> str:
        return (
            "{}"
            if schema is None
            else schema(
                **{
                    name: [1] if name == "log" else self.rng.randint(0, 99)
                    for name in schema.model_fields
                }
            ).model_dump_json()
        )


@dataclass(frozen=True)
class Talk:
    """Flow with its estimate."""

    flow: Flow[Any, Any, Any]
    estimate: Estimate


def talk(seed: int) -> Talk:
    """Return the random graph of a seed, with agents in place of most of its nodes."""
    rng = random.Random(seed)
    sample = _add_agents(random_graph(seed), rng)
    return Talk(
        Flow(sample.plan), estimate(sample.plan, tariff=lambda model: (PRICE,), assumed=ASSUMED)
    )


def _add_agents(sample: Sample, rng: random.Random) -> Sample:
    """Put agents in place of most nodes of a graph and of those inside it."""
    blueprint = sample.blueprint
    for name, flow in sample.flows.items():
        inner = _add_agents(flow, rng).plan
        if name in blueprint.subs:
            blueprint.subs[name] = replace(blueprint.subs[name], flow=inner)
        else:
            blueprint.maps[name] = replace(blueprint.maps[name], flow=inner)
    for name in sample.workers:
        if rng.random() < 0.7:
            blueprint.maps[name] = replace(
                blueprint.maps[name], worker=_agent("work", Item, Reply, rng)
            )
    for name, work in sample.works.items():
        if name not in sample.insides and rng.random() < 0.7:
            blueprint.nodes[name] = _agent(name, State, SLICES[work.slices[0]], rng)
        elif name not in sample.insides:
            blueprint.nodes[name].options = NodeSettings(isolation="inline")
    sample.plan = compile_plan(blueprint, build_topology(blueprint), regions_of(sample.structure))
    return sample


def _agent(
    name: str, read: type[BaseModel], output: type[BaseModel], rng: random.Random
) -> Node[Any]:
    def prompt(given: Any) -> str:
        return "say something"

    prompt.__annotations__ = {"given": read, "return": str}
    made: Any = agent(
        output=output,
        tools=[look_up] if rng.random() < 0.3 else [],
        max_tokens=rng.choice([1, 60, 700]),
        name=name,
    )(prompt)
    timeout = rng.choice([5.0, 30.0])
    made.options = NodeSettings(
        timeout=timeout,
        retry=Retry(rng.randint(1, 3), first=rng.choice([0.0, 2.0]))
        if rng.random() < 0.5
        else None,
        deadline=timeout + 1 if rng.random() < 0.2 else None,
        hedge_after=1.0 if rng.random() < 0.2 else None,
        budget=NodeBudget("purse", usd=rng.choice([0.001, 0.05])) if rng.random() < 0.1 else None,
    )
    return made
