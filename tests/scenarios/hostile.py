"""Journals that another program wrote: records of real runs, altered at random, and every reader.

The chain of an altered run is made anew, so it verifies: nothing but the readers themselves can
notice what is wrong.
"""

from __future__ import annotations

import copy
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from graphorch import (
    Approval,
    Flow,
    Graph,
    GraphorchError,
    Limits,
    Retry,
    RunFailed,
    ToolApproval,
    node,
    tool,
)
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_head import describe_head
from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.journal.memory import MemoryStore
from graphorch.journal.record_kinds import FORMAT, RECORD_KINDS
from graphorch.journal.records import NewRun, RunHead, RunLog
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.render.timeline import timeline
from graphorch.runs.durable import cancel
from graphorch.testing import run_virtual
from graphorch.trace import Selection, SpanIndex, build_conversation, build_trace
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.critical_path import find_critical_path
from graphorch.trace.analysis.explain import explain_activation, explain_run
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.pictures.heats import measure_steps
from graphorch.views.reasons.rebuilt_run import rebuild_log
from graphorch.views.runs.steps import build_step_rows
from graphorch.views.runs.timeline import build_bars, list_drawn
from tests.engine.tool_calls.test_loop import Model as ToolModel
from tests.engine.tool_calls.test_loop import Topic, flow_of
from tests.golden.event_flows import event_flow
from tests.golden.flows import FLOWS, Answering, World
from tests.golden.pattern_flows import PATTERNS, Model
from tests.journal.test_record_kinds import (
    Bare,
    Count,
    Given,
    Log,
    Price,
    Refusing,
    State,
    ask_model,
    fail_step,
    finish_golden,
    log_step,
    resume_failed,
    run_to_failure,
    slow_step,
)

AnyFlow = Flow[Any, Any, Any]
GOLDEN = Path(__file__).parents[1] / "golden" / f"format_{FORMAT}"
TYPED = (GraphorchError, RunFailed)
NOW = 2e9
MARK = "a run beside it"


@dataclass(frozen=True, eq=False)
class Case:
    """A run as it was written, its flow, and what its nodes need."""

    name: str
    build: Callable[[], AnyFlow]
    log: RunLog
    options: Callable[[], dict[str, Any]]


def _golden_options() -> dict[str, Any]:
    return {"client": Answering(), "resources": World(is_repaired=True)}


def _pattern_options() -> dict[str, Any]:
    return {"client": Model()}


def _refusing_options() -> dict[str, Any]:
    return {"client": Refusing()}


async def _load(path: Path, run_id: str) -> RunLog:
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(shutil.copy(path, folder))
        try:
            return await store.load(run_id)
        finally:
            await store.close()


# Small flows for the kinds of records that the golden ones do not have.
def gates() -> AnyFlow:
    return (
        Graph("g", State).chain(log_step("a", gate="before"), log_step("b", gate="after")).build()
    )


def retries() -> AnyFlow:
    retry = Retry(attempts=2, on=(OSError,))
    return Graph("g", State).chain(fail_step("a", retry=retry)).build()


def graces() -> AnyFlow:
    return Graph("g", State).chain(log_step("a"), [fail_step("b"), slow_step("c")]).build()


def acts() -> AnyFlow:
    return Graph("g", State).chain(log_step("a", effect="once"), log_step("b")).build()


def refused() -> AnyFlow:
    return Graph("g", State).chain(ask_model).build()


def skips() -> AnyFlow:
    @node
    async def price(count: Count) -> Price:
        raise OSError("the disk is not there")

    @node
    async def total(price: Price, log: Log) -> Count:
        return Count(n=price.price)

    graph: Graph[Any, Any, Any] = Graph("g", Bare, input=Given)
    return graph.chain(log_step("a"), [price, log_step("c")], total).build()


@tool(approve=True)
def act(number: int) -> str:
    """Act, once a person approves."""
    return f"did {number}"


@tool(effect="pure")
def look(number: int) -> str:
    """Look something up."""
    return f"saw {number}"


def calls_tools() -> AnyFlow:
    return flow_of(act, look)


def _tool_model() -> ToolModel:
    first = [("act", '{"number": 1}'), ("look", '{"number": 2}'), ("act", '{"number": 3}')]
    return ToolModel(first, [("look", '{"number": 4}')], "done")


def _tool_options() -> dict[str, Any]:
    return {"client": _tool_model()}


