"""Journals of earlier versions are read, replayed and resumed, and end as they would have then."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from graphorch import Graph, RunFailed, ToolApproval
from graphorch.core.tree import Status
from graphorch.engine.events import Committed, Ended
from graphorch.engine.recorded_events import EventReader
from graphorch.engine.replay import rebuild
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import USUAL_CONCURRENCY
from graphorch.journal.records import RunLog
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.render.picture_style import PictureStyle
from graphorch.runs.drawing.run_picture import draw_run_svg
from graphorch.trace.analysis.critical_path import find_critical_path
from tests.golden.event_flows import EVENT_RUNS, Acts, Payment, event_flow, undo_flow
from tests.golden.flows import (
    FLOWS,
    Answering,
    State,
    Verdict,
    gated,
    last,
    split,
    step,
    to_the_end,
)
from tests.golden.pattern_flows import PATTERNS, Model, sorted_requests, to_the_end_of
from tests.golden.tool_flows import TOOL_RUNS, Caller, World, tool_flow
from tests.golden.wide_flows import AT_ONCE, WIDE_RUNS, Desk, wide_flow

FORMATS = sorted(
    Path(__file__).parent.glob("format_*"), key=lambda folder: int(folder.name.partition("_")[2])
)
GOLDEN = [
    pytest.param(folder, name, id=f"{folder.name}-{name}") for folder in FORMATS for name in FLOWS
]
PATTERN_RUNS = [
    pytest.param(folder, name, id=f"{folder.name}-{name}")
    for folder in FORMATS
    for name in PATTERNS
]
# Calls of tools have records from format 5 on.
WITH_TOOLS = [folder for folder in FORMATS if int(folder.name.partition("_")[2]) >= 5]
WITH_EVENTS = [folder for folder in FORMATS if int(folder.name.partition("_")[2]) >= 6]
WITH_WIDTH = [folder for folder in FORMATS if int(folder.name.partition("_")[2]) >= 7]
STATUS = {"finished": "succeeded", "waiting": "waiting", "failed": "failed", "crashed": "running"}


@pytest.fixture
def copy(tmp_path: Path) -> Any:
    """Return a function that copies a golden journal, so that the original stays what it is."""
    return lambda folder, name: Path(
        shutil.copyfile(folder / f"{name}.golden", tmp_path / f"{name}.sqlite")
    )


def expected(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "expected.json").read_text())[name]


async def loaded(path: Path, run_id: str) -> RunLog:
    store = await SqliteStore.open(path)
    try:
        return await store.load(run_id)
    finally:
        await store.close()


def test_every_format_has_golden_journals() -> None:
    """A golden journal of every kind exists for every format."""
    assert FORMATS
    for folder in FORMATS:
        files = {path.name: path.stat().st_size for path in folder.glob("*.golden")}
        patterns = {f"{name}{suffix}.golden" for name in PATTERNS for suffix in ("", ".crashed")}
        tools = {f"{name}.golden" for name in TOOL_RUNS} if folder in WITH_TOOLS else set[str]()
        events = {f"{name}.golden" for name in EVENT_RUNS} if folder in WITH_EVENTS else set[str]()
        wide = {f"{name}.golden" for name in WIDE_RUNS} if folder in WITH_WIDTH else set[str]()
        assert set(files) == {f"{name}.golden" for name in FLOWS} | patterns | tools | events | wide
        assert max(files.values()) < 200_000


@pytest.mark.parametrize("folder, name", GOLDEN)
def test_golden_journal_keeps_its_fingerprint(folder: Path, name: str, copy: Any) -> None:
    """A golden journal is read, and its flow still draws the graph that it drew."""
    log = asyncio.run(loaded(copy(folder, name), name))
    assert (log.head.status, log.head.tags) == (STATUS[name], {"kind": "golden"})
    assert log.head.fingerprint == compute_fingerprint(FLOWS[name]().plan, log.head.format)
    assert log.head.last_seq == len(log.records)


TOLD = {
    "finished": ("succeeded", ""),
    "waiting": ("waiting", "ask asks: Publish tides and harbours?"),
    "failed": ("failed", "fragile failed: OSError: the disk is not there"),
    "crashed": ("crashed", "not reached: last"),
}


@pytest.mark.parametrize("folder, name", GOLDEN)
def test_golden_run_has_picture(folder: Path, name: str, copy: Any) -> None:
    """A golden run is drawn with how it ended, and has a critical path within its time."""
    log, plan = asyncio.run(loaded(copy(folder, name), name)), FLOWS[name]().plan
    replayed = rebuild(plan, name, log.records)
    style = PictureStyle("light", "builtin")
    svg = draw_run_svg(replayed.build_report(0.0), style, is_lost=name == "crashed")
    status, remark = TOLD[name]
    assert f">{status}" in svg
    assert remark in svg
    path = find_critical_path(replayed.run, 0.0, replayed.concurrency)
    assert 0 < path.seconds <= path.busy


@pytest.mark.parametrize("folder, name", GOLDEN)
def test_golden_run_is_followed(folder: Path, name: str, copy: Any) -> None:
    """Followers read the events of a golden run: each node that was done was committed."""
    log, plan = asyncio.run(loaded(copy(folder, name), name)), FLOWS[name]().plan
    reader = EventReader(plan, name)
    events = [event for record in log.records for event in reader.read(record)]
    done = [item.path for item in reader.replayed.run.history if item.status is Status.DONE]
    assert [event.path for event in events if isinstance(event, Committed)] == done
    ends = [event.status for event in events if isinstance(event, Ended)]
    assert ends == ([] if name == "crashed" else [log.head.status])


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_finished_golden_run_replays(folder: Path, copy: Any) -> None:
    """A golden run that finished is replayed to its recorded state."""
    result = asyncio.run(FLOWS["finished"]().replay("finished", durable=copy(folder, "finished")))
    assert result.state.model_dump(mode="json") == expected(folder, "finished")
    assert result.cost == 0.25


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_unfinished_golden_run_replays(folder: Path, copy: Any) -> None:
    """A golden run that failed or waits is replayed as it was."""
    with pytest.raises(RunFailed, match="failed") as caught:
        asyncio.run(FLOWS["failed"]().replay("failed", durable=copy(folder, "failed")))
    assert "OSError: the disk is not there" in str(caught.value) or "the disk is not there" in str(
        caught.value
    )
    waits = asyncio.run(FLOWS["waiting"]().replay("waiting", durable=copy(folder, "waiting")))
    assert [question.text for question in waits.questions] == ["Publish tides and harbours?"]


@pytest.mark.parametrize("folder, name", GOLDEN)
def test_golden_run_resumes(folder: Path, name: str, copy: Any) -> None:
    """A golden run is resumed and ends like an undisturbed run."""
    flow, path, client = FLOWS[name](), copy(folder, name), Answering()
    state: State = asyncio.run(to_the_end(flow, name, durable=path, client=client))
    assert state.model_dump(mode="json") == expected(folder, name)
    assert client.calls == (1 if name == "crashed" else 0)  # what was paid for is not bought again
    again = asyncio.run(flow.replay(name, durable=path))
    assert again.state == state


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_golden_run_is_forked(folder: Path, copy: Any) -> None:
    """A golden run can be forked."""
    again = asyncio.run(
        FLOWS["finished"]().rerun(
            "finished", start="last", durable=copy(folder, "finished"), client=Answering()
        )
    )
    assert again.difference.fields == {}


@pytest.mark.parametrize("folder, name", PATTERN_RUNS)
def test_golden_pattern_keeps_its_fingerprint(folder: Path, name: str, copy: Any) -> None:
    """A pattern draws the graph that it drew when the journal was written."""
    for file in (name, f"{name}.crashed"):
        log = asyncio.run(loaded(copy(folder, file), name))
        assert log.head.fingerprint == compute_fingerprint(PATTERNS[name]().plan, log.head.format)


@pytest.mark.parametrize("folder, name", PATTERN_RUNS)
def test_golden_pattern_replays(folder: Path, name: str, copy: Any) -> None:
    """A replay of a finished pattern runs no node and ends in the recorded state."""
    result = asyncio.run(PATTERNS[name]().replay(name, durable=copy(folder, name)))
    assert result.status == ("waiting" if name == "evaluator_loop" else "succeeded")
    if result.status == "succeeded":
        assert result.state.model_dump(mode="json") == expected(folder, name)


@pytest.mark.parametrize("folder, name", PATTERN_RUNS)
def test_golden_crashed_pattern_resumes(folder: Path, name: str, copy: Any) -> None:
    """A run that died at a model call ends like an undisturbed one, and asks nothing twice."""
    path, model = copy(folder, f"{name}.crashed"), Model()
    recorded = sum(record.kind == "call" for record in asyncio.run(loaded(path, name)).records)
    state = asyncio.run(to_the_end_of(PATTERNS[name](), name, durable=path, client=model))
    assert state.model_dump(mode="json") == expected(folder, name)
    asked = json.loads((folder / "requests.json").read_text())[name]
    assert len(model.requests) == len(asked) - recorded
    assert all(request in asked for request in sorted_requests(model))


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_requests_stay(name: str) -> None:
    """What patterns and agents send to a model stays byte for byte: prompts, schemas and tools."""
    model = Model()
    asyncio.run(to_the_end_of(PATTERNS[name](), name, client=model))
    assert sorted_requests(model) == json.loads((FORMATS[-1] / "requests.json").read_text())[name]


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_golden_run_migrates_in_its_format(folder: Path, copy: Any) -> None:
    """A changed graph that resumes a run marks it with its fingerprint of the run's own format."""
    old = FLOWS["waiting"]().plan
    path, version = copy(folder, "waiting"), int(folder.name.removeprefix("format_"))
    graph = Graph("renamed", State)
    ask: Any = graph.ask("ask", question=lambda s: f"Publish {s.topic}?", answer=Verdict)
    graph.chain(split, [ask, step], gated, last)
    graph.migration(from_=compute_fingerprint(old, version), change=lambda record: record)
    flow = graph.build()

    state = asyncio.run(to_the_end(flow, "waiting", durable=path))
    assert state.model_dump(mode="json") == expected(folder, "waiting")
    marks = [
        record.body
        for record in asyncio.run(loaded(path, "waiting")).records
        if record.kind == "migrated"
    ]
    assert marks == [{"to": compute_fingerprint(flow.plan, version)}]
    assert asyncio.run(flow.replay("waiting", durable=path)).state == state


