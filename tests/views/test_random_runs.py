"""Random runs with everything that makes sums hard: the views of them agree all the same.

Maps whose losers finish, loops, sub-flows, retries, cached nodes, tools, questions, failures,
resumes and forks.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from graphorch import Cache, Graph, InputError, Retry, RunFailed, agent, append, node
from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from graphorch.models.messages import Request, Response, Usage
from graphorch.testing import run_virtual
from tests.trace.acting import act, wait_for_people
from tests.views.agreement import check_reading_on, check_sums


class Task(BaseModel):
    task: str = ""


class Part(BaseModel):
    part: str = ""


class Found(BaseModel):
    found: str = ""


class Draft(BaseModel):
    draft: str = ""
    round: int = 0


class Notes(BaseModel):
    notes: Annotated[list[str], append] = []


class Inner(Part, Found): ...


class Outer(Task, Found, Draft, Notes): ...


ENOUGH: list[dict[str, Any]] = [
    {},
    {"need": 2, "short": "fire"},
    {"need": 2, "short": "fire", "rest": "finish"},
]


class Flaky:
    """A model that fails now and then, and charges odd amounts."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        if self._random.random() < 0.15:
            raise OSError("the line is dead")
        tokens = self._random.randrange(1, 100)
        return Response(
            text=f"{len(request.messages)} words",
            model=request.model,
            usage=Usage(tokens, 3, tokens // 2),
            usd=self._random.random() / 97,
            usd_source="reported",
            finish_reason="stop",
            attempts=1,
            seconds=0.01,
            first_token_seconds=None,
        )


def build(rng: random.Random) -> Any:
    """Return search (a map of look → weigh) → write, again while it is short → file."""

    @node(cache=Cache(60))
    def look(part: Part) -> Found:
        return Found(found=part.part[:1])

    @agent(output=Found, model="m/weigh", retry=Retry(3, first=0.1))
    def weigh(found: Found) -> str:
        return f"weigh {found.found}"

    @agent(output=Draft, model="m/write", retry=Retry(2, first=0.1))
    def write(task: Task, found: Found) -> str:
        return f"write about {task.task} and {found.found}"

    @node
    def file(draft: Draft) -> Notes:
        if rng.random() < 0.2:
            raise ValueError("no room on the shelf")
        return Notes(notes=[draft.draft])

    def over(task: Task) -> list[Part]:
        return [Part(part=word) for word in task.task.split()]

    def gather(found: list[Found]) -> Found:
        return Found(found=" ".join(each.found for each in found))

    def is_short(draft: Draft) -> bool:
        return rng.random() < 0.5

    inner = Graph("inner", Inner, input=Part, output=Found).chain(look, weigh).build()
    graph = Graph("outer", Outer, input=Task, output=Notes)
    search = graph.map(
        "search",
        inner,
        over=over,
        gather=gather,
        max_items=8,
        concurrency=rng.choice([None, 2]),
        on_item_error="skip",
        **rng.choice(ENOUGH),
    )
    graph.chain(search, write, file)
    graph.loop(write, back_to=write, while_=is_short, max_iterations=3)
    return graph.build()


async def live(seed: int) -> MemoryStore:
    """Begin a run, resume it while it fails, and fork it somewhere."""
    rng, store = random.Random(seed), MemoryStore()
    flow, options = build(rng), {"durable": store, "client": Flaky(rng)}
    with suppress(RunFailed):
        await flow.run(Task(task="tides winds tides sands"), run_id="r", **options)
    for _ in range(3):
        if (await store.read_head("r")).status in ("failed", "stopped"):
            with suppress(RunFailed):
                await flow.resume("r", **options)
    with suppress(InputError):  # it never came there
        start = rng.choice(["write", "search", "file", "search[1]/weigh"])
        fork = await flow.fork("r", start=start, run_id="f", durable=store)
        with suppress(RunFailed):
            await flow.resume(fork, **options)
    return store


async def check(store: Store, *run_ids: str) -> None:
    assert await check_sums(store) == len(run_ids)
    for run_id in run_ids:
        await check_reading_on(store, run_id)


@pytest.mark.parametrize("seed", range(6))
def test_sums_of_random_runs_agree(seed: int) -> None:
    """List, page, nodes and statistics of random runs say the same, to the microdollar."""

    async def main() -> None:
        store = await live(seed)
        await check(store, *(head.run_id for head in (await store.list_runs()).runs))

    run_virtual(main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 200))
def test_sums_of_many_random_runs_agree(seed: int) -> None:
    test_sums_of_random_runs_agree(seed)


def test_sums_of_runs_with_tools_agree() -> None:
    """Calls of tools, questions about them, and errors that the model was told are counted once."""

    async def main() -> None:
        await check(await wait_for_people(), "one")
        await check(await act(), "one")

    run_virtual(main())
