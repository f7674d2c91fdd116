"""Losers that finish, in whole runs: their effects, crashes, stops, forks, and other processes.

The processes, the kills and the database of the crashes are real, as in `test_crashes`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from graphorch import Context, Graph, ReplayDiverged, RunFailed, node
from graphorch.engine.replay import rebuild
from graphorch.engine.scheduler import OnAmbiguous
from graphorch.errors import JournalError
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.drawing.run_picture import build_overlay
from graphorch.testing import run_virtual
from graphorch.trace.analysis.critical_path import find_critical_path
from graphorch.trace.analysis.explain import Reasons, explain_activation, find_activations
from graphorch.trace.conversation.builder import build_conversation
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.runs.timeline import build_bars
from tests.engine import crunching
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.flows import AnyFlow, Ledger, Log, Number, State
from tests.scenarios.test_crashes import Killing, commits_of, stored_run

Effect = Literal["pure", "once"]


def takes(name: str, seconds: float, effect: Effect = "pure", **options: Any) -> Any:
    """Return a node that takes so long, and then leaves an entry in the ledger and in the log."""

    @node(name=name, effect=effect, **options)
    async def work(ctx: Context[Ledger], number: Number) -> Log:
        await asyncio.sleep(seconds)
        ctx.resources.ran(ctx)
        return Log(log=[name])

    return work


def each(graph: Any, name: str, seconds: Sequence[float], effect: Effect = "once") -> Any:
    """Return a map that needs one of its items, which take so long and act once."""

    @node(name="pay", effect=effect)
    async def pay(ctx: Context[Ledger], number: Number) -> Number:
        await asyncio.sleep(seconds[number.n])
        ctx.resources.ran(ctx)
        return number

    return graph.map(
        name,
        pay,
        over=lambda s: [Number(n=at) for at in range(len(seconds))],
        gather=lambda numbers: Log(log=[f"paid {numbers[0].n}"]),
        max_items=9,
        need=1,
        rest="finish",
    )


@node
async def takes_number(number: Number) -> Number:
    return number


class Counted(crunching.Number, crunching.Square): ...


@node
async def quick_square(number: crunching.Number) -> crunching.Square:
    return crunching.Square(square=number.n**2)


def booking(unit: float = 1.0, rounds: int = 2) -> AnyFlow:
    """Return a race in a loop whose losers act once: a node, a sub-flow of two, and a map."""
    inner = Graph("inner", State).chain(
        takes("reserve", 1 * unit, "once"), takes("confirm", 1 * unit, "once")
    )
    graph: Any = Graph("g", State)
    fork, merge = takes("fork", 0), takes("merge", 0)
    travel = graph.sub(
        "travel", inner.build(), enter=lambda s: s, leave=lambda s: Log(log=["travel"])
    )
    branches = [takes("quick", 0), takes("mail", 1 * unit, "once"), travel]
    graph.chain(fork, branches, merge)
    graph.chain(fork, each(graph, "cards", [1 * unit, 2 * unit]), takes("after_cards", 0), merge)
    graph.join(merge, need=1, rest="finish")
    graph.loop(merge, back_to=fork, while_=lambda s: True, max_iterations=rounds)
    return graph.build()


def simple(**options: Any) -> AnyFlow:
    """Return a race of `quick` and `slow`, which takes two seconds."""
    graph = Graph("g", State)
    fork, merge, last = takes("fork", 0), takes("merge", 0), takes("last", 1)
    graph.chain(fork, [takes("quick", 0), takes("slow", 2, "once", **options)], merge, last)
    return graph.join(merge, need=1, rest="finish").build()


PER_ROUND = (
    *("fork", "quick", "mail", "travel/reserve", "travel/confirm", "cards[0]/pay"),
    *("cards[1]/pay", "after_cards", "merge"),
)


def virtual(main: Coroutine[Any, Any, Any]) -> Any:
    return run_virtual(main)


# ---- what is done once ---------------------------------------------------------------------------
def test_run_goes_on_and_waits_for_losers_at_end() -> None:
    """What follows the join does not wait for a loser; the result does."""

    async def main() -> None:
        ledger, loop = Ledger(), asyncio.get_running_loop()
        began = loop.time()
        result = await simple().run(State(), resources=ledger)
        assert loop.time() - began == pytest.approx(2)
        assert [line.split()[0] for line in ledger.entries] == [
            *("fork", "quick", "merge", "last", "slow")
        ]
        assert result.state.log == ["fork", "quick", "merge", "last"]
        assert result.status == "succeeded"

    virtual(main())


def test_race_in_loop_commits_everything_in_every_round() -> None:
    """Each loser commits in each round of a loop, and a replay gives the same run."""

    async def main() -> None:
        ledger, store = Ledger(), MemoryStore()
        result = await booking().run(State(), run_id="r", durable=store, resources=ledger)
        assert Counter(line.split()[0] for line in ledger.entries) == dict.fromkeys(PER_ROUND, 2)
        assert result.state.log == ["fork", "quick", "merge"] * 2
        again = await booking().replay("r", durable=store)
        assert again.state == result.state
        assert [step.path for step in again.steps] == [step.path for step in result.steps]

    virtual(main())


async def record(flow: AnyFlow, store: MemoryStore) -> tuple[Any, Sequence[Record]]:
    result = await flow.run(State(), run_id="r", durable=store, resources=Ledger())
    return result, (await store.load("r")).records


def test_replay_of_every_prefix_decides_alike() -> None:
    """After each record the decisions that were made stand, and what is late is late."""

    async def main() -> None:
        flow, store = booking(), MemoryStore()
        _, records = await record(flow, store)
        decided: list[str] = []
        for until in range(1, len(records) + 1):
            run = rebuild(flow.plan, "r", records, until=until).run
            done = [item for item in run.history if item.step.name == "merge"]
            open_now = [item for item in run.unfinished() if item.step.name == "merge"]
            chosen = [item.tokens[0].source.id for item in (*done, *open_now)]  # type: ignore[union-attr]
            assert chosen[: len(decided)] == decided
            decided = chosen
        assert len(decided) == 2

    virtual(main())


def test_resume_after_every_record_repeats_nothing() -> None:
    """A run whose process is gone after any record ends alike, and no commit is made twice."""

    async def main() -> None:
        flow, store = booking(), MemoryStore()
        result, records = await record(flow, store)
        head = (await store.load("r")).head
        for until in range(2, len(records)):
            part, copy, ledger = records[:until], MemoryStore(), Ledger()
            await copy_run(head, part, copy)
            resumed = await flow.resume("r", durable=copy, resources=ledger, ambiguous="repeat")
            assert resumed.state == result.state
            after = (await copy.load("r")).records
            assert sorted(commits_of(after)) == sorted(commits_of(records))
            assert not {*ledger.entries} & {*commits_of(part)}

    virtual(main())


# ---- forks ---------------------------------------------------------------------------------------
def rounds_of_two() -> AnyFlow:
    """Return a race of `quick` and `slow` in a loop of two rounds, without effects."""
    graph = Graph("g", State)
    fork, merge = takes("fork", 0), takes("merge", 0)
    graph.chain(fork, [takes("quick", 0), takes("slow", 1)], merge)
    graph.join(merge, need=1, rest="finish")
    return graph.loop(merge, back_to=fork, while_=lambda s: True, max_iterations=2).build()


@pytest.mark.parametrize(
    "start", ["fork", "quick", "slow", "merge", "quick#2", "slow#2", "merge#2"]
)
def test_rerun_from_any_node_of_race(start: str) -> None:
    """A rerun may begin at a winner, a loser, the join or what follows, in each round."""

    async def main() -> None:
        store = MemoryStore()
        result, _ = await record(rounds_of_two(), store)
        ledger = Ledger()
        again = await rounds_of_two().rerun(
            "r", start=start, durable=store, run_id="again", resources=ledger
        )
        assert again.result.status == "succeeded"
        assert len(again.result.state.log) == len(result.state.log)
        assert start.partition("#")[0] in {line.split()[0] for line in ledger.entries}
        replayed = await rounds_of_two().replay("again", durable=store)
        assert replayed.state == again.result.state

    virtual(main())


def test_rerun_of_late_item_keeps_what_follows() -> None:
    """Nothing depends on a late item, so a rerun of it repeats it alone."""

    async def main() -> None:
        graph: Any = Graph("g", State)
        flow = graph.chain(each(graph, "cards", [1, 2], "pure"), takes("last", 0)).build()
        store, ledger = MemoryStore(), Ledger()
        await record(flow, store)
        again = await flow.rerun(
            "r", start="cards[1]/pay", durable=store, run_id="again", resources=ledger
        )
        assert [line.split()[0] for line in ledger.entries] == ["cards[1]/pay"]
        assert again.result.state.log == ["paid 0", "last"]

    virtual(main())


# ---- stops, processes, failures ------------------------------------------------------------------
def tell_last(has_ended: asyncio.Event) -> Ledger:
    """Return a ledger that tells when the node `last` has ended, while `slow` has not."""
    return Ledger(lambda line: has_ended.set() if line.startswith("last") else None)


def test_stopped_losers_go_on_when_resumed() -> None:
    """A run that is stopped while losers run keeps its decision, and resumes the losers."""

    async def main() -> None:
        flow, store, last = simple(), MemoryStore(), asyncio.Event()
        ledger = tell_last(last)
        task = asyncio.ensure_future(flow.run(State(), run_id="r", durable=store, resources=ledger))
        await last.wait()
        await flow.send_stop("r", durable=store, now=True, wait=False)
        with pytest.raises(RunFailed):
            await task
        result = await flow.resume("r", durable=store, resources=ledger, ambiguous="repeat")
        assert result.status == "succeeded"
        assert [line.split()[0] for line in ledger.entries] == [
            *("fork", "quick", "merge", "last", "slow")
        ]
        assert (await flow.replay("r", durable=store)).state == result.state

    virtual(main())


def test_cancelled_run_cancels_losers() -> None:
    """A run that is cancelled for good ends with its losers."""

    async def main() -> None:
        flow, store, last = simple(), MemoryStore(), asyncio.Event()
        ledger = tell_last(last)
        task = asyncio.ensure_future(flow.run(State(), run_id="r", durable=store, resources=ledger))
        await last.wait()
        await flow.cancel("r", durable=store)
        with pytest.raises(RunFailed):
            await task
        assert (await store.load("r")).head.status == "cancelled"
        assert "slow" not in [line.split()[0] for line in ledger.entries]

    virtual(main())


def failing(name: str) -> Any:
    @node(name=name, effect="once")
    async def fail(ctx: Context[Ledger], number: Number) -> Log:
        await asyncio.sleep(1)
        raise ValueError("the supplier is closed")

    return fail


@pytest.mark.parametrize("policy", ["drain", "cancel", "isolate"])
def test_failed_loser_makes_run_partial(policy: Any) -> None:
    """A loser that fails leaves the result as it is, and the run says so, also when replayed."""

    async def main() -> None:
        graph = Graph("g", State)
        fork, merge = takes("fork", 0), takes("merge", 0)
        branches = [takes("quick", 0), failing("closed"), takes("slow", 2, "once")]
        graph.chain(fork, branches, merge, takes("last", 0)).join(merge, need=1, rest="finish")
        flow, store, ledger = graph.build(), MemoryStore(), Ledger()
        options: Any = {"durable": store, "resources": ledger, "on_failure": policy}
        result = await flow.run(State(), run_id="r", **options)
        assert (result.status, result.state.log) == ("partial", ["fork", "quick", "merge", "last"])
        assert "slow" in [line.split()[0] for line in ledger.entries]
        assert (await flow.replay("r", durable=store)).status == "partial"

    virtual(main())


def test_loser_in_other_process_finishes() -> None:
    """A loser that runs in a worker process finishes there."""

    async def main() -> None:
        graph: Any = Graph("g", Counted)
        merge = crunching.square.named("merge")
        graph.chain([quick_square, crunching.square], merge)
        flow = graph.join(merge, need=1, rest="finish").build()
        result = await flow.run(Counted(n=3))
        assert result.status == "succeeded"
        assert {step.path: step.status for step in result.steps}["square"] == "done"

    asyncio.run(main())


# ---- records that do not fit ---------------------------------------------------------------------
def test_changed_rest_is_refused() -> None:
    """A run whose graph lets losers finish now is refused, and the message says what changed."""

    async def main() -> None:
        graphs = [Graph("g", State), Graph("g", State)]
        for graph, rest in zip(graphs, ("cancel", "finish"), strict=True):
            merge = takes("merge", 0)
            graph.chain(takes("fork", 0), [takes("quick", 0), takes("slow", 2)], merge)
            graph.join(merge, need=1, rest=rest)  # type: ignore[arg-type]
        before, now = (graph.build() for graph in graphs)
        store, copy = MemoryStore(), MemoryStore()
        _, records = await record(before, store)
        await copy_run((await store.load("r")).head, records[:3], copy)
        with pytest.raises(JournalError, match="'merge' lets its losers finish"):
            await now.resume("r", durable=copy, resources=Ledger())

    virtual(main())


def test_record_of_late_work_fits_late_work_alone() -> None:
    """A record that says that it came too late does not fit where it decides."""

    async def main() -> None:
        store = MemoryStore()
        _, records = await record(simple(), store)
        late = [item.seq for item in records if item.body.get("late")]
        assert [records[seq - 1].body["path"] for seq in late] == ["slow"]
        altered = [
            Record(item.seq, item.kind, {**item.body, "late": True})
            if item.body.get("path") == "quick" and item.kind == "commit"
            else item
            for item in records
        ]
        with pytest.raises(ReplayDiverged, match="'quick' came too late for a decision"):
            rebuild(simple().plan, "r", altered)

    virtual(main())


def test_stored_map_over_too_few_items_replays() -> None:
    """A map that succeeded with fewer results than it needs now is replayed as it was."""

    async def main() -> None:
        flows = []
        for need in (1, 2):
            graph: Any = Graph("g", State)
            cards = graph.map(
                "cards",
                takes_number,
                over=lambda s: [Number(n=1)],
                gather=lambda numbers: Log(log=[str(len(numbers))]),
                max_items=2,
                need=need,
            )
            flows.append(graph.chain(cards).build())
        before, now = flows
        store = MemoryStore()
        result, _ = await record(before, store)
        assert (await now.replay("r", durable=store)).state == result.state
        with pytest.raises(RunFailed) as failed:
            await now.run(State())
        (error,) = failed.value.exceptions
        assert "2 results are needed, and 1 came, of 1 item" in str(error)

    virtual(main())


# ---- what people see -----------------------------------------------------------------------------
async def explain(flow: AnyFlow, store: MemoryStore, where: str) -> Reasons:
    log = await store.load("r")
    run = rebuild(flow.plan, "r", log.records).run
    talk = build_conversation(log.head, log.records)
    (activation,) = find_activations(run, where)
    return explain_activation(activation, talk.trace, talk.turns, Redaction(values=()))


def test_late_work_is_shown_as_such() -> None:
    """A loser is late in the timeline, in what explains it, and on the critical path."""

    async def main() -> None:
        flow, store = simple(), MemoryStore()
        result, records = await record(flow, store)
        # 1. Why.
        explained = await explain(flow, store, "slow")
        assert explained.did == [
            "wrote log in 2 s",
            "came too late for 'merge', which had what it needs and lets the rest finish",
        ]
        (because,) = (await explain(flow, store, "merge")).because[1:]
        assert because == (
            "it joins, and needs 1 of 2 branches: with 1 it was decided, without slow, "
            "which may finish"
        )
        # 2. When.
        log = await store.load("r")
        bars = build_bars(build_trace(log.head, records), 0.0)
        assert [bar.name for bar in bars if bar.remark == "late"] == ["slow"]
        run = rebuild(flow.plan, "r", records).run
        assert find_critical_path(run, 2.0).path == (("slow", 2.0),)
        # 3. Where: the line that led nowhere is not one that the run took.
        lines = build_overlay(result.record).taken
        assert [line for line in lines if "slow" in line and "merge" in line] == []

    virtual(main())


def test_late_item_is_shown_as_such() -> None:
    """An item that the map did not wait for says so."""

    async def main() -> None:
        graph: Any = Graph("g", State)
        flow = graph.chain(each(graph, "cards", [1, 2]), takes("last", 0)).build()
        store = MemoryStore()
        await record(flow, store)
        assert (await explain(flow, store, "cards[1]/pay")).did == [
            "wrote result in 2 s",
            "came too late for 'cards', which had what it needs and lets the rest finish",
            "went on to END",
        ]

    virtual(main())


def test_picture_tells_what_becomes_of_losers() -> None:
    """A join and a map that let their losers finish look different from those that cancel."""
    mermaid = booking().to_mermaid()
    assert "first 1 of 4 · rest finishes" in mermaid
    assert "first 1 · rest finishes" in booking().svg()


def test_session_steps_through_losers() -> None:
    """A session steps through losers like any node, back and forth."""

    with rounds_of_two().debug(State(), resources=Ledger()) as session:
        seen: list[str] = []
        while session.next:
            seen.append(session.step().path)
            session.step_back()
            assert session.step().path == seen[-1]
        assert Counter(seen) == {"fork": 2, "quick": 2, "slow": 2, "merge": 2}
        assert session.result.status == "succeeded"


# ---- real crashes --------------------------------------------------------------------------------
async def drive(
    folder: Path, kill: Callable[[SqliteStore], Any] | None, again: OnAmbiguous | None = None
) -> Any:
    """Run the race, or resume it once the lease of a dead process has run out."""
    late = 0.0 if again is None else 60.0
    store = await SqliteStore.open(
        folder / "runs.sqlite", sync="normal", clock=lambda: time.time() + late
    )
    with (folder / "ledger.txt").open("a") as lines:
        ledger = Ledger(lambda line: print(line, file=lines, flush=True))
        options: Any = {"durable": kill(store) if kill else store, "resources": ledger}
        try:
            if again is not None:
                return await booking(0.002, 1).resume("r", ambiguous=again, **options)
            return await booking(0.002, 1).run(State(), run_id="r", **options)
        finally:
            await store.close()


def is_killed(folder: Path, at: int, *, after: bool) -> bool:
    """Run the race in a process that dies at an append; return False if it ended before that."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(drive(folder, lambda store: Killing(store, at, after=after)))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def read_ledger(folder: Path) -> list[str]:
    path = folder / "ledger.txt"
    return path.read_text().splitlines() if path.exists() else []


