"""Reasons for what timing decided: joins that need some, copies, timeouts, defaults, doubt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, RunFailed, node
from graphorch.journal import MemoryStore
from graphorch.journal.records import Record
from graphorch.testing import run_virtual
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.critical_path import find_critical_path
from graphorch.trace.analysis.explain import (
    Reasons,
    explain_absence,
    explain_activation,
    explain_run,
    find_activations,
)
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.runs.timeline import build_bars
from tests.trace.running import conversation, rebuild_run
from tests.trace.sample_spans import make_call, make_index, make_trace

PLAIN = Redaction(values=())


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: str = ""


class First(BaseModel):
    first: str = ""


class Second(BaseModel):
    second: str = ""


class Third(BaseModel):
    third: str = ""


class State(Count, Log, First, Second, Third): ...


async def read(flow: Any, store: MemoryStore, *names: str) -> list[Reasons]:
    run, talk = await rebuild_run(store, flow), await conversation(store)
    explained: list[Reasons] = []
    for name in names:
        found = find_activations(run, name)
        explained += (
            [explain_activation(item, talk.trace, talk.turns, PLAIN) for item in found]
            if found
            else [explain_absence(run, name)]
        )
    return explained


def build_join(need: int, *, fails: bool = False, short: Any = "fail") -> Flow[Any, Any]:
    def build_step(name: str, seconds: float, model: type[BaseModel]) -> Any:
        async def work(count: Count) -> Any:
            await asyncio.sleep(seconds)
            if fails and name != "quick":
                raise OSError("down")
            return model()

        work.__annotations__["return"] = model
        return node(name=name)(work)

    quick, middle = build_step("quick", 1, First), build_step("middle", 2, Second)
    slow = build_step("slow", 9, Third)

    @node
    def end(count: Count) -> Log:
        return Log(log="done")

    graph = Graph("joins", State, input=Count, output=Log)
    graph.chain([quick, middle, slow], end).join(end, need=need, short=short)
    return graph.build()


def run_join(flow: Flow[Any, Any], *names: str, **options: Any) -> list[Reasons]:
    async def main() -> list[Reasons]:
        store = MemoryStore()
        with suppress(RunFailed):
            await flow.run(Count(), run_id="one", durable=store, **options)
        return await read(flow, store, *names)

    return run_virtual(main())


def test_quorum_says_what_decided() -> None:
    """A join of two of three was decided by two, and did not wait for the third."""
    end, slow = run_join(build_join(2), "end", "slow")
    assert end.because == [
        "'quick' was done, and leads here",
        "'middle' was done, and leads here",
        "it joins, and needs 2 of 3 branches: with 2 it was decided, without slow",
    ]
    assert slow.did[-1] == "was cancelled: 'end' has the 2 that it needs"


def test_quorum_of_one_says_what_decided() -> None:
    """A join of one of three has one source, and says why it went on all the same."""
    (end,) = run_join(build_join(1), "end")
    needs = "it joins, and needs 1 of 3 branches: with 1 it was decided"
    assert end.because[1] == f"{needs}, without middle, slow"


@pytest.mark.parametrize(
    "short, outcome", [("fail", "so it fails"), ("fire", "so it goes on with these")]
)
def test_quorum_not_met_says_so(short: str, outcome: str) -> None:
    (end,) = run_join(build_join(2, fails=True, short=short), "end", on_failure="isolate")
    assert end.because[-1] == (
        f"it joins, and needs 2 of 3 branches: nothing live could bring more than 1, {outcome}"
    )


def test_default_route_is_called_so() -> None:
    """A default is taken since no other target has the label, whichever it was."""

    @node
    def start(count: Count) -> First:
        return First()

    @node
    def one(count: Count) -> Log:
        return Log(log="one")

    @node
    def other(count: Count) -> Log:
        return Log(log="other")

    def choose(count: Count) -> Literal["a", "b", "c"]:
        return "c"

    graph = Graph("routes", State, input=Count, output=Log)
    graph.chain(start)
    graph.route(start, choose).when("a", one).otherwise(other)
    flow = graph.build()
    began, taken, untaken = run_join(flow, "start", "other", "one")
    by_default = "(by default: its label was b or c)"
    assert taken.because == [f"the route after 'start' chose it {by_default}"]
    assert began.did[-1] == f"went on to other {by_default}"
    assert untaken.because == [f"after 'start' its route went to other {by_default}, not here"]


def build_hedged(*seconds: float, fails: bool = False) -> Flow[Any, Any]:
    left = list(seconds)

    @node(hedge_after=1.0)
    async def work(count: Count) -> Log:
        await asyncio.sleep(left.pop(0))
        if fails:
            raise OSError("down")
        return Log(log="done")

    return Graph("hedged", State, input=Count, output=Log).chain(work).build()


@pytest.mark.parametrize(
    "seconds, fails, outcome, statuses",
    [
        ((9, 1), False, "and ended first: its result counts", ["cancelled", "ok"]),
        ((2, 9), False, "and was cancelled when the first one ended", ["ok", "cancelled"]),
        ((2, 2), True, "and failed too", ["failed", "failed"]),
    ],
)
def test_second_copy_is_told(
    seconds: tuple[float, ...], fails: bool, outcome: str, statuses: list[str]
) -> None:
    """The second copy of a slow node is in its reasons, its spans and the timeline."""
    flow = build_hedged(*seconds, fails=fails)

    async def main() -> None:
        store = MemoryStore()
        with suppress(RunFailed):
            await flow.run(Count(), run_id="one", durable=store)
        (reasons,) = await read(flow, store, "work")
        trace = (await conversation(store)).trace
        attempts = [span for span in trace.spans if span.kind == "attempt"]
        assert [span.status for span in attempts] == statuses
        assert f"a second copy of attempt 1 was started after 1 s, {outcome}" in reasons.did
        bars = {bar.name: bar for bar in build_bars(trace, 0.0)}
        assert bars["work (second copy)"].begin == pytest.approx(1.0)
        assert bars["work (second copy)"].parent == bars["work"].id

    run_virtual(main())


def test_quick_node_has_no_second_copy() -> None:
    (reasons,) = run_join(build_hedged(0.5), "work")
    assert not any("second copy" in line for line in reasons.did)


def test_timed_out_node_is_on_critical_path() -> None:
    """A node that ended the run with its timeout took the time of the run."""

    @node
    async def before(count: Count) -> First:
        await asyncio.sleep(1)
        return First()

    @node(timeout=5)
    async def late(count: Count) -> Log:
        await asyncio.sleep(60)
        return Log()

    flow = Graph("late", State, input=Count, output=Log).chain(before, late).build()

    async def main() -> None:
        store = MemoryStore()
        with suppress(RunFailed):
            await flow.run(Count(), run_id="one", durable=store)
        path = find_critical_path(await rebuild_run(store, flow), 6.0)
        assert [(name, round(seconds, 3)) for name, seconds in path.path] == [
            ("before", 1.0),
            ("late", 5.0),
        ]
        assert path.seconds == pytest.approx(6.0)

    run_virtual(main())


def test_ambiguous_node_is_told() -> None:
    """A run that a node in doubt holds up names the node, and how to go on."""

    @node(effect="once")
    def pay(count: Count) -> Log:
        return Log(log="paid")

    flow = Graph("pays", State, input=Count, output=Log).chain(pay).build()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(Count(), run_id="one", durable=store)
        records = (await store.load("one")).records
        last = next(record.seq for record in records if record.kind == "starting")
        from graphorch.engine.replay import rebuild

        begun: list[Record] = [record for record in records if record.seq <= last]
        replayed = rebuild(flow.plan, "one", begun)
        talk = await conversation(store)
        doubt = list(replayed.in_doubt.values())
        reasons = explain_run(replayed.run, talk.trace, PLAIN, doubt)
        assert reasons.because[0].startswith("'pay' must not act twice; it began, did not finish")
        assert "--ambiguous repeat" in reasons.because[0]

    asyncio.run(main())


@pytest.mark.parametrize(
    "offset, days",
    [(0.0, {"1970-01-01"}), (7_200.0, {"1970-01-01", "1970-01-02"}), (-60.0, {"1970-01-01"})],
)
def test_days_are_those_of_zone(offset: float, days: set[str]) -> None:
    """A call shortly before midnight belongs to the next day further east."""
    calls = [make_call(9_000), make_call(2, began=23 * 3_600.0)]
    with make_index(make_trace(*calls)) as index:
        table = statistics.calls(index, ["day"], Selection(utc_offset=offset))
        assert {row.key[0] for row in table} == days
        first = Selection(where={"day": "1970-01-01"}, utc_offset=offset)
        assert sum(row.calls for row in statistics.calls(index, [], first)) == 3 - len(days)


def test_empty_table_has_its_columns() -> None:
    """A table without rows knows the columns that it would have."""
    with make_index(make_trace(make_call(1))) as index:
        full = statistics.calls(index, ["model"])
        empty = statistics.calls(index, ["model"], Selection(until=0.0))
        assert not empty.rows
        assert empty.columns == full.columns == tuple(full.records()[0])
