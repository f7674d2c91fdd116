"""Runs rebuilt from their records: the same run again, and the first record that does not fit is named."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest

from graphorch import JournalError, ReplayDiverged, RunFailed
from graphorch.core.invariants import check_invariants
from graphorch.engine.replay import RecordedError, has_crashed, rebuild, verify
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.testing.virtual_clock import run_virtual
from tests.scenarios.flows import FLOWS, Ledger, State


def recorded(name: str) -> tuple[Any, list[Record]]:
    """A flow's plan, and what a run of it wrote down."""

    async def main() -> tuple[Any, list[Record]]:
        flow, store = FLOWS[name](), MemoryStore(clock=lambda: asyncio.get_running_loop().time())
        with contextlib.suppress(RunFailed):
            await flow.run(State(), run_id="r", durable=store, resources=Ledger())
        return flow.plan, list((await store.load("r")).records)

    return run_virtual(main())


def values_of(rebuilt: Any, plan: Any) -> Any:
    output = rebuilt.run.root.output
    return None if output is None else plan.read_state.result(output).model_dump()


def changed(records: list[Record], kind: str, **body: Any) -> list[Record]:
    """The records, the first of a kind with something else in it."""
    number = next(index for index, record in enumerate(records) if record.kind == kind)
    return [
        *records[:number],
        replace(records[number], body={**records[number].body, **body}),
        *records[number + 1 :],
    ]


def diverges(plan: Any, records: list[Record], read: Any = rebuild) -> str:
    with pytest.raises(ReplayDiverged) as caught:
        read(plan, "r", records)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_a_run_is_the_same_run_again_by_either_way(name: str) -> None:
    plan, records = recorded(name)
    once, again = rebuild(plan, "r", records), verify(plan, "r", records)
    assert once.run.status == again.run.status == records[-1].body["status"]
    assert values_of(once, plan) == values_of(again, plan)
    assert once.last_seq == records[-1].seq
    check_invariants(once.run)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_every_beginning_of_a_record_is_a_run_that_could_have_been_there(name: str) -> None:
    plan, records = recorded(name)
    committed = 0
    for record in records:
        rebuilt = rebuild(plan, "r", records, until=record.seq)
        check_invariants(rebuilt.run)
        assert rebuilt.last_seq == record.seq
        assert rebuilt.run.started >= committed
        committed = rebuilt.run.started
    assert not has_crashed(rebuild(plan, "r", records))


def test_a_run_that_was_under_way_when_its_records_end_has_crashed() -> None:
    plan, records = recorded("chain")
    rebuilt = rebuild(plan, "r", records, until=2)
    assert has_crashed(rebuilt)
    assert [activation.path for activation in rebuilt.unfinished()] == ["b"]


def test_what_a_node_raised_comes_back_as_its_kind_and_message() -> None:
    plan, records = recorded("rescued")
    failed = next(record for record in records if record.kind == "failed")
    rebuilt = rebuild(plan, "r", records, until=failed.seq)
    errors = [
        token.failure
        for activation in rebuilt.unfinished()
        for token in activation.tokens
        if token.failure is not None
    ]
    assert [(type(error), error.kind, str(error)) for error in errors] == [
        (RecordedError, failed.body["error"], failed.body["message"])
    ]


def test_an_attempt_that_began_and_never_said_how_it_ended_is_unsure_until_it_commits() -> None:
    plan, records = recorded("chain")
    commit = records[2]
    where = {key: commit.body[key] for key in ("path", "id")}
    begun = [*records[:2], Record(3, "starting", {**where, "attempt": 1})]
    assert list(rebuild(plan, "r", begun).in_doubt) == [commit.body["path"]]
    assert rebuild(plan, "r", [*begun, replace(commit, seq=4)]).in_doubt == {}