def check_kill(folder: Path, at: int, *, after: bool) -> bool:
    """Kill the race at an append, resume it, and look at what happened in the world."""
    folder.mkdir()
    if not is_killed(folder, at, after=after):
        return False
    left = asyncio.run(stored_run(folder / "runs.sqlite"))
    if left is None or not left.records:
        return True  # it died before there was a run
    doubtful, before = find_doubtful(left.records), read_ledger(folder)
    result = asyncio.run(drive(folder, None, "repeat"))
    assert result.status == "succeeded"
    # 1. Each effect happened once; one that was in doubt may have been repeated, as it was told to.
    times = Counter(filter(is_effect, read_ledger(folder)))
    assert {line.split()[0] for line in times} == {*filter(is_effect, PER_ROUND)}
    assert all(count == 1 or line.split()[1] in doubtful for line, count in times.items())
    # 2. What was committed did not run again, whichever branch had won.
    after_kill = read_ledger(folder)[len(before) :]
    committed = {record.body["id"] for record in left.records if record.kind == "commit"}
    assert not {line.split()[1] for line in after_kill} & committed
    return True


def is_effect(line: str) -> bool:
    return any(name in line for name in ("mail", "travel", "pay"))


def find_doubtful(records: Sequence[Record]) -> set[str]:
    """Return the ids of what began and did not end."""
    ids = {
        kind: {r.body["id"] for r in records if r.kind == kind} for kind in ("starting", "commit")
    }
    return ids["starting"] - ids["commit"]


@pytest.mark.parametrize("after", [False, True])
def test_killed_race_acts_exactly_once(after: bool, tmp_path: Path) -> None:
    """A race whose losers act once is killed, resumed, and each effect happened exactly once."""
    kills = sum(check_kill(tmp_path / str(at), at, after=after) for at in range(3, 40, 9))
    assert kills >= 2


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
def test_race_killed_at_every_record_acts_exactly_once(after: bool, tmp_path: Path) -> None:
    """The same at every append, one by one."""
    kills = 0
    while check_kill(tmp_path / str(kills), kills + 1, after=after):
        kills += 1
    assert kills >= 12
