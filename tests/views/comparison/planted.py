"""A flow whose functions and models write down what they do, and do something else where told.

What they wrote down is the reference of the tests: it comes from the functions themselves, and not
from the records that a comparison reads.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel

from graphorch import Context, Graph, Retry, agent, append, node
from graphorch.journal.store import Store
from graphorch.models.messages import Request, Response, Usage


class Task(BaseModel):
    task: str = ""


class Part(BaseModel):
    part: str = ""


class Found(BaseModel):
    found: str = ""


class Draft(BaseModel):
    draft: str = ""


class Verdict(BaseModel):
    verdict: str = ""


class Notes(BaseModel):
    notes: Annotated[list[str], append] = []


class Inner(Part, Found): ...


class Outer(Task, Found, Draft, Verdict, Notes): ...


class Spot(NamedTuple):
    """A visit of a node: its path, and which one it is there (from 1)."""

    path: str
    round: int


@dataclass
class Ledger:
    """What the nodes of one run did, by their visits, and what they are told to do otherwise.

    `said` are the answers of models with their prompts, `done` what functions returned, `failed`
    the errors that attempts raised.
    """

    done: dict[Spot, str] = field(default_factory=dict[Spot, str])
    said: dict[Spot, list[tuple[str, str]]] = field(
        default_factory=dict[Spot, list[tuple[str, str]]]
    )
    failed: dict[Spot, list[str]] = field(default_factory=dict[Spot, list[str]])
    other_words: dict[Spot, str] = field(default_factory=dict[Spot, str])
    fails_once: set[Spot] = field(default_factory=set[Spot])
    visits: Counter[str] = field(default_factory=Counter[str])

    def enter(self, path: str, attempt: int) -> Spot:
        """Return the visit that begins; raise where its first attempt is to fail."""
        self.visits[path] += attempt == 1
        spot = Spot(path, self.visits[path])
        if attempt == 1 and spot in self.fails_once:
            self.failed.setdefault(spot, []).append("OSError: the line is dead")
            raise OSError("the line is dead")
        return spot

    def end(self, spot: Spot, words: str) -> str:
        """Return what a function returns there, and write it down."""
        self.done[spot] = self.other_words.get(spot, words)
        return self.done[spot]

    @property
    def spots(self) -> set[Spot]:
        """Visits of functions and agents."""
        return {*self.done, *self.said}


class Telling:
    """A model whose answer follows from its prompt, unless another one is planted."""

    def __init__(self, ledger: Ledger, rng: random.Random) -> None:
        self._ledger = ledger
        self._random = rng  # for what a comparison must not count as a difference

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        ledger, path = self._ledger, request.metadata["path"]
        ledger.visits[path] += 1
        spot = Spot(path, ledger.visits[path])
        prompt = "\n".join(message.content for message in request.messages)
        answer = ledger.other_words.get(spot, f"<{hash_words(prompt)}>")
        ledger.said.setdefault(spot, []).append((prompt, answer))
        return Response(
            text=answer,
            model=request.model,
            usage=Usage(self._random.randrange(1, 100), 3, 0),
            usd=self._random.random() / 97,
            usd_source="reported",
            finish_reason="stop",
            attempts=1,
            seconds=self._random.random(),
            first_token_seconds=None,
        )


def hash_words(text: str) -> int:
    """Return a small number that depends on all of a text, the same in every process."""
    number = 7
    for character in text:
        number = (number * 31 + ord(character)) % 99_991
    return number


def copy_part(part: Part) -> Part:
    return Part(part=part.part)


def copy_found(found: Found) -> Found:
    return Found(found=found.found)


def build(ledger: Ledger, shape: random.Random) -> Any:
    """Return plan → search (a map of look → weigh) → write, again while it is short → an end."""
    depth, bound = shape.randrange(2), shape.randint(2, 4)

    @node(retry=Retry(2, first=0.1))
    def plan(ctx: Context, task: Task) -> Found:
        spot = ledger.enter(ctx.path, ctx.attempt)
        return Found(found=ledger.end(spot, task.task.upper()))

    @node(retry=Retry(2, first=0.1))
    def look(ctx: Context, part: Part) -> Found:
        spot = ledger.enter(ctx.path, ctx.attempt)
        return Found(found=ledger.end(spot, part.part[::-1]))

    @agent(output=Found, model="m/weigh")
    def weigh(found: Found) -> str:
        return f"weigh {found.found}"

    @agent(output=Draft, model="m/write")
    def write(task: Task, found: Found, verdict: Verdict) -> str:
        return f"write about {task.task} and {found.found}, {verdict.verdict}"

    @node(retry=Retry(2, first=0.1))
    def judge(ctx: Context, draft: Draft) -> Verdict:
        spot = ledger.enter(ctx.path, ctx.attempt)
        return Verdict(verdict=ledger.end(spot, f"{hash_words(draft.draft) % 3}"))

    @node
    def file(ctx: Context, draft: Draft) -> Notes:
        spot = ledger.enter(ctx.path, ctx.attempt)
        return Notes(notes=[ledger.end(spot, draft.draft)])

    @node
    def drop(ctx: Context, draft: Draft) -> Notes:
        spot = ledger.enter(ctx.path, ctx.attempt)
        return Notes(notes=[ledger.end(spot, f"not {draft.draft}")])

    def over(task: Task) -> list[Part]:
        return [Part(part=word) for word in task.task.split()]

    def gather(found: list[Found]) -> Found:
        return Found(found=" ".join(each.found for each in found))

    def is_short(verdict: Verdict) -> bool:
        return verdict.verdict == "0"

    def choose(verdict: Verdict) -> Literal["file", "drop"]:
        return "file" if verdict.verdict == "1" else "drop"

    inner: Any = Graph("inner", Inner, input=Part, output=Found).chain(look, weigh).build()
    if depth:
        middle = Graph("middle", Inner, input=Part, output=Found)
        middle.chain(middle.sub("deeper", inner, enter=copy_part, leave=copy_found))
        inner = middle.build()
    graph = Graph("outer", Outer, input=Task, output=Notes)
    search = graph.map("search", inner, over=over, gather=gather, max_items=8)
    graph.chain(plan, search, write, judge)
    graph.loop(judge, back_to=write, while_=is_short, max_iterations=bound)
    graph.route(judge, choose).when("file", file).when("drop", drop).exhaustive()
    return graph.build()


async def keep_run(
    store: Store, run_id: str, ledger: Ledger, shape: int, task: str, **options: Any
) -> Any:
    """Run the flow with a seed for its shape, and keep its records."""
    client = Telling(ledger, random.Random(run_id))
    flow = build(ledger, random.Random(shape))
    return await flow.run(Task(task=task), run_id=run_id, durable=store, client=client, **options)
