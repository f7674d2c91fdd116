"""The model of a run is recorded, and used again when the run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from graphorch import Graph, InputError, RunFailed, agent
from graphorch.flow.flow import Flow
from graphorch.journal.memory import MemoryStore
from tests.models.fakes import Answer, FakeModel, status
from tests.runs.asking import Draft, Essay, Notes, Topic, build_flow

FINE, BROKEN = Answer(first=0.0), status(400)


class Recording:
    """A fake model with its script, and the names that it was asked by."""

    def __init__(self, *actions: Any) -> None:
        self.model = FakeModel(*actions)

    @property
    def names(self) -> list[str]:
        return [request.model for request in self.model.requests]


async def run_failing(flow: Flow[Any, Any, Any], actions: Sequence[Any], **options: Any) -> None:
    with pytest.raises(RunFailed):
        await flow.run(Topic(), client=FakeModel(*actions), run_id="r", **options)


@pytest.mark.parametrize("is_durable", [False, True])
def test_resume_keeps_model(is_durable: bool) -> None:
    """A resumed run asks the model that it was begun with, in memory and from a journal."""

    async def main() -> None:
        options: dict[str, Any] = {"durable": MemoryStore()} if is_durable else {}
        flow, client = build_flow("a", "b"), Recording(FINE)
        await run_failing(flow, [FINE, BROKEN], model="house/big", **options)
        result = await flow.resume("r", client=client.model, **options)
        assert (result.status, client.names) == ("succeeded", ["house/big"])

    asyncio.run(main())


@pytest.mark.parametrize("is_durable", [False, True])
def test_new_model_of_resume_is_kept(is_durable: bool) -> None:
    """A model that a resume names replaces the first one, also for the next resume."""

    async def main() -> None:
        options: dict[str, Any] = {"durable": MemoryStore()} if is_durable else {}
        flow, client = build_flow("a", "b"), Recording(BROKEN, FINE)
        await run_failing(flow, [FINE, BROKEN], model="house/big", **options)
        with pytest.raises(RunFailed):
            await flow.resume("r", client=client.model, model="house/small", **options)
        await flow.resume("r", client=client.model, **options)
        assert client.names == ["house/small", "house/small"]

    asyncio.run(main())


def test_run_without_model_keeps_agents_own() -> None:
    """A run that was begun without a model asks those of its agents after a resume."""

    async def main() -> None:
        store, flow, client = MemoryStore(), build_flow("a", "b"), Recording(FINE)
        await run_failing(flow, [FINE, BROKEN], durable=store)
        await flow.resume("r", client=client.model, durable=store)
        assert client.names == ["b"]
        records = (await store.load("r")).records
        assert "model" not in records[0].body
        assert "rules" not in {record.kind for record in records}

    asyncio.run(main())


def build_asking_flow() -> Flow[Any, Any, Any]:
    @agent(output=Draft, model="b")
    def write(notes: Notes) -> str:
        return notes.notes

    graph = Graph("asks", Essay, input=Topic, output=Draft)
    ask = graph.ask("notes", question=lambda state: "Notes?", answer=Notes)
    return graph.chain(ask, write).build()


def test_answer_keeps_model() -> None:
    """A run that waited for a person asks the model that it was begun with."""

    async def main() -> None:
        store, flow, client = MemoryStore(), build_asking_flow(), Recording(FINE)
        options: dict[str, Any] = {"durable": store, "client": client.model}
        await flow.run(Topic(), run_id="r", model="house/big", **options)
        await flow.answer("r", "notes", Notes(notes="x"), **options)
        assert client.names == ["house/big"]

    asyncio.run(main())


@pytest.mark.parametrize("later", ["", "house/small"])
def test_fork_inherits_model(later: str) -> None:
    """A fork and a rerun ask the model that the old run had last, but not where one is named."""

    async def main() -> None:
        store, flow = MemoryStore(), build_flow("a", "b")
        await run_failing(flow, [FINE, BROKEN], model="house/big", durable=store)
        await flow.resume("r", client=FakeModel(FINE), durable=store, model=later)
        kept = later or "house/big"
        again, named, forked = Recording(FINE), Recording(FINE), Recording(FINE)
        options: dict[str, Any] = {"start": "collect", "durable": store}
        await flow.rerun("r", client=again.model, **options)
        assert again.names == [kept, kept]
        await flow.rerun("r", client=named.model, model="x", **options)
        assert named.names == ["x", kept]
        copy = await flow.fork("r", **options)
        await flow.resume(copy, client=forked.model, durable=store)
        assert forked.names == [kept, kept]

    asyncio.run(main())


def test_resumed_rerun_keeps_its_change() -> None:
    """A rerun with another model that failed is resumed with that model, at that node only."""

    async def main() -> None:
        store, flow, client = MemoryStore(), build_flow("a", "b"), Recording(BROKEN, FINE)
        await flow.run(Topic(), client=FakeModel(FINE), run_id="r", durable=store)
        options: dict[str, Any] = {"client": client.model, "durable": store}
        with pytest.raises(RunFailed):
            await flow.rerun("r", start="collect", model="x", run_id="again", **options)
        await flow.resume("again", **options)
        assert client.names == ["x", "x", "b"]
        # and a fork of it keeps the change as well
        forked = Recording(FINE)
        copy = await flow.fork("again", start="write", durable=store)
        await flow.resume(copy, client=forked.model, durable=store)
        copy = await flow.fork(copy, start="collect", durable=store)
        await flow.resume(copy, client=forked.model, durable=store)
        assert forked.names == ["b", "x", "b"]

    asyncio.run(main())


def test_refused_rerun_leaves_no_run() -> None:
    """A rerun with a model that leads nowhere stores nothing."""

    async def main() -> None:
        store, flow = MemoryStore(), build_flow()
        await flow.run(Topic(), run_id="r", durable=store)
        with pytest.raises(InputError, match="Model 'x' has no endpoint"):
            await flow.rerun("r", start="write", model="x", durable=store)
        assert [head.run_id for head in (await store.list_runs()).runs] == ["r"]

    asyncio.run(main())
