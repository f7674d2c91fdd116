"""Followers of runs: the events of the run itself, read from its journal, each exactly once."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, InputError, JournalError, node
from graphorch.cli.flow_loader import load_flow
from graphorch.engine.events import Committed, Ended, QuestionAsked, Started
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.errors import JournalDamaged, RunNotFound
from graphorch.journal.memory import MemoryStore
from graphorch.journal.record_kinds import FORMAT
from graphorch.testing import run_virtual
from tests.golden import pattern_flows, tool_flows
from tests.runs import followed_steps
from tests.runs.followed_steps import Count, build_steps
from tests.runs.following import AnyFlow, by_path, describe, follow_all, lead_to_end
from tests.scenarios.flows import FLOWS, Ledger, State

GRAPHS = sorted((Path(__file__).parents[2] / "graphs").glob("*.py"))
PATTERNS: tuple[Callable[[], AnyFlow], ...] = (
    pattern_flows.pipeline,
    pattern_flows.fan_out,
    pattern_flows.router,
    pattern_flows.evaluator_loop,
    pattern_flows.supervisor,
    pattern_flows.hierarchy,
)


async def check_followed(flow: AnyFlow, value: BaseModel, **options: Any) -> None:
    """Compare the events of a run with those that followers of its journal get, from each record.

    One of them follows the run while it runs.
    """
    store, seen, began = MemoryStore(), list[Any](), asyncio.Event()

    def watch(event: Any) -> None:
        seen.append(event)
        began.set()

    async def follow() -> list[Any]:
        await began.wait()
        return [event async for event in flow.follow("r", durable=store, through_waits=True)]

    following = asyncio.create_task(follow())
    await lead_to_end(flow, value, durable=store, watch=[watch], **options)
    live = await following
    followed = await follow_all(flow, "r", store)
    assert by_path(followed) == by_path(seen)
    assert list(map(describe, live)) == list(map(describe, followed))
    last = (await store.load("r")).head.last_seq
    assert [event.seq for event in followed] == sorted(event.seq for event in followed)
    for after in {0, 1, last // 2, last - 1, last, last + 1}:
        rest = await follow_all(flow, "r", store, after)
        assert rest == [event for event in followed if event.seq > after]


@pytest.mark.parametrize("name", FLOWS)
def test_follower_has_events_of_run(name: str) -> None:
    """Chains, joins, loops, routes, maps, sub-flows, questions and handled failures."""
    resources = Ledger(lambda line: None)
    asyncio.run(check_followed(FLOWS[name](), State(), resources=resources))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("build", PATTERNS, ids=lambda build: build.__name__)
def test_follower_has_events_of_pattern(build: Callable[[], AnyFlow]) -> None:
    """Model calls have their tokens and dollars."""
    topic = pattern_flows.Topic(topic="tides and moons")
    asyncio.run(check_followed(build(), topic, client=pattern_flows.Model()))


@pytest.mark.parametrize("example", GRAPHS, ids=lambda path: path.stem)
def test_follower_has_events_of_example(
    example: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every example of the repository on its sample."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.sqlite"))
    monkeypatch.setenv("BOX_OFFICE", str(tmp_path / "box_office.txt"))
    loaded = load_flow(str(example))
    assert loaded.sample is not None
    asyncio.run(check_followed(loaded.flow, loaded.sample))


def test_follower_has_events_of_tools() -> None:
    """Calls of tools, those that a person approves included."""
    flow = tool_flows.tool_flow(tool_flows.World())
    asyncio.run(check_followed(flow, tool_flows.ORDER, client=tool_flows.Caller()))


def test_follower_of_rerun_begins_at_change() -> None:
    """What a rerun took over from another run happened in that one."""
    flow, store, seen = FLOWS["diamond"](), MemoryStore(), list[Any]()
    resources = Ledger(lambda line: None)

    async def main() -> None:
        await flow.run(State(), run_id="r", durable=store, resources=resources)
        options: Any = {"watch": [seen.append], "resources": resources}
        await flow.rerun("r", start="e", run_id="again", durable=store, **options)
        assert by_path(await follow_all(flow, "again", store)) == by_path(seen)

    asyncio.run(main())
    assert [event.path for event in seen if isinstance(event, Started)] == ["e", "end"]


# ---- waiting -------------------------------------------------------------------------------------
def test_follower_ends_where_run_waits() -> None:
    """It ends when the run waits, unless it is to go on; then it has what came before, too."""
    store, resources = MemoryStore(), Ledger(lambda line: None)

    async def main() -> None:
        flow = FLOWS["asked"]()
        waiting = await flow.run(State(), run_id="r", durable=store, resources=resources)
        first: list[Any] = await follow_all(flow, "r", store)
        assert any(isinstance(event, QuestionAsked) for event in first)
        assert first[-1].status == "waiting"
        further = flow.follow("r", durable=store, after=first[-1].seq, through_waits=True)
        following = asyncio.ensure_future(anext(further))
        await asyncio.sleep(1)
        assert not following.done()
        while waiting.status == "waiting":
            question = waiting.questions[0]
            yes = question.answer_type(approved=True)
            options: Any = {"durable": store, "resources": resources}
            waiting = await flow.answer("r", question, yes, **options)
        rest: list[Any] = [await following, *[event async for event in further]]
        assert [*first, *rest] == await follow_all(flow, "r", store)
        assert rest[-1].status == "succeeded"

    run_virtual(main())


class CountingStore:
    """A store that counts how often a run is read."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.loads = self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read_head(self, run_id: str) -> Any:
        self.looks += 1
        return await self._store.read_head(run_id)

    async def load(self, run_id: str, *, after_seq: int = 0) -> Any:
        self.loads += 1
        return await self._store.load(run_id, after_seq=after_seq)