# ---- what does not fit ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body, told",
    [
        (
            {"path": "nowhere"},
            "Record 2 (commit): 'nowhere' is not open at this point. The flow is not the one that wrote the record.",
        ),
        (
            {"id": "0" * 32},
            "the record is about 00000000000000000000000000000000. The flow is not the one that wrote it.",
        ),
        ({"update": []}, "A stored update is a list"),
    ],
)
def test_a_record_of_another_run_or_flow_is_named(body: dict[str, Any], told: str) -> None:
    plan, records = recorded("chain")
    with pytest.raises((ReplayDiverged, JournalError)) as caught:
        rebuild(plan, "r", changed(records, "commit", **body))
    assert told in str(caught.value)


@pytest.mark.parametrize("key", ["path", "id", "at", "began", "update"])
def test_a_commit_that_lacks_something_is_damage(key: str) -> None:
    plan, records = recorded("chain")
    short = [
        replace(record, body={name: value for name, value in record.body.items() if name != key})
        if record.seq == 2
        else record
        for record in records
    ]
    assert (
        diverges(plan, short)
        == f"Record 2 (commit) does not hold what it should: KeyError('{key}'). The journal is damaged."
    )


@pytest.mark.parametrize("kind", ["commits", "take", "rebuilt", "__init__", ""])
def test_an_unknown_kind_of_record_is_refused_whatever_it_is_called(kind: str) -> None:
    plan, records = recorded("chain")
    told = diverges(plan, [records[0], replace(records[1], kind=kind)])
    assert (
        told
        == f"Record 2 is of the unknown kind '{kind}'. It was written by another version of graphorch, or is damaged."
    )


def test_a_body_that_is_no_object_is_refused() -> None:
    plan, records = recorded("chain")
    assert diverges(plan, [replace(records[0], body=[1])]).startswith(
        "Record 1 is of the unknown kind 'started'"
    )


def test_a_missing_record_is_noticed_at_the_next_one_that_needs_it() -> None:
    plan, records = recorded("chain")
    assert "is not open at this point" in diverges(plan, [records[0], *records[2:]])


def test_a_run_that_ended_otherwise_than_its_record_says_is_noticed() -> None:
    plan, records = recorded("chain")
    assert diverges(plan, [*records[:3], replace(records[-1], seq=4)]) == (
        "Record 4 (ended): The record says that the run is succeeded here, and it is running."
    )


# ---- what the pure functions say again -----------------------------------------------------------
def test_a_selector_that_changed_its_mind_is_named_with_both_ways() -> None:
    plan, records = recorded("routes")
    number = next(index for index, item in enumerate(records) if "route" in item.body)
    record = records[number]
    edges = plan.topology.edges
    other = next(
        edge.index
        for edge in edges
        if edge.kind == "routed" and edge.index not in record.body["route"]["edges"]
    )
    moved = [
        *records[:number],
        replace(record, body={**record.body, "route": {**record.body["route"], "edges": [other]}}),
    ]
    rebuild(plan, "r", moved)  # whoever only rebuilds takes the record's word
    assert (
        f"Record {record.seq} (routed): the route of '{record.body['path']}' went to '{plan.steps[edges[other].target].name}', and now goes to '"
        in diverges(plan, moved, verify)
    )


@pytest.mark.parametrize(
    "name, kind, field, told",
    [
        ("mapped", "entered", "items", "what goes into it was"),
        ("sub_flows", "entered", "items", "what goes into it was"),
    ],
)
def test_other_items_than_were_written_down_are_named(
    name: str, kind: str, field: str, told: str
) -> None:
    plan, records = recorded(name)
    moved = changed(records, kind, **{field: []})
    assert told in diverges(plan, moved, verify)


def test_another_result_of_leave_than_was_written_down_is_named() -> None:
    plan, records = recorded("sub_flows")
    number = next(
        index
        for index, record in enumerate(records)
        if record.kind == "commit" and record.body["path"] == "team"
    )
    moved = [
        *records[:number],
        replace(records[number], body={**records[number].body, "update": {"log": ["other"]}}),
    ]
    assert "'team': what comes out of it was {'log': ['other']}, and is {'log': ['" in diverges(
        plan, moved, verify
    )