# ---- calls of tools ------------------------------------------------------------------------------
@pytest.mark.parametrize("folder", WITH_TOOLS, ids=lambda folder: folder.name)
def test_waiting_call_of_golden_run_is_approved(folder: Path, copy: Any) -> None:
    """A golden run that waits for the approval of a call goes on, and acts once."""
    path, world, model = copy(folder, "tools.waiting"), World(), Caller()

    async def main() -> str:
        flow = tool_flow(world)
        waits = await flow.replay("tools.waiting", durable=path)
        yes = ToolApproval(approved=True)
        (question,) = waits.questions
        done = await flow.answer("tools.waiting", question, yes, durable=path, client=model)
        return f"{question.path}: {done.output.reply}"

    assert asyncio.run(main()) == "settle/r1/refund#2: It is settled."
    assert (world.acts, len(model.asked)) == (["refund 250", "send done"], 2)


@pytest.mark.parametrize("folder", WITH_TOOLS, ids=lambda folder: folder.name)
def test_changed_call_of_golden_run_replays(folder: Path, copy: Any) -> None:
    """A golden run in which a person changed a call is replayed without calling anything."""
    world = World()
    replay = tool_flow(world).replay("tools.changed", durable=copy(folder, "tools.changed"))
    assert asyncio.run(replay).output.reply == "It is settled."
    assert world.acts == []