async def _write_gates(store: MemoryStore) -> None:
    flow = gates()
    result = await flow.run(State(), durable=store, run_id="r")
    while result.status == "waiting":
        result = await flow.answer("r", result.questions[0], Approval(approved=True), durable=store)


async def _write_skips(store: MemoryStore) -> None:
    await run_to_failure(skips().run(Given(), durable=store, run_id="r", on_failure="isolate"))


async def _write_cancelled(store: MemoryStore) -> None:
    await gates().run(State(), durable=store, run_id="r")
    await gates().cancel("r", durable=store)


async def _write_retries(store: MemoryStore) -> None:
    await run_to_failure(retries().run(State(), durable=store, run_id="r"))


async def _write_graces(store: MemoryStore) -> None:
    limits = Limits(grace=1, activations=50)
    await run_to_failure(graces().run(State(), durable=store, run_id="r", limits=limits))


async def _write_acts(store: MemoryStore) -> None:
    await acts().run(State(), durable=store, run_id="r")


async def _write_fork(store: MemoryStore) -> None:
    await acts().run(State(), durable=store, run_id="old")
    await acts().fork("old", start="b", durable=store, run_id="r")
    await acts().resume("r", durable=store)


async def _write_served(store: MemoryStore) -> None:
    await acts().run(State(), durable=store, run_id="old")
    await acts().rerun("old", start="a", durable=store, run_id="r", effects="serve")


async def _write_tools(store: MemoryStore, *decisions: ToolApproval) -> None:
    """Write a run with two questions about calls, of which some are decided."""
    options: dict[str, Any] = {"durable": store, "client": _tool_model()}
    result = await calls_tools().run(Topic(), run_id="r", **options)
    for decision in decisions:
        result = await calls_tools().answer("r", result.questions[0], decision, **options)


async def _write_decided(store: MemoryStore) -> None:
    edited = ToolApproval(approved=True, arguments={"number": 7})
    await _write_tools(store, edited, ToolApproval(approved=False, answer="five"))


async def _write_killed(store: MemoryStore) -> None:
    """Write a run whose process died while a tool acted."""
    await _write_decided(other := MemoryStore())
    log = await other.load("r")
    place = next(record.seq for record in log.records if record.kind == "starting")
    cut = replace(log, head=replace(log.head, status="running"), records=log.records[:place])
    await fill(store, Case("", calls_tools, cut, dict))


async def _write_refused(store: MemoryStore) -> None:
    await run_to_failure(refused().run(State(), durable=store, run_id="r", client=Refusing()))


_SMALL: dict[str, tuple[Callable[[], AnyFlow], Callable[[MemoryStore], Awaitable[None]]]] = {
    "gates": (gates, _write_gates),
    "cancelled": (gates, _write_cancelled),
    "retries": (retries, _write_retries),
    "graces": (graces, _write_graces),
    "acts": (acts, _write_acts),
    "fork": (acts, _write_fork),
    "served": (acts, _write_served),
    "refused": (refused, _write_refused),
    "skips": (skips, _write_skips),
    "asked about tools": (calls_tools, _write_tools),
    "half decided": (calls_tools, lambda store: _write_tools(store, ToolApproval(approved=True))),
    "called tools": (calls_tools, _write_decided),
    "killed in tool": (calls_tools, _write_killed),
    "resumed": (FLOWS["failed"], resume_failed),
    "budgeted": (FLOWS["finished"], finish_golden),
}


_OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    **dict.fromkeys(
        ("asked about tools", "half decided", "called tools", "killed in tool"), _tool_options
    ),
    "refused": _refusing_options,
    "resumed": _golden_options,
    "budgeted": _golden_options,
}


def list_names() -> list[str]:
    """Return the names of all runs without making them."""
    patterns = [name + suffix for name in PATTERNS for suffix in ("", ".crashed")]
    return [*FLOWS, *patterns, "events.waiting", "events.finished", *_SMALL]


@cache
def list_cases() -> tuple[Case, ...]:
    """Return runs of every kind: finished, failed, waiting, crashed, cancelled, forked."""
    cases: list[Case] = []
    for name, build in FLOWS.items():
        log = run_virtual(_load(GOLDEN / f"{name}.golden", name))
        cases.append(Case(name, build, log, _golden_options))
    for name, build in PATTERNS.items():
        for suffix in ("", ".crashed"):
            log = run_virtual(_load(GOLDEN / f"{name}{suffix}.golden", name))
            cases.append(Case(name + suffix, build, log, _pattern_options))
    for name in ("events.waiting", "events.finished"):
        log = run_virtual(_load(GOLDEN / f"{name}.golden", name))
        cases.append(Case(name, event_flow, log, dict))
    for name, (build, write) in _SMALL.items():
        log = run_virtual(_write(write))
        cases.append(Case(name, build, log, _OPTIONS.get(name, dict)))
    return tuple(cases)


