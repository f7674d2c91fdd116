"""A run of an older graph continues with the changed one, through a function over its records."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, create_model

from graphorch import (
    Ask,
    Flow,
    Graph,
    GraphError,
    InputError,
    JournalError,
    RunFailed,
    append,
    node,
)
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.chain_key import VARIABLE
from graphorch.journal.errors import WrongKey
from graphorch.journal.memory import MemoryStore
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore


class Number(BaseModel):
    n: int = 0


class Amount(BaseModel):
    amount: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Choice(BaseModel):
    approved: bool = False


class Extra(BaseModel):
    extra: str = "none"


class Old(Number, Log, Choice): ...


class Renamed(Amount, Log, Choice): ...


class Wider(Number, Log, Choice, Extra): ...


AnyFlow = Flow[Any, Any, Any]
Body = dict[str, Any]
ran: list[str] = []


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


@pytest.fixture(autouse=True)
def forget() -> None:
    ran.clear()


@node
def up(number: Number) -> tuple[Number, Log]:
    ran.append("up")
    return Number(n=number.n + 1), Log(log=[f"up {number.n}"])


@node
def end(number: Number, choice: Choice) -> Log:
    ran.append("end")
    return Log(log=[f"end {number.n} {choice.approved}"])


def build_graph(
    state: Any, first: Any = up, last: Any = end, question: str = "ask"
) -> Graph[Any, Any, Any]:
    graph: Graph[Any, Any, Any] = Graph("g", state)
    ask: Ask[Any, Choice] = graph.ask(question, question=lambda s: "go on?", answer=Choice)
    return graph.chain(first, ask, last)


OLD = compute_fingerprint(build_graph(Old).build().plan)


async def waiting(store: MemoryStore) -> AnyFlow:
    flow = build_graph(Old).build()
    assert (await flow.run(Old(n=1), durable=store, run_id="r")).status == "waiting"
    return flow


def renamed_node(record: Body) -> Body:
    if "path" in record:
        record["path"] = {"up": "advance", "ask": "sign_off"}.get(record["path"], record["path"])
    return record


def test_renamed_nodes_keep_ids() -> None:
    """A renamed node and a renamed question continue with their ids."""
    changed = (
        build_graph(Old, up.named("advance"), question="sign_off")
        .migration(from_=OLD, change=renamed_node)
        .build()
    )

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        before = [
            record.body.get("id")
            for record in (await store.load("r")).records
            if record.kind in ("commit", "asked")
        ]
        result = await changed.answer("r", "sign_off", Choice(approved=True), durable=store)
        assert result.state.log == ["up 1", "end 2 True"]
        assert ran == ["up", "end"]
        assert [step.path for step in result.steps][:3] == ["advance", "sign_off", "end"]
        assert [step.activation for step in result.steps][:2] == before
        again = await changed.replay("r", durable=store)
        assert [step.activation for step in again.steps] == [
            step.activation for step in result.steps
        ]
        assert again.state == result.state

    run(main())


def test_renamed_field_keeps_value() -> None:
    """A migration renames the field in every record."""

    @node(name="up")
    def up_now(amount: Amount) -> tuple[Amount, Log]:
        raise AssertionError("it was committed already")

    @node(name="end")
    def end_now(amount: Amount, choice: Choice) -> Log:
        return Log(log=[f"end {amount.amount}"])

    def change(record: Body) -> Body:
        for part in ("input", "update"):
            if "n" in record.get(part, {}):
                record[part]["amount"] = record[part].pop("n")
        return record

    changed = build_graph(Renamed, up_now, end_now).migration(from_=OLD, change=change).build()

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        result = await changed.answer("r", "ask", Choice(approved=True), durable=store)
        assert (result.state.amount, result.state.log) == (2, ["up 1", "end 2"])

    run(main())


def test_new_field_takes_default() -> None:
    """The migration may return the records unchanged."""

    @node(name="end")
    def end_now(extra: Extra) -> Log:
        return Log(log=[f"end {extra.extra}"])

    changed = (
        build_graph(Wider, last=end_now).migration(from_=OLD, change=lambda record: record).build()
    )

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        result = await changed.resume("r", durable=store)
        assert result.status == "waiting"
        result = await changed.answer("r", "ask", Choice(), durable=store)
        assert result.state.log == ["up 1", "end none"]

    run(main())


def test_migration_leaves_stored_records() -> None:
    """A mark names the graph that wrote what follows."""
    changed = (
        build_graph(Old, up.named("advance"), question="sign_off")
        .migration(from_=OLD, change=renamed_node)
        .build()
    )

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        before = (await store.load("r")).records
        await changed.answer("r", "sign_off", Choice(), durable=store)
        log = await store.load("r")
        assert log.records[: len(before)] == before
        mark = log.records[len(before)]
        assert (mark.kind, mark.body) == ("migrated", {"to": compute_fingerprint(changed.plan)})
        assert log.head.fingerprint == OLD

    run(main())


def test_two_migrations_are_chained() -> None:
    """Each segment is read through the migration of its own graph."""
    second = (
        build_graph(Old, up.named("advance"), question="sign_off")
        .migration(from_=OLD, change=renamed_node)
        .build()
    )
    middle = compute_fingerprint(second.plan)
    last_names = {"advance": "step", "up": "step", "ask": "confirm", "sign_off": "confirm"}

    def to_third(record: Body) -> Body:
        return (
            {**record, "path": last_names.get(record["path"], record["path"])}
            if "path" in record
            else record
        )

    third_graph = build_graph(Old, up.named("step"), question="confirm")

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        await second.resume("r", durable=store)
        half = (
            build_graph(Old, up.named("step"), question="confirm")
            .migration(from_=OLD, change=to_third)
            .build()
        )
        with pytest.raises(JournalError, match=f'graph.migration\\(from_="{middle}"'):
            await half.resume("r", durable=store)
        third = (
            third_graph.migration(from_=OLD, change=to_third)
            .migration(from_=middle, change=to_third)
            .build()
        )
        result = await third.answer("r", "confirm", Choice(approved=True), durable=store)
        assert result.state.log == ["up 1", "end 2 True"]
        assert (await third.replay("r", durable=store)).state == result.state

    run(main())


def test_migrated_run_can_be_forked() -> None:
    """It can also be followed by a next turn."""
    graph = Graph("g", Old, remember=[Number, Log])
    ask: Ask[Old, Choice] = graph.ask("sign_off", question=lambda s: "go on?", answer=Choice)
    changed = (
        graph.chain(up.named("advance"), ask, end).migration(from_=OLD, change=renamed_node).build()
    )

    async def main() -> None:
        store = MemoryStore()
        old = await waiting(store)
        await old.answer("r", "ask", Choice(approved=True), durable=store)
        head = (await store.load("r")).head
        assert (await changed.resume("r", durable=store)).state.log == ["up 1", "end 2 True"]
        assert (await store.load("r")).head == head  # a run that is over is only read
        again = await changed.rerun("r", start="end", durable=store)
        assert again.difference.fields == {}
        assert (
            await changed.replay(again.result.run_id, durable=store)
        ).state == again.result.state
        turn = await changed.run(Old(), durable=store, after="r")
        assert (turn.status, ran) == ("waiting", ["up", "end", "end", "up"])

    run(main())


def test_migration_may_drop_record() -> None:
    """A migration that returns None leaves the record out."""

    class Fewer(Number, Log, Choice): ...

    def change(record: Body) -> Body | None:
        return None if record["kind"] in ("asked", "ended") else record

    changed = Graph("g", Fewer).chain(up, end).migration(from_=OLD, change=change).build()

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        result = await changed.resume("r", durable=store)
        assert (result.state.log, ran) == (["up 1", "end 2 False"], ["up", "end"])

    run(main())


@pytest.mark.parametrize(
    "change, says",
    [
        (
            lambda record: record["nothing"],
            r"The migration of record 1 \(started\) raised KeyError: 'nothing'",
        ),
        (lambda record: 3, "returned 3. Return the given dictionary"),
        (lambda record: {}, r"returned \{\}"),
        (lambda record: record, "is no node|not open|The flow is not the one"),
    ],
)
def test_failing_migration_is_named(change: Any, says: str) -> None:
    """The run stays as it was."""
    changed = (
        build_graph(Old, up.named("advance"), question="sign_off")
        .migration(from_=OLD, change=change)
        .build()
    )

    async def main() -> None:
        store = MemoryStore()
        await waiting(store)
        before = await store.load("r")
        with pytest.raises(Exception, match=says):
            await changed.resume("r", durable=store)
        after = await store.load("r")
        assert (after.records, after.head.status, after.head.lease) == (
            before.records,
            before.head.status,
            None,
        )

    run(main())


def test_wrong_fingerprint_does_not_build() -> None:
    """Neither does a second migration of one fingerprint."""
    graph = build_graph(Old).migration(from_="yesterday", change=lambda record: record)
    graph.migration(from_=OLD, change=lambda record: record).migration(
        from_=OLD, change=lambda record: record
    )
    with pytest.raises(GraphError) as caught:
        graph.build()
    assert [(problem.code, problem.what) for problem in caught.value.problems] == [
        ("MIGRATION_FROM", "it is not a fingerprint"),
        ("MIGRATION_FROM", "it is declared twice"),
    ]


def test_newer_format_is_refused() -> None:
    """The error asks to update graphorch."""
    flow = build_graph(Old).build()

    async def main() -> None:
        store = MemoryStore()
        await store.create(NewRun("r", "g", OLD, 99))
        with pytest.raises(
            JournalError, match=rf"written in format 99, this is format {FORMAT}\. Update graphorch"
        ):
            await flow.resume("r", durable=store)
        await store.create(NewRun("s", "g", OLD, FORMAT))
        with pytest.raises(InputError, match="its input was never written down"):
            await flow.resume("s", durable=store)

    run(main())


def test_changed_graph_resumes_failed_run() -> None:
    """The failed node runs again as the changed graph has it."""

    @node(name="end")
    def bad(number: Number) -> Log:
        raise ValueError("not yet")

    broken = Graph("g", Old).chain(up, bad).build()
    repaired = (
        Graph("g", Wider)
        .chain(up, end)
        .migration(from_=compute_fingerprint(broken.plan), change=lambda record: record)
        .build()
    )

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await broken.run(Old(), durable=store, run_id="r")
        assert (await repaired.resume("r", durable=store)).state.log == ["up 0", "end 1 False"]

    run(main())


def test_renamed_class_resumes_stored_run() -> None:
    """A run that waits is answered by a flow whose classes and docstrings have changed."""

    def build(name: str, doc: str) -> Flow[Any, Any, Any]:
        make: Any = create_model
        part = make(f"{name}Part", __doc__=doc, size=(int, 1))
        parts = make(f"{name}Parts", __doc__=doc, parts=(list[part], []))
        state = make(f"{name}State", __base__=(parts, Choice), __doc__=doc)

        def grow(read: Any) -> Any:
            return parts(parts=[*read.parts, part(size=2)])

        grow.__annotations__ = {"read": parts, "return": parts}
        first: Any = node(grow)
        graph: Any = Graph("g", state)
        ask = graph.ask("ask", question=lambda s: "go on?", answer=Choice)
        return graph.chain(first, ask, first.named("again")).build()

    async def resume() -> list[int]:
        store = MemoryStore()
        old, new = build("Old", "Before."), build("New", "After.")
        waiting = await old.run(old.plan.input(), run_id="r", durable=store)
        done = await new.answer("r", waiting.questions[0].id, Choice(approved=True), durable=store)
        return [part.size for part in done.state.parts]

    assert run(resume()) == [2, 2]


# ---- values that are more than JSON --------------------------------------------------------------
class Detail(BaseModel):
    when: datetime.datetime = datetime.datetime(2026, 1, 1)
    note: str = ""


class Before(BaseModel):
    detail: Detail = Detail()


class After(BaseModel):
    renamed: Detail = Detail()


class BeforeState(Number, Log, Choice, Before): ...


class AfterState(Number, Log, Choice, After): ...


def test_renamed_field_keeps_zone_and_unset_fields() -> None:
    """A migration that renames a field in `restore` as well gives back all of its value."""
    berlin = ZoneInfo("Europe/Berlin")

    @node(name="up")
    def note(number: Number) -> Before:
        return Before(detail=Detail(when=datetime.datetime(2026, 7, 1, tzinfo=berlin)))

    @node(name="end")
    def look(after: After) -> Log:
        detail = after.renamed
        return Log(log=[f"{detail.when.tzinfo} {sorted(detail.model_fields_set)}"])

    @node(name="up")
    def skip(number: Number) -> After:
        return After()

    def change(record: Body) -> Body:
        for part in ("input", "update", "restore"):
            if "detail" in (fields := record.get(part, {})):
                fields["renamed"] = fields.pop("detail")
        return record

    async def main() -> None:
        store = MemoryStore()
        old = build_graph(BeforeState, note)
        flow = old.build()
        await flow.run(BeforeState(), durable=store, run_id="r")
        fingerprint = compute_fingerprint(flow.plan)
        changed = build_graph(AfterState, skip, look).migration(from_=fingerprint, change=change)
        result = await changed.build().answer("r", "ask", Choice(approved=True), durable=store)
        assert result.output.log == ["Europe/Berlin ['when']"]

    run(main())


def test_keyed_run_stays_keyed_over_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed graph needs the key to read the run, and what it adds is made with the key."""
    changed = (
        build_graph(Old, up.named("advance"), question="sign_off")
        .migration(from_=OLD, change=renamed_node)
        .build()
    )
    path = str(tmp_path / "runs.db")

    async def main() -> None:
        monkeypatch.setenv(VARIABLE, "one key")
        await build_graph(Old).build().run(Old(n=1), durable=path, run_id="r")
        for other in ("another key", None):
            if other is None:
                monkeypatch.delenv(VARIABLE)
            else:
                monkeypatch.setenv(VARIABLE, other)
            with pytest.raises(WrongKey):
                await changed.answer("r", "sign_off", Choice(approved=True), durable=path)
        monkeypatch.setenv(VARIABLE, "one key")
        result = await changed.answer("r", "sign_off", Choice(approved=True), durable=path)
        assert result.state.log == ["up 1", "end 2 True"]
        assert (await changed.replay("r", durable=path)).state == result.state
        fork = await changed.fork("r", start="end", durable=path)
        store = await SqliteStore.open(path)
        logs = [await store.load(run_id) for run_id in ("r", fork)]
        await store.close()
        assert all(log.head.is_keyed for log in logs)
        assert "migrated" in [record.kind for record in logs[0].records]

    run(main())