@pytest.mark.parametrize("folder", WITH_TOOLS, ids=lambda folder: folder.name)
def test_killed_call_of_golden_run_is_in_doubt(folder: Path, copy: Any) -> None:
    """A golden run that died in a call which acts once is ambiguous, and repeats it on demand."""
    path, world, model = copy(folder, "tools.crashed"), World(), Caller()
    options: Any = {"durable": path, "client": model}

    async def main() -> str:
        flow = tool_flow(world)
        with pytest.raises(RunFailed) as caught:
            await flow.resume("tools.crashed", **options)
        assert "settle/r2/send#0" in str(caught.value)
        assert world.acts == []
        return (await flow.resume("tools.crashed", ambiguous="repeat", **options)).output.reply

    assert asyncio.run(main()) == "It is settled."
    assert (world.acts, len(model.asked)) == (["send done"], 1)


# ---- what waits for events, and what undoes ------------------------------------------------------
@pytest.mark.parametrize("folder", WITH_EVENTS, ids=lambda folder: folder.name)
def test_waiting_golden_run_takes_signals(folder: Path, copy: Any) -> None:
    """A golden run that waits for events goes on with the first, and takes the signal it kept."""
    path = copy(folder, "events.waiting")

    async def main() -> Any:
        flow = event_flow()
        waits = await flow.replay("events.waiting", durable=path)
        assert [wait.path for wait in waits.waits] == ["paid", "later"]
        assert [question.path for question in waits.questions] == ["approve"]
        return await flow.send("events.waiting", "paid", Payment(amount=5), durable=path)

    done = asyncio.run(main()).output.done
    assert done == ["4 parts", "packed", "labelled", "shipped to Main Street for 5"]


