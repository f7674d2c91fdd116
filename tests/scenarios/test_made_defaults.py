"""Defaults that a run makes: the same for its nodes, its result, a resume, a replay and a fork."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from graphorch import Flow, Graph, InputError, RunFailed, node
from graphorch.engine.replay import rebuild
from graphorch.journal import SqliteStore
from graphorch.journal.records import Record


class Job(BaseModel):
    job: str = ""


class Ident(BaseModel):
    id: uuid.UUID = Field(default_factory=uuid.uuid4)


class First(BaseModel):
    first: str = ""


class Second(BaseModel):
    second: str = ""


class State(Job, Ident, First, Second): ...


class Jobs(BaseModel):
    jobs: list[Job] = []


class Ids(BaseModel):
    ids: list[str] = []


class Batch(Jobs, Ids): ...


@node
def one(ident: Ident) -> First:
    return First(first=str(ident.id))


@node
def two(ident: Ident) -> Second:
    return Second(second=str(ident.id))


def build(*steps: Any, state: type[BaseModel] = State, given: Any = Job) -> Flow[Any, Any]:
    return Graph("g", state, input=given, output=state).chain(*steps).build()


def read(state: BaseModel) -> uuid.UUID:
    assert isinstance(state, Ident)
    return state.id


def test_nodes_and_result_read_one_default() -> None:
    """Two nodes, the output and the state hold the same id, and another run has another one."""
    flow = build(one, two)
    results = [flow.run_sync(Job()) for _ in range(2)]
    for result in results:
        output = result.output
        assert {output.first, output.second, str(read(result.state))} == {str(output.id)}
        assert output.id == result.output.id
        assert "id" not in output.model_fields_set
    assert results[0].state != results[1].state


def test_default_of_input_instance_is_kept() -> None:
    """The id that the instance of the input was made with is the id of the run."""
    given = State(job="j")
    output = build(one, two, given=State).run_sync(given).output
    assert {output.first, output.second} == {str(given.id)}


def test_default_is_no_write() -> None:
    """A slice that only has a default that was made is not assigned."""

    @node
    def look(ident: Ident | None) -> First:
        return First(first=str(ident))

    assert build(look).run_sync(Job()).output.first == "None"
    assert build(look, given=State).run_sync(State()).output.first == "None"


def test_default_survives_resume_replay_and_fork(tmp_path: Path) -> None:
    """A run that another process resumes, a replay and a fork have the id of the beginning."""
    path, tries = tmp_path / "runs.db", itertools.count()

    @node
    def fail_once(first: First) -> None:
        if not next(tries):
            raise RuntimeError("once")

    def make() -> Flow[Any, Any]:
        return build(one, fail_once, two)

    async def go() -> None:
        with pytest.raises(RunFailed):
            await make().run(Job(), durable=path, run_id="r")
        resumed = (await make().resume("r", durable=path)).output
        assert {resumed.first, resumed.second} == {str(resumed.id)}
        replayed = (await make().replay("r", durable=path)).output
        assert replayed == resumed
        fork_id = await make().fork("r", start="two", durable=path)
        forked = (await make().resume(fork_id, durable=path)).output
        assert forked == resumed

    asyncio.run(go())


def test_sub_flow_makes_defaults_once(tmp_path: Path) -> None:
    """A sub-flow makes its own defaults when it is entered, and they are replayed."""
    inner = build(one, two)

    def enter(job: Job) -> Job:
        return job

    def leave(state: State) -> Second:
        return Second(second=f"{state.first} {state.second}")

    class Outer(Job, Second): ...

    graph = Graph("outer", Outer, input=Job, output=Second)
    graph.chain(graph.sub("inside", inner, enter=enter, leave=leave))
    flow, path = graph.build(), tmp_path / "runs.db"

    async def go() -> str:
        output = (await flow.run(Job(), durable=path, run_id="r")).output
        replayed = (await flow.replay("r", durable=path)).output
        assert replayed == output
        return output.second

    first, second = asyncio.run(go()).split()
    assert first == second


def test_items_of_map_have_own_defaults(tmp_path: Path) -> None:
    """Each item of a map has defaults of its own, which are replayed."""
    inner = build(one, two)

    def over(jobs: Jobs) -> list[Job]:
        return jobs.jobs

    def gather(states: list[State]) -> Ids:
        return Ids(ids=[f"{state.first} {state.second}" for state in states])

    graph = Graph("outer", Batch, input=Jobs, output=Ids)
    graph.chain(graph.map("each", inner, over=over, gather=gather, max_items=3))
    flow, path = graph.build(), tmp_path / "runs.db"

    async def go() -> list[str]:
        given = Jobs(jobs=[Job(job="a"), Job(job="b")])
        output = (await flow.run(given, durable=path, run_id="r")).output
        assert (await flow.replay("r", durable=path)).output == output
        return output.ids

    pairs = [pair.split() for pair in asyncio.run(go())]
    assert all(first == second for first, second in pairs)
    assert pairs[0] != pairs[1]


def test_run_without_recorded_defaults_is_read(tmp_path: Path) -> None:
    """The first record holds the defaults; a run of an older format gets new ones."""
    flow, path = build(one, two), tmp_path / "runs.db"

    async def load() -> list[Record]:
        await flow.run(Job(), durable=path, run_id="r")
        store = await SqliteStore.open(path)
        try:
            return list((await store.load("r")).records)
        finally:
            await store.close()

    started, *rest = asyncio.run(load())
    assert started.body["defaults"]["values"].keys() == {"id"}
    older = {key: value for key, value in started.body.items() if key != "defaults"}
    for body in (started.body, older):
        replayed = rebuild(flow.plan, "r", [Record(1, "started", body), *rest])
        version = replayed.run.root.output
        assert version is not None
        state = flow.plan.read_state.read(version)
        assert (state.first == str(state.id)) == ("defaults" in body)


def test_factory_that_raises_is_input_error() -> None:
    """A factory that raises ends the call with one message, before the first node."""

    class Broken(BaseModel):
        broken: int = Field(default_factory=lambda: int("x"))

    class Whole(Job, First, Broken): ...

    @node
    def start(job: Job) -> First:
        raise AssertionError("no node begins")

    flow = build(start, state=Whole)
    with pytest.raises(InputError, match=r"'Whole.broken' cannot be made: ValueError"):
        flow.run_sync(Job())
