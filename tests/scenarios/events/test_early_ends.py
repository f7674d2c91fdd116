"""Sub-flows and maps that are ended from outside, in runs: crashed, replayed, resumed, forked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from graphorch import START, Graph, InputError, RunFailed, agent
from graphorch.engine.replay import rebuild, verify
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.testing import run_virtual
from graphorch.trace.analysis.explain import explain_run
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.redaction import Redaction
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.events.team import (
    Found,
    Inner,
    Notes,
    State,
    Stop,
    TeamFlow,
    Topic,
    Topics,
    crawl_flow,
    flaky_flow,
    leave,
    same,
    team_flow,
)

TOPICS = Topics(topics=[Topic(topic=name) for name in ("tea", "jam", "oil", "rye")])


def clock() -> float:
    """Return the time of the event loop, which is virtual, as seconds since the epoch."""
    return 1_900_000_000.0 + asyncio.get_running_loop().time()


async def stop_after(flow: TeamFlow, store: Any, seconds: float, key: str = "") -> None:
    await asyncio.sleep(seconds)
    await flow.send("r", "stop", Stop(), key=key, durable=store, clock=clock)


async def run_and_stop(
    flow: TeamFlow, given: Any, store: Any, seconds: float, key: str = ""
) -> Any:
    """Run a flow, and send the signal after so many seconds."""
    sender = asyncio.create_task(stop_after(flow, store, seconds, key))
    try:
        return await flow.run(given, run_id="r", durable=store, clock=clock)
    finally:
        await asyncio.gather(sender, return_exceptions=True)


def check(scenario: Coroutine[Any, Any, None]) -> None:
    run_virtual(scenario)


# ---- signals -------------------------------------------------------------------------------------
def test_signal_ends_sub_flow_under_way() -> None:
    """What was committed inside survives, and the flow goes on at once."""

    async def scenario() -> None:
        flow, store = team_flow(), MemoryStore()
        result = await run_and_stop(flow, Topic(), store, 2.0)
        assert result.output.found == ["kept", "quick tea", "first tea", "after"]
        assert result.record.ended - result.record.began == pytest.approx(2.0, abs=0.1)
        with pytest.raises(InputError, match="is succeeded"):
            await flow.send("r", "stop", Stop(), durable=store)

    check(scenario())


def test_signal_ends_map_under_way() -> None:
    """The items that are done are gathered, in their order; `need` does not matter."""

    async def scenario() -> None:
        for need in ("all", 4):
            flow, store = crawl_flow(need=need, by_topic=True), MemoryStore()
            result = await run_and_stop(flow, TOPICS, store, 3.0, "tea")
            assert result.output.found == ["read tea", "read jam", "after"]

    check(scenario())


def test_late_signal_is_refused() -> None:
    """A signal to a sub-flow that was ended, or is done, is refused with what happened."""

    async def scenario() -> None:
        flow, store = team_flow(keeps=False), MemoryStore()
        with pytest.raises(RunFailed):
            await run_and_stop(flow, Topic(), store, 2.0)
        with pytest.raises(InputError, match="not waited for any more: 'team' has got it already"):
            await flow.send("r", "stop", Stop(), durable=store, clock=clock)

    check(scenario())


def test_every_prefix_replays_and_resumes() -> None:
    """Killed after any record, a run replays to the same, and resumed it ends as it may."""

    async def scenario() -> None:
        for flow, given, expected in (
            (team_flow(), Topic(), ["kept", "quick tea", "first tea", "after"]),
            (team_flow(keeps=False, handled=True), Topic(), ["instead of tea"]),
            (crawl_flow(), TOPICS, ["read tea", "read jam", "after"]),
            (team_flow(keeps=False, handled=True, deadline=3.0), Topic(), ["instead of tea"]),
        ):
            store, seconds = MemoryStore(), 99.0 if flow.plan.has_due_times else 3.0
            if flow.plan.has_due_times:
                result = await flow.run(given, run_id="r", durable=store, clock=clock)
            else:
                result = await run_and_stop(flow, given, store, seconds)
            assert result.output.found == expected
            stored = await store.load("r")
            verify(flow.plan, "r", stored.records)
            await _resume_each_prefix(flow, stored.head, stored.records, expected)

    check(scenario())


async def _resume_each_prefix(
    flow: TeamFlow, head: Any, records: Sequence[Record], expected: list[str]
) -> None:
    signal = next((each.seq for each in records if each.kind == "signal"), 0)
    for seq in range(1, len(records)):
        copies = MemoryStore()
        await copy_run(head, records[:seq], copies)
        result = await flow.resume("r", durable=copies, clock=clock)
        if signal and seq >= signal:
            assert result.output.found == expected
        committed = [each.body["path"] for each in records[:seq] if each.kind == "commit"]
        again = [
            each.body["path"]
            for each in (await copies.load("r")).records[seq:]
            if each.kind == "commit"
        ]
        assert not set(committed) & set(again)
        verify(flow.plan, "r", (await copies.load("r")).records)


def test_signal_to_waiting_sub_flow() -> None:
    """A run that rests inside of a sub-flow is ended by a signal to it."""

    async def scenario() -> None:
        flow, store = team_flow(asks=True), MemoryStore()
        result = await flow.run(Topic(), run_id="r", durable=store, clock=clock)
        assert result.status == "waiting"
        result = await flow.send("r", "stop", Stop(), durable=store, clock=clock)
        assert result.output.found == ["kept", "quick tea", "first tea", "after"]
        assert (await flow.replay("r", durable=store)).output == result.output

    check(scenario())


def test_withdrawn_run_stays_withdrawn() -> None:
    """Without `keep` and without an error edge the run fails, and a resume does not undo that."""

    async def scenario() -> None:
        flow, store = team_flow(keeps=False), MemoryStore()
        with pytest.raises(RunFailed) as caught:
            await run_and_stop(flow, Topic(), store, 2.0)
        assert "Withdrawn: Signal 'stop' ended it" in str(caught.value.exceptions[0])
        with pytest.raises(RunFailed, match="Run r of flow"):
            await flow.resume("r", durable=store, clock=clock)

    check(scenario())


# ---- deadlines -----------------------------------------------------------------------------------
def test_deadline_fires_under_way() -> None:
    """A sub-flow that takes too long fails as a `TimeoutError`, with and without a journal."""

    async def scenario() -> None:
        for durable in (False, MemoryStore()):
            flow = team_flow(deadline=5.0, handled=True)
            result = await flow.run(Topic(), durable=durable, clock=clock)
            assert result.output.found == ["instead of tea"]
            assert result.record.ended - result.record.began == pytest.approx(5.0, abs=0.1)

    check(scenario())


def test_deadline_counts_time_of_people() -> None:
    """A run that rests inside tells its deadline, which is over when it is resumed after that."""

    async def scenario() -> None:
        flow, store = team_flow(deadline=50.0, handled=True, asks=True), MemoryStore()
        result = await flow.run(Topic(), run_id="r", durable=store, clock=clock)
        assert result.status == "waiting"
        assert result.due == pytest.approx(result.record.began + 50.0)
        assert (await store.load("r")).records[-1].body["due"] == result.due
        assert (await flow.resume("r", durable=store, clock=clock)).status == "waiting"
        await asyncio.sleep(60.0)
        result = await flow.resume("r", durable=store, clock=clock)
        assert result.output.found == ["instead of tea"]
        with pytest.raises(InputError):
            await flow.answer("r", "team/slow", Notes(), durable=store)

    check(scenario())


def test_failed_deadline_is_new_on_resume() -> None:
    """Without an error edge the run fails; a resume goes on inside, for as long again."""

    async def scenario() -> None:
        flow, store = team_flow(deadline=10.5), MemoryStore()
        with pytest.raises(RunFailed, match="Run r of flow"):
            await flow.run(Topic(), run_id="r", durable=store, clock=clock)
        result = await flow.resume("r", durable=store, clock=clock)
        assert result.output.found == ["quick tea", "first tea", "slow tea", "after"]
        # Another deadline, or none, changes nothing of what is recorded.
        other = team_flow(deadline=99.0)
        assert (await other.replay("r", durable=store)).output == result.output
        assert (await team_flow().replay("r", durable=store)).output == result.output

    check(scenario())


def test_resume_without_deadline_has_none() -> None:
    """A run that is resumed by a flow without the deadline is not ended by it, nor by a longer."""

    async def scenario() -> None:
        for later in (None, 99.0):
            flow, store = team_flow(deadline=50.0, asks=True), MemoryStore()
            await flow.run(Topic(), run_id="r", durable=store, clock=clock)
            await asyncio.sleep(20.0)
            other = team_flow(deadline=later, asks=True)
            result = await other.resume("r", durable=store, clock=clock)
            assert result.status == "waiting"
            assert (result.due is None) is (later is None)

    check(scenario())


def test_deadline_of_map_in_fork_begins_anew() -> None:
    """A fork that takes over an open map has the whole deadline for it."""

    async def scenario() -> None:
        flow, store = crawl_flow(deadline=5.0), MemoryStore()
        await flow.run(TOPICS, run_id="r", durable=store, clock=clock)
        await asyncio.sleep(60.0)
        result = (await flow.rerun("r", start="each[3]/read", durable=store, clock=clock)).result
        assert result.output.found == ["read tea", "read jam", "read oil", "read rye", "after"]

    check(scenario())


def test_fork_inside_leaves_out_signal() -> None:
    """What was ended is done to its end in a fork that does something inside of it anew."""

    async def scenario() -> None:
        for start, found in (
            ("team/first", ["quick tea", "first tea", "slow tea", "after"]),
            ("team", ["quick tea", "first tea", "slow tea", "after"]),
            ("after", ["kept", "quick tea", "first tea", "after"]),
        ):
            flow, store = team_flow(), MemoryStore()
            await run_and_stop(flow, Topic(), store, 2.0)
            forked = (await flow.rerun("r", start=start, durable=store, clock=clock)).result
            assert forked.output.found == found
            verify(flow.plan, forked.run_id, (await store.load(forked.run_id)).records)

    check(scenario())


# ---- pauses --------------------------------------------------------------------------------------
def test_rest_of_pause_is_waited_for() -> None:
    """A run that died in the pause before a retry tries again when it is over, and not before."""

    async def scenario() -> None:
        tries: list[float] = []
        flow, store = flaky_flow(tries), MemoryStore()
        await flow.run(Topic(), run_id="r", durable=store, clock=clock)
        stored = await store.load("r")
        [first, _] = [each for each in stored.records if each.kind == "failed"]
        due = first.body["at"] + first.body["retry_after"] - 1_900_000_000.0
        for age, tried_at in ((10.0, due), (99.0, None)):
            copies, now = MemoryStore(), asyncio.get_running_loop().time()
            shift = now - age - (first.body["at"] - 1_900_000_000.0)

            def earlier(shift: float = shift) -> float:
                return clock() - shift

            await copy_run(stored.head, stored.records[: first.seq], copies)
            tries[:] = [0.0]
            result = await flow.resume("r", durable=copies, clock=earlier)
            expected = now if tried_at is None else tried_at + shift
            assert tries[1] == pytest.approx(expected, abs=0.1)
            # The third attempt of four: counted on.
            records = (await copies.load("r")).records
            [commit] = [each for each in records if each.kind == "commit"]
            assert commit.body["attempt"] == 3
            assert result.output.found == ["tea"]
            verify(flow.plan, "r", records)

    check(scenario())


def test_old_run_tries_again_at_once() -> None:
    """A run of an older format is resumed as its readers know it: without the rest of a pause."""

    async def scenario() -> None:
        tries: list[float] = []
        flow, store = flaky_flow(tries), MemoryStore()
        await flow.run(Topic(), run_id="r", durable=store, clock=clock)
        stored = await store.load("r")
        first = next(each for each in stored.records if each.kind == "failed")
        copies, now = MemoryStore(), asyncio.get_running_loop().time()
        fingerprint = compute_fingerprint(flow.plan, 5)
        head = replace(stored.head, format=5, fingerprint=fingerprint)
        await copy_run(head, stored.records[: first.seq], copies)
        tries[:] = [0.0]
        await flow.resume("r", durable=copies, clock=clock)
        assert tries[1] == pytest.approx(now, abs=0.1)
        records = (await copies.load("r")).records
        [stopping] = [each for each in records if each.kind == "stopping"]
        assert "keeps_pauses" not in stopping.body
        verify(flow.plan, "r", records)

    check(scenario())


# ---- what people see -----------------------------------------------------------------------------
def test_why_names_early_ends() -> None:
    """A run that rests says what may end it early, and a cancelled node what ended it."""

    async def scenario() -> None:
        flow, store = team_flow(deadline=50.0, asks=True), MemoryStore()
        await flow.run(Topic(), run_id="r", durable=store, clock=clock)
        stored = await store.load("r")
        run = rebuild(flow.plan, "r", stored.records).run
        trace = build_trace(stored.head, stored.records)
        because = explain_run(run, trace, Redaction(values=())).because
        assert "'team' may be ended by the signal 'stop' or its deadline at 2030-" in because[-1]
        await flow.send("r", "stop", Stop(), durable=store, clock=clock)
        run = rebuild(flow.plan, "r", (await store.load("r")).records).run
        assert run.story("team/slow")[0] == "cancelled: 'stop' came"

    check(scenario())


def test_deadline_bounds_estimate() -> None:
    """The estimate takes no longer for a sub-flow than its deadline, whatever is inside."""
    for deadline, seconds in ((None, math.inf), (7.0, 7.0)):
        graph: Any = Graph("timed", State, input=Topic, output=Found)
        inner = Graph("inner", Inner, input=Topic, output=Notes).chain(START, think).build()
        team = graph.sub("team", inner, enter=same, leave=leave, deadline=deadline)
        estimate = graph.chain(START, team).build().estimate()
        assert estimate.worst.seconds == seconds
        assert any(gap.figure == "seconds" for gap in estimate.gaps) is (deadline is None)


@agent(output=Notes)
def think(topic: Topic) -> str:
    return topic.topic