async def _write(write: Callable[[MemoryStore], Awaitable[None]]) -> RunLog:
    store = MemoryStore()
    await write(store)
    return await store.load("r")


# ---- alterations ---------------------------------------------------------------------------------
VALUES: Sequence[Any] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, -(2**63), 2**70, 10**400, 0.0, -0.5, 1e308,
    -1e308, 1e-320, "", "x", "é\u0000\U0001f600", "1", "1.5", "NaN", "x" * 3000, [], [0], [None],
    [[]], ["a", "b"], {}, {"a": 1}, {"path": "x", "id": "y"}, [{}], {"error": "x"}, "succeeded",
    [{"role": "user", "content": "x"}], "waiting", "running", "cancelled", -3, 99, 10**15,
)  # fmt: skip


def list_places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of all values inside a value."""
    places = [place]
    if isinstance(value, dict):
        for key, item in value.items():
            places += list_places(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            places += list_places(item, (*place, index))
    return places


def _alter_value(chance: random.Random, body: Any) -> Any:
    """Replace, drop, rename or add one value somewhere in a body."""
    body = copy.deepcopy(body)
    # Places near the top are as likely as all those deep inside of a description.
    depth = chance.choice([1, 1, 2, 3, 99])
    places = [place for place in list_places(body) if len(place) <= depth]
    place = chance.choice(places)
    value = copy.deepcopy(chance.choice(VALUES))
    if not place:
        return value
    inside = body
    for key in place[:-1]:
        inside = inside[key]
    action = chance.choice(["replace", "replace", "replace", "drop", "rename", "move"])
    if action == "replace":
        inside[place[-1]] = value
    elif action == "drop":
        del inside[place[-1]]
    elif action == "rename" and isinstance(inside, dict):
        inside[f"{place[-1]}x"] = inside.pop(place[-1])
    else:
        inside[place[-1]] = copy.deepcopy(inside[chance.choice(list(_keys(inside)))])
    return body


def _keys(inside: Any) -> Sequence[Any]:
    return list(inside) if isinstance(inside, dict) else range(len(inside))


def alter(case: Case, chance: random.Random, times: int = 1) -> Case:
    """Return a case with random changes in its records or its head."""
    head, records = case.log.head, list(case.log.records)
    for _ in range(times):
        index = chance.randrange(len(records)) if records else 0
        what = chance.choice(["value"] * 12 + ["kind", "drop", "double", "move", "cut", "head"])
        if not records or what == "head":
            head = _alter_head(chance, head)
        elif what == "value":
            body = _alter_value(chance, records[index].body)
            records[index] = replace(records[index], body=body)
        elif what == "kind":
            kinds = [*sorted(RECORD_KINDS), "unknown", "__init__"]
            records[index] = replace(records[index], kind=chance.choice(kinds))
        elif what == "drop":
            del records[index]
        elif what == "double":
            records.insert(chance.randint(0, len(records)), records[index])
        elif what == "move":
            records.insert(chance.randrange(len(records)), records.pop(index))
        else:
            del records[index:]
    numbered = [replace(record, seq=seq) for seq, record in enumerate(records, 1)]
    return replace(case, log=RunLog(head, tuple(numbered)))


def _alter_head(chance: random.Random, head: RunHead) -> RunHead:
    status = chance.choice(
        ["running", "waiting", "failed", "succeeded", "partial", "odd", "stopped"]
    )
    changes: list[dict[str, Any]] = [
        {"status": status},
        {"status": status},
        {"format": chance.choice([0, 1, 2, 3, 4, 99])},
        {"flow": chance.choice(["other", "x" * 200])},
        {"fingerprint": chance.choice(["0", "f" * 64])},
        {"parent": chance.choice([None, "other", head.run_id])},
        {"tags": {"traceparent": chance.choice(["x", "00-1-2-3"]), "a": "b"}},
    ]
    return replace(head, **chance.choice(changes))


async def fill(store: Store, case: Case) -> None:
    """Write the records of a case into a store, with a valid chain."""
    head = case.log.head
    new = NewRun(
        head.run_id, head.flow, head.fingerprint, head.format, tags=head.tags, parent=head.parent
    )
    await store.create(new)
    lease = await store.claim(head.run_id, "writer", ttl=LEASE_SECONDS)
    await store.append(lease, case.log.records, expected_last_seq=0, status=head.status)
    await store.release(lease)


# ---- readers -------------------------------------------------------------------------------------
async def _resume(store: Store, case: Case) -> None:
    options = case.options()
    await case.build().resume(case.log.head.run_id, durable=store, ambiguous="repeat", **options)


async def _answer(store: Store, case: Case) -> None:
    answer = Approval(approved=True)
    bodies = [record.body for record in case.log.records if record.kind == "asked"]
    ids = [body.get("id") for body in bodies if isinstance(body, dict)]
    question = str(ids[0]) if ids else "ask"
    run_id = case.log.head.run_id
    await case.build().answer(run_id, question, answer, durable=store, **case.options())


async def _replay(store: Store, case: Case) -> None:
    await case.build().replay(case.log.head.run_id, durable=store)


async def _fork(store: Store, case: Case) -> None:
    flow, run_id = case.build(), case.log.head.run_id
    for start in [step.name for step in flow.plan.steps]:
        try:
            await flow.fork(run_id, start=start, durable=store)
            await flow.rerun(run_id, start=start, durable=store, effects="repeat", **case.options())
        except TYPED:
            continue


async def _cancel(store: Store, case: Case) -> None:
    await cancel(store, case.log.head.run_id, NOW)


async def _cancel_by_flow(store: Store, case: Case) -> None:
    await case.build().cancel(case.log.head.run_id, durable=store)


async def _show(store: Store, case: Case) -> None:
    log = await store.load(case.log.head.run_id)
    rows = build_step_rows(log)[0]
    to_json_line([describe_head(log.head), [str(row) for row in rows]])


async def _draw(store: Store, case: Case) -> None:
    log = await store.load(case.log.head.run_id)
    trace = build_trace(log.head, log.records)
    timeline(list_drawn(build_bars(trace, NOW)), name=trace.flow, title="t")


async def _converse(store: Store, case: Case) -> None:
    log = await store.load(case.log.head.run_id)
    conversation = build_conversation(log.head, log.records)
    to_json_line(conversation.as_data())
    assert str(conversation) is not None
    conversation._repr_html_()
    conversation.diff(build_conversation(log.head, log.records[:3]), full=True)


async def _explain(store: Store, case: Case) -> None:
    rebuilt = rebuild_log(await store.load(case.log.head.run_id), case.build().plan)
    trace, turns = rebuilt.conversation.trace, rebuilt.conversation.turns
    explain_run(rebuilt.run, trace, Redaction())
    for activation in [*rebuilt.run.history, *rebuilt.run.unfinished()]:
        explain_activation(activation, trace, turns, Redaction())
    if rebuilt.run.history:
        find_critical_path(rebuilt.run, trace.seconds or 0.0)


async def _count(store: Store, case: Case) -> None:
    """Count all runs: a broken one is left out, and the other one is counted."""
    with SpanIndex.open(store) as index:
        progress = await index.catch_up(store)
        assert progress.damaged.keys() <= {case.log.head.run_id}
        tables = [
            statistics.calls, statistics.steps, statistics.errors, statistics.runs,
            statistics.loops, statistics.findings,
        ]  # fmt: skip
        for table in tables:
            to_json_line(table(index).records())
        measure_steps(index, Selection())
        counted = sum(row.runs for row in statistics.runs(index))
        assert counted == 2 - len(progress.damaged)


READERS: dict[str, Callable[[Store, Case], Awaitable[None]]] = {
    "replay": _replay,
    "resume": _resume,
    "answer": _answer,
    "fork": _fork,
    "cancel": _cancel,
    "cancel by flow": _cancel_by_flow,
    "show": _show,
    "timeline": _draw,
    "conversation": _converse,
    "why": _explain,
    "stats": _count,
}


async def read(reader: str, case: Case) -> BaseException | None:
    """Let a reader read a case; return its typed error, or None. Raises any other exception."""
    store = MemoryStore()
    await fill(store, case)
    if reader == "stats":
        beside = replace(list_cases()[0].log.head, run_id="beside", flow=MARK)
        await fill(store, replace(case, log=RunLog(beside, list_cases()[0].log.records)))
    try:
        await READERS[reader](store, case)
    except TYPED as error:
        return error
    return None