@pytest.mark.parametrize("folder", WITH_EVENTS, ids=lambda folder: folder.name)
def test_finished_golden_run_with_events_replays(folder: Path, copy: Any) -> None:
    """A golden run with signals, a map that grew and exclusive nodes is replayed to its result."""
    replay = event_flow().replay("events.finished", durable=copy(folder, "events.finished"))
    done = asyncio.run(replay).output.done
    assert done == ["4 parts", "packed", "labelled", "shipped to Main Street for 3"]


@pytest.mark.parametrize("folder", WITH_EVENTS, ids=lambda folder: folder.name)
def test_killed_golden_run_undoes_the_rest(folder: Path, copy: Any) -> None:
    """A golden run that died while it undid its work undoes what is left, and is cancelled."""
    path, acts = copy(folder, "undo.crashed"), Acts()

    async def main() -> str:
        with pytest.raises(RunFailed) as caught:
            await undo_flow().resume("undo.crashed", durable=path, resources=acts)
        return str(caught.value)

    assert "was cancelled (compensated after 'pay' failed" in asyncio.run(main())
    assert acts.done == ["cancelled after hotel"]


# ---- maps that were wider than in a plain process ------------------------------------------------
@pytest.mark.parametrize("folder", WITH_WIDTH, ids=lambda folder: folder.name)
def test_wide_golden_run_replays(folder: Path, copy: Any) -> None:
    """A golden run whose place offered more items at once is replayed to its result."""
    path = copy(folder, "wide.finished")
    records = asyncio.run(loaded(path, "wide.finished")).records
    widths = [record.body["at_once"] for record in records if record.kind == "entered"]
    assert widths == [AT_ONCE]
    result = asyncio.run(wide_flow().replay("wide.finished", durable=path))
    assert result.output.squares == [0, 1, 4, 9, 16]
    done = sum(record.kind == "commit" for record in records)
    assert done > 5 + USUAL_CONCURRENCY  # those that had begun have finished


@pytest.mark.parametrize("folder", WITH_WIDTH, ids=lambda folder: folder.name)
def test_killed_wide_golden_run_resumes(folder: Path, copy: Any) -> None:
    """A golden run that died in a wide map goes on in a plain process, as wide as it began."""
    path, desk = copy(folder, "wide.crashed"), Desk()

    async def main() -> list[int]:
        done = await wide_flow().resume("wide.crashed", durable=path, resources=desk)
        again = await wide_flow().replay("wide.crashed", durable=path)
        assert again.output == done.output
        return done.output.squares

    squares = asyncio.run(main())
    assert len(squares) == 5
    assert len(desk.squared) > USUAL_CONCURRENCY
