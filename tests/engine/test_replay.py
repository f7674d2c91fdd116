"""Runs rebuilt from their records: equal to the original, or the first misfit is named."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest

from graphorch import JournalError, ReplayDiverged, RunFailed
from graphorch.core.invariants import check_invariants
from graphorch.engine.replay import RecordedError, has_crashed, rebuild, verify
from graphorch.journal.errors import JournalDamaged
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.testing.virtual_clock import run_virtual
from graphorch.text import name_error
from tests.scenarios.flows import FLOWS, Ledger, State


def recorded(name: str) -> tuple[Any, list[Record]]:
    """Return the plan of a flow, and the records of a run of it."""

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
    """Return the records, with other values in the first of a kind."""
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
def test_replay_restores_run(name: str) -> None:
    """Both `rebuild` and `verify` restore the run."""
    plan, records = recorded(name)
    once, again = rebuild(plan, "r", records), verify(plan, "r", records)
    assert once.run.status == again.run.status == records[-1].body["status"]
    assert values_of(once, plan) == values_of(again, plan)
    assert once.last_seq == records[-1].seq
    check_invariants(once.run)


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_prefix_of_records_is_run(name: str) -> None:
    """Every prefix of the records rebuilds a valid run."""
    plan, records = recorded(name)
    committed = 0
    for record in records:
        rebuilt = rebuild(plan, "r", records, until=record.seq)
        check_invariants(rebuilt.run)
        assert rebuilt.last_seq == record.seq
        assert rebuilt.run.started >= committed
        committed = rebuilt.run.started
    assert not has_crashed(rebuild(plan, "r", records))


def test_unfinished_records_mean_crash() -> None:
    plan, records = recorded("chain")
    rebuilt = rebuild(plan, "r", records, until=2)
    assert has_crashed(rebuilt)
    assert [activation.path for activation in rebuilt.unfinished()] == ["b"]


def test_failure_restores_kind_and_message() -> None:
    plan, records = recorded("rescued")
    failed = next(record for record in records if record.kind == "failed")
    rebuilt = rebuild(plan, "r", records, until=failed.seq)
    errors = [
        token.failure
        for activation in rebuilt.unfinished()
        for token in activation.tokens
        if token.failure is not None
    ]
    assert [(type(error), name_error(error), str(error)) for error in errors] == [
        (RecordedError, failed.body["error"], failed.body["message"])
    ]


def test_started_attempt_is_in_doubt() -> None:
    """Started attempts are in doubt until their commit."""
    plan, records = recorded("chain")
    commit = records[2]
    where = {key: commit.body[key] for key in ("path", "id")}
    begun = [*records[:2], Record(3, "starting", {**where, "attempt": 1})]
    assert list(rebuild(plan, "r", begun).in_doubt) == [commit.body["path"]]
    assert rebuild(plan, "r", [*begun, replace(commit, seq=4)]).in_doubt == {}


# ---- what does not fit ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body, message",
    [
        (
            {"path": "nowhere"},
            "Record 2 (commit): 'nowhere' is not open at this point. "
            "The flow is not the one that wrote the record.",
        ),
        (
            {"id": "0" * 32},
            "the record is about 00000000000000000000000000000000. "
            "The flow is not the one that wrote it.",
        ),
        ({"update": []}, "'update': input should be a valid dictionary"),
    ],
)
def test_foreign_record_is_named(body: dict[str, Any], message: str) -> None:
    """Records of another run or flow do not fit."""
    plan, records = recorded("chain")
    with pytest.raises((ReplayDiverged, JournalError)) as caught:
        rebuild(plan, "r", changed(records, "commit", **body))
    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["path", "id", "at", "began", "update"])
def test_incomplete_commit_is_damage(key: str) -> None:
    plan, records = recorded("chain")
    short = [
        replace(record, body={name: value for name, value in record.body.items() if name != key})
        if record.seq == 2
        else record
        for record in records
    ]
    with pytest.raises(JournalDamaged) as caught:
        rebuild(plan, "r", short)
    assert caught.value.seq == 2
    assert str(caught.value) == (
        f"Run 'r', record 2: it is not what a 'commit' record holds: '{key}': field required. "
        "Restore it from a copy; nothing was changed."
    )


@pytest.mark.parametrize("kind", ["commits", "take", "rebuilt", "__init__", ""])
def test_unknown_kind_is_refused(kind: str) -> None:
    """Unknown kinds are refused, also those that are names of methods."""
    plan, records = recorded("chain")
    with pytest.raises(JournalDamaged) as caught:
        rebuild(plan, "r", [records[0], replace(records[1], kind=kind)])
    assert f"Run 'r', record 2: it is of the unknown kind '{kind}'." in str(caught.value)


def test_body_must_be_object() -> None:
    plan, records = recorded("chain")
    with pytest.raises(JournalDamaged, match="input should be a valid dictionary"):
        rebuild(plan, "r", [replace(records[0], body=[1])])


def test_missing_record_is_noticed() -> None:
    """Missing records are noticed at the next record that needs them."""
    plan, records = recorded("chain")
    assert "is not open at this point" in diverges(plan, [records[0], *records[2:]])


def test_different_end_is_noticed() -> None:
    plan, records = recorded("chain")
    assert diverges(plan, [*records[:3], replace(records[-1], seq=4)]) == (
        "Record 4 (ended): The record says that the run is succeeded here, and it is running."
    )


# ---- what the pure functions say again -----------------------------------------------------------
def test_verify_names_changed_route() -> None:
    """Name the old and the new targets of a changed route."""
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
    rebuild(plan, "r", moved)  # a mere rebuild trusts the record
    path, target = record.body["path"], plan.steps[edges[other].target].name
    message = (
        f"Record {record.seq} (routed): the route of '{path}' went to '{target}', and now goes to '"
    )
    assert message in diverges(plan, moved, verify)


@pytest.mark.parametrize(
    "name, kind, field, message",
    [
        ("mapped", "entered", "items", "what goes into it was"),
        ("sub_flows", "entered", "items", "what goes into it was"),
    ],
)
def test_verify_names_changed_items(name: str, kind: str, field: str, message: str) -> None:
    plan, records = recorded(name)
    moved = changed(records, kind, **{field: []})
    assert message in diverges(plan, moved, verify)


def test_verify_names_changed_result() -> None:
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
