"""The flows of the golden journals. They stay as they are: a journal that an earlier version wrote has to fit them for good.

`State` has what a state may hold: text, numbers, times, lists, nested models, reducers. Together the flows use loops, maps, sub-flows,
routes, questions, gates, error edges and model calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel

from graphorch import (
    Approval,
    Ask,
    Context,
    Failure,
    Flow,
    Graph,
    Request,
    Response,
    Usage,
    append,
    node,
)

AnyFlow = Flow[Any, Any, Any]


class Topic(BaseModel):
    topic: str


class Part(BaseModel):
    text: str = ""
    weight: float = 1.0


class Parts(BaseModel):
    parts: list[Part] = []


class Count(BaseModel):
    count: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Money(BaseModel):
    price: Decimal = Decimal("0")
    due: datetime | None = None


class Verdict(BaseModel):
    approved: bool = False
    remarks: dict[str, int] = {}


class State(Topic, Parts, Count, Log, Money, Verdict): ...


@node
async def think(ctx: Context, topic: Topic) -> Log:
    return Log(log=[await ctx.complete(f"What about {topic.topic}?", model="golden")])


@node
def split(topic: Topic) -> Parts:
    return Parts(parts=[Part(text=word, weight=len(word) / 2) for word in topic.topic.split()])


@node
def price(count: Count) -> Money:
    return Money(price=Decimal("1.10") * count.count, due=datetime(2026, 3, 31, 18, 0, tzinfo=UTC))


@node
def step(count: Count) -> tuple[Count, Log]:
    return Count(count=count.count + 1), Log(log=[f"step {count.count + 1}"])


@node
def fails(count: Count) -> Log:
    raise ValueError(f"{count.count} is too few")


@node
def rescue(failure: Failure) -> Log:
    return Log(log=[f"rescued: {failure.message}"])


@node
def shout(part: Part) -> Part:
    return Part(text=part.text.upper(), weight=part.weight)


@node
def last(state: State) -> Log:
    return Log(log=[f"last {state.count} {state.price} {len(state.parts)}"])


def kind_of(count: Count) -> Literal["few", "many"]:
    return "many" if count.count > 2 else "few"


def everything() -> AnyFlow:
    """A loop, a map, a sub-flow, a route, an error edge, a model call and a join; it reaches its end."""
    inner = Graph("inner", State).chain(step, step.named("again")).build()
    graph = Graph("everything", State)
    node1 = graph.map("each", shout, over=lambda s: s.parts, gather=joined, max_items=9)
    team = graph.sub(
        "team", inner, enter=lambda s: State(topic=s.topic, count=s.count), leave=counted
    )
    graph.chain(think, split, node1, team, [step, fails], last)
    graph.chain(rescue, last)
    graph.on_error(fails, rescue, when=ValueError)
    graph.loop(step, back_to=step, while_=lambda s: s.count < 5, max_iterations=4)
    few = price.named("few")
    graph.route(last, kind_of).when("few", few).when("many", price).exhaustive()
    return graph.build()


def joined(found: list[Part]) -> Parts:
    return Parts(parts=found)


def counted(state: State) -> Count:
    return Count(count=state.count)


def asking() -> AnyFlow:
    """A question beside work that is done, and a gate after it; it waits."""
    graph = Graph("asking", State)
    ask: Ask[State, Verdict] = graph.ask(
        "ask", question=lambda s: f"Publish {s.topic}?", answer=Verdict
    )
    graph.chain(split, [ask, step], gated, last)
    return graph.build()


@node(gate="before")
def gated(verdict: Verdict) -> Log:
    return Log(log=[f"approved: {verdict.approved}, {sorted(verdict.remarks)}"])


def failing() -> AnyFlow:
    """A node that fails until the world is repaired; its sibling commits."""
    return Graph("failing", State).chain(think, [step, fragile], last).build()


@dataclass
class World:
    """What a node meets outside: its resources."""

    is_repaired: bool = False


@node
def fragile(ctx: Context[World], topic: Topic) -> Parts:
    if not ctx.resources.is_repaired:
        raise OSError("the disk is not there")
    return Parts(parts=[Part(text=topic.topic)])


def crashing() -> AnyFlow:
    """Two model calls in one node, and its process gone after the first; a loop with a map before it."""
    graph = Graph("crashing", State)
    node1 = graph.map("each", shout, over=lambda s: s.parts, gather=joined, max_items=9)
    graph.chain(split, node1, step, twice, last)
    graph.loop(step, back_to=split, while_=lambda s: s.count < 2, max_iterations=3)
    return graph.build()


@node
async def twice(ctx: Context, count: Count) -> Log:
    return Log(
        log=[
            await ctx.complete(f"{number} of {count.count}", model="golden") for number in range(2)
        ]
    )


class Answering:
    """A model that answers with the question, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """An answer that costs something."""
        self.calls += 1
        said = request.messages[-1].content
        return Response(
            f"answer to: {said}",
            "golden",
            Usage(len(said), 10),
            0.25,
            "reported",
            "stop",
            1,
            0.5,
            None,
        )


FLOWS = {"finished": everything, "waiting": asking, "failed": failing, "crashed": crashing}
"""What was written, by the name of its file."""

TOPIC = State(topic="tides and harbours", count=1)


async def to_the_end(flow: AnyFlow, run_id: str, **options: Any) -> State:
    """Begin a run, or go on with one that is in a journal, answer what it asks, and return its last state."""
    options = {"client": Answering(), "resources": World(is_repaired=True), **options}
    result = (
        await flow.resume(run_id, **options)
        if "durable" in options
        else await flow.run(TOPIC, run_id=run_id, **options)
    )
    while result.status == "waiting":
        question = result.questions[0]
        answer: BaseModel = Approval(approved=True)
        if question.answer_type is Verdict:
            answer = Verdict(approved=True, remarks={"clear": 3, "short": 1})
        result = await flow.answer(run_id, question, answer, **options)
    return result.state
