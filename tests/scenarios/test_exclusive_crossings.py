"""Exclusive regions where they meet other features: tools, processes, caches, forks, sessions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    END,
    START,
    Cache,
    Context,
    Graph,
    Limits,
    RunFailed,
    agent,
    node,
    tool,
)
from graphorch.core.invariants import check_invariants
from graphorch.engine.replay import rebuild
from graphorch.errors import JournalError
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.memory import MemoryStore
from graphorch.testing import ScriptedModel, call, run_virtual
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.rooms import Log, Number, Room, member


class Text(BaseModel):
    text: str = ""


class State(Log, Number, Text): ...


async def check_prefixes(flow: Any, store: MemoryStore, run_id: str = "r") -> None:
    """Rebuild a run after each of its records, and verify it."""
    records = (await store.load(run_id)).records
    for until in range(1, len(records) + 1):
        check_invariants(rebuild(flow.plan, run_id, records, until=until).run)
    await flow.replay(run_id, durable=store)


# ---- tools ---------------------------------------------------------------------------------------
def test_agent_holds_through_its_calls_of_tools() -> None:
    """An agent holds its region while its tools are called."""
    room = Room()

    @tool(effect="pure")
    async def look(what: str) -> str:
        """Look it up."""
        await room.visit(f"look {what}")
        return what

    @agent(output=Text, tools=[look])
    def write(number: Number) -> str:
        return "Write."

    async def main() -> None:
        a, store = member("a"), MemoryStore()
        flow = Graph("tools", State).chain(START, [write, a], END).exclusive("db", [write, a])
        built = flow.build()
        model = ScriptedModel(call("look", {"what": "tides"}), '{"text": "High."}')
        await built.run(State(), run_id="r", durable=store, resources=room, client=model)
        assert room.visits == ["look tides", "a"]
        await check_prefixes(built, store)

    run_virtual(main())


def test_flow_that_a_model_calls_shares_region() -> None:
    """A node of a flow that is called as a tool waits for its turn like any other."""
    dig = member("dig")
    inner = Graph("inner", State).chain(START, dig, END).exclusive("db", dig).build()

    @agent(output=Text, tools=[inner.as_tool("dig_in", description="Dig.")])
    def write(number: Number) -> str:
        return "Write."

    async def main() -> None:
        room, store = Room(), MemoryStore()
        long = member("long")
        graph = Graph("tools", State).chain(START, [long, write], END).exclusive("db", long)
        flow = graph.build()
        model = ScriptedModel(call("dig_in", {}), '{"text": "High."}')
        await flow.run(State(), run_id="r", durable=store, resources=room, client=model)
        assert room.visits == ["long", "write/r1/dig_in#0/dig"]
        await check_prefixes(flow, store)

    run_virtual(main())


# ---- what stands in for a node -------------------------------------------------------------------
def test_cached_member_gives_its_turn_back() -> None:
    """A member whose result is in the cache holds its region for no time."""

    def cached(name: str) -> Any:
        @node(name=name, cache=Cache(ttl=60.0))
        async def work(number: Number) -> Log:
            await asyncio.sleep(1.0)
            return Log(log=[name])

        return work

    async def main() -> None:
        time, members = asyncio.get_running_loop().time, [cached(name) for name in "ab"]
        flow = Graph("cached", State).chain(START, members, END).exclusive("db", members).build()
        for seconds in (2.0, 0.0):
            began = time()
            result = await flow.run(State())
            assert result.output.log == ["a", "b"]
            assert time() - began == pytest.approx(seconds)

    run_virtual(main())


def double(number: Number) -> Text:
    return Text(text=str(2 * number.n))


def triple(number: Number) -> Log:
    return Log(log=[str(3 * number.n)])


def test_members_run_in_worker_processes() -> None:
    """Members in worker processes run one after the other, too."""
    members = [
        node(name=fn.__name__, isolation="process")(fn)  # pyright: ignore[reportArgumentType]
        for fn in (double, triple)
    ]
    flow = Graph("workers", State).chain(START, members, END).exclusive("db", members).build()
    result = asyncio.run(flow.run(State(n=7)))
    assert (result.output.text, result.output.log) == ("14", ["21"])


# ---- forks ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("start", ["a", "team/dig"])
def test_fork_does_open_rival_anew(start: str) -> None:
    """What was open in the region of what a fork repeats is done anew, and nothing overlaps."""

    async def main() -> None:
        room, store, failing = Room(), MemoryStore(), [True]

        @node
        async def fails(ctx: Context[Room], number: Number) -> Log:
            await ctx.resources.visit(ctx.path)
            if failing[0]:
                raise OSError("down")
            return Log(log=["fails"])

        def make(name: str, *steps: Any) -> Any:
            return graph.sub(
                name,
                Graph(name, State).chain(START, *steps, END).build(),
                enter=lambda state: State(),
                leave=keep_log,
            )

        graph = Graph("forks", State)
        team, rival = make("team", member("dig")), make("rival", member("first"), fails)
        a = member("a")
        members = [a, team, rival]
        flow = graph.chain(START, members, END).exclusive("db", members).build()
        with pytest.raises(RunFailed):
            await flow.run(State(), run_id="r", durable=store, resources=room)
        assert room.visits == ["a", "team/dig", "rival/first", "rival/fails"]
        failing[0] = False
        rerun = await flow.rerun("r", start=start, durable=store, resources=room, run_id="new")
        assert sorted(rerun.result.output.log) == ["a", "dig", "fails", "first"]
        assert room.visits[4:] == [start, "rival/first", "rival/fails"]
        await check_prefixes(flow, store, "new")

    run_virtual(main())


def keep_log(state: State) -> Log:
    return Log(log=state.log)


def test_fork_with_given_output_keeps_turns() -> None:
    """A member whose output is given commits at once, and others take their turns."""

    async def main() -> None:
        room, store = Room(), MemoryStore()
        members = [member(name) for name in "abc"]
        flow = Graph("given", State).chain(START, members, END).exclusive("db", members).build()
        await flow.run(State(), run_id="r", durable=store, resources=room)
        rerun = await flow.rerun(
            "r", start="b", output=Log(log=["B"]), durable=store, resources=room, run_id="new"
        )
        assert rerun.result.output.log == ["a", "B", "c"]
        await check_prefixes(flow, store, "new")

    run_virtual(main())


# ---- limits and sessions -------------------------------------------------------------------------
def test_limit_on_activations_counts_what_is_held() -> None:
    """A run that stops at its limit on activations while some are held goes on when resumed."""

    async def main() -> None:
        room, store = Room(), MemoryStore()
        members = [member(name) for name in "abc"]
        flow = Graph("limits", State).chain(START, members, END).exclusive("db", members).build()
        with pytest.raises(RunFailed):
            await flow.run(
                State(), run_id="r", durable=store, resources=room, limits=Limits(activations=2)
            )
        limits = Limits(activations=10)
        result = await flow.resume("r", durable=store, resources=room, limits=limits)
        assert result.output.log == ["a", "b", "c"]
        await check_prefixes(flow, store)

    run_virtual(main())


def test_session_steps_through_turns() -> None:
    """A session is at one member of a region at a time; undone, it is there again."""
    members = [member(name) for name in "ab"]
    flow = Graph("steps", State).chain(START, members, END).exclusive("db", members).build()
    session = flow.debug(State(), resources=Room())
    first = session.step()
    second = session.step()
    assert [first.path, second.path] == ["a", "b"]
    session.step_back()
    assert session.step().path == "b"


# ---- older graphs --------------------------------------------------------------------------------
def test_run_of_graph_without_regions_is_migrated() -> None:
    """A run that began before its graph had a region goes on in it, whatever overlapped before."""
    members = [member(name) for name in "abc"]
    before = Graph("grown", State).chain(START, members, END).build()
    plain = Graph("grown", State).chain(START, members, END).exclusive("db", members)

    class Open(Room):
        async def visit(self, path: str, seconds: float = 1.0) -> None:
            await asyncio.sleep({"a": 3.0, "b": 1.0, "c": 2.0}[path])

    async def main() -> None:
        store, copy, room = MemoryStore(), MemoryStore(), Room()
        await before.run(State(), run_id="r", durable=store, resources=Open())
        log = await store.load("r")
        count = 1 + next(item.seq for item in log.records if item.body.get("path") == "b")
        await copy_run(log.head, log.records[: count - 1], copy)
        with pytest.raises(JournalError, match="node 'a' is in other exclusive regions"):
            await plain.build().resume("r", durable=copy, resources=room)
        old = compute_fingerprint(before.plan)
        flow = plain.migration(from_=old, change=lambda record: record).build()
        result = await flow.resume("r", durable=copy, resources=room)
        assert result.output.log == ["a", "b", "c"]
        assert room.visits == ["a", "c"]

    run_virtual(main())