def test_follower_looks_seldom_while_idle() -> None:
    """It looks every two seconds while nothing happens, and sees what comes soon."""
    counting = CountingStore(MemoryStore())
    store: Any = counting
    flow = FLOWS["asked"]()
    resources = Ledger(lambda line: None)

    async def main() -> None:
        await flow.run(State(), run_id="r", durable=store, resources=resources)
        events = flow.follow("r", durable=store, through_waits=True)
        following = asyncio.create_task(drain(events))
        await asyncio.sleep(10)
        counting.loads = counting.looks = 0
        await asyncio.sleep(10)
        assert counting.loads == 0
        assert 4 <= counting.looks <= 6
        following.cancel()

    run_virtual(main())


async def drain(events: AsyncGenerator[Any]) -> list[Any]:
    return [event async for event in events]


# ---- another process -----------------------------------------------------------------------------
async def start_steps(database: Path, verb: str) -> Any:
    program = Path(followed_steps.__file__)
    return await asyncio.create_subprocess_exec(
        sys.executable, str(program), str(database), verb, stdout=asyncio.subprocess.PIPE
    )


def test_follower_survives_process_of_run(tmp_path: Path) -> None:
    """The run is followed while other processes drive it, one of which is killed in the middle.

    Each commit comes once, soon after it happened.
    """
    database = tmp_path / "runs.sqlite"
    flow, seen, delays = build_steps(), list[Any](), list[float]()

    def commits() -> list[str]:
        return [event.path for event in seen if isinstance(event, Committed)]

    async def main() -> None:
        first, second = await start_steps(database, "run"), list[Any]()
        async with asyncio.timeout(60):
            await first.stdout.readline()  # it has begun
            async for event in flow.follow("r", durable=database):
                seen.append(event)
                if isinstance(event, Committed):
                    delays.append(time.time() - event.at)
                if len(commits()) == 3 and first.returncode is None:
                    first.kill()
                    await first.wait()
                    second.append(await start_steps(database, "resume"))
            await second[0].wait()
        assert by_path(seen) == by_path(await follow_all(flow, "r", database))

    asyncio.run(main())
    assert commits() == [f"step{number}" for number in range(followed_steps.STEPS)]
    assert [event.status for event in seen if isinstance(event, Ended)] == ["succeeded"]
    assert sorted(delays)[len(delays) // 2] < 0.3


# ---- what cannot be followed ---------------------------------------------------------------------
async def run_diamond(durable: Any) -> AnyFlow:
    flow = FLOWS["diamond"]()
    resources = Ledger(lambda line: None)
    await flow.run(State(), run_id="r", durable=durable, resources=resources)
    return flow


def test_follower_names_missing_run() -> None:
    """A run that is not in the journal is named."""
    with pytest.raises(RunNotFound, match="'nowhere'"):
        asyncio.run(follow_all(FLOWS["chain"](), "nowhere", MemoryStore()))


def test_follower_names_other_flow() -> None:
    """A run of another flow is refused with the name of that flow."""

    async def main() -> None:
        store = MemoryStore()
        other = await run_diamond(store)
        with pytest.raises(JournalError, match=f"belongs to flow '{other.name}'"):
            await follow_all(build_steps(), "r", store)

    asyncio.run(main())


def test_follower_names_erased_run() -> None:
    """The content of a run that was erased cannot be followed, not even from its end."""

    async def main() -> None:
        store = MemoryStore()
        flow = await run_diamond(store)
        await store.erase("r")
        for after in (0, 5, 1_000):
            with pytest.raises(JournalError, match="content of run r was erased"):
                await follow_all(flow, "r", store, after)

    asyncio.run(main())


def test_follower_names_damaged_record(tmp_path: Path) -> None:
    """A record that is not what was written is named, and no event of it comes."""
    database = tmp_path / "runs.sqlite"

    async def main() -> None:
        flow = await run_diamond(database)
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("UPDATE records SET kind = 'failed' WHERE seq = 4")
        with pytest.raises(JournalDamaged, match="record 4"):
            await follow_all(flow, "r", database)

    asyncio.run(main())


@pytest.mark.parametrize("after", [-1, True, "3", 1.0, None])
def test_follower_refuses_wrong_number(after: Any) -> None:
    """What is not the number of a record is refused before anything is read."""
    with pytest.raises(InputError, match="is not the number of a record"):
        asyncio.run(follow_all(FLOWS["chain"](), "r", MemoryStore(), after))


# ---- a changed flow ------------------------------------------------------------------------------
def count_up(*names: str, migrates: AnyFlow | None = None) -> AnyFlow:
    """Return a flow of a question and further nodes."""

    @node
    def more(count: Count) -> Count:
        return Count(count=count.count + 1)

    graph = Graph("counting", Count, input=Count, output=Count)
    first = graph.ask("ask", question=lambda s: "go?", answer=Count)
    graph.chain(first, *[more.named(name) for name in names])
    if migrates is not None:
        fingerprint = compute_fingerprint(migrates.plan, FORMAT)
        graph.migration(from_=fingerprint, change=lambda record: record)
    return graph.build()


def test_follower_reads_through_migration() -> None:
    """A flow that understands the run's old records follows it; one that does not says so."""

    async def main() -> None:
        store = MemoryStore()
        old = count_up("one")
        new = count_up("one", "two", migrates=old)
        waiting = await old.run(Count(), run_id="r", durable=store)
        follower = old.follow("r", durable=store, through_waits=True)
        before = [await anext(follower) for _ in range(3)]
        assert before == await follow_all(new, "r", store)
        done = await new.answer("r", waiting.questions[0], Count(count=5), durable=store)
        assert done.output.count == 7
        followed = await follow_all(new, "r", store)
        assert by_path(followed)["two"][-1][1]["update"] == {"count": 7}
        with pytest.raises(JournalError, match="is not the same graph"):
            await drain(follower)

    asyncio.run(main())
