"""Altered journals: every reader answers with its result or with one typed error.

The chains of the altered runs are valid, as a person would make them who can write the file.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch import InternalError, JournalError, ReplayDiverged, RunFailed
from graphorch.engine.replay import rebuild
from graphorch.graph.plan import Plan
from graphorch.journal.errors import JournalDamaged
from graphorch.journal.record_kinds import RECORD_KINDS
from graphorch.journal.record_reader import read_body
from graphorch.journal.records import Record, RunLog
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.testing import run_virtual
from graphorch.trace import build_conversation
from tests.cli.shell import Shell
from tests.golden.flows import FLOWS
from tests.scenarios.hostile import (
    READERS,
    Case,
    alter,
    fill,
    list_cases,
    list_names,
    list_places,
    read,
)

NAMES = list_names()


def find_case(name: str) -> Case:
    case = list_cases()[NAMES.index(name)]
    assert case.name == name
    return case


def read_altered(reader: str, case: Case) -> None:
    """Let a reader read a case. A typed error is fine, unless it says that we have a bug."""
    error = run_virtual(read(reader, case))
    errors = [error, *error.exceptions] if isinstance(error, RunFailed) else [error]
    for item in errors:
        if isinstance(item, InternalError):
            raise item


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reader", ["replay", "show", "timeline", "conversation", "why", "stats"])
def test_unaltered_run_is_read(reader: str, name: str) -> None:
    """The cases themselves are read without an error, except for the failures that they hold."""
    error = run_virtual(read(reader, find_case(name)))
    assert error is None or isinstance(error, RunFailed)


@pytest.mark.parametrize("reader", READERS)
@given(st.sampled_from(NAMES), st.randoms(), st.integers(1, 2))
@settings(max_examples=8)
def test_altered_run_raises_typed_errors(
    reader: str, name: str, chance: random.Random, times: int
) -> None:
    """Values of other types, and records that are missing, doubled, moved or of another kind."""
    read_altered(reader, alter(find_case(name), chance, times))


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
@given(st.sampled_from(NAMES), st.randoms(), st.integers(1, 4))
@settings(max_examples=1_000)
def test_many_altered_runs_raise_typed_errors(
    reader: str, name: str, chance: random.Random, times: int
) -> None:
    """The test above with many more alterations."""
    read_altered(reader, alter(find_case(name), chance, times))


# ---- every field of every kind -------------------------------------------------------------------
def first_of_each_kind() -> dict[str, tuple[Case, int]]:
    """Return a case with a record of each kind, and the place of that record."""
    places: dict[str, tuple[Case, int]] = {}
    for case in list_cases():
        for index, record in enumerate(case.log.records):
            places.setdefault(record.kind, (case, index))
    return places


FIRST = first_of_each_kind()
TYPES: Sequence[Any] = (None, True, -3, 2**70, 1.5, "x", ["x"], {"x": 1})


def with_body(case: Case, index: int, body: Any) -> list[Record]:
    records = list(case.log.records)
    records[index] = replace(records[index], body=body)
    return records


@cache
def plan_of(case: Case) -> Plan:
    return case.build().plan


def read_records(case: Case, records: Sequence[Record]) -> list[str]:
    """Rebuild and show records; return the faults that the readers name."""
    head = case.log.head
    faults: list[str] = []
    try:
        rebuild(plan_of(case), head.run_id, records)
    except (ReplayDiverged, JournalError) as error:
        faults.append(str(error))
    conversation = build_conversation(head, records)
    assert str(conversation) is not None
    return faults + conversation.trace.faults


def test_cases_hold_all_kinds() -> None:
    """All kinds are altered but those that no flow of the cases writes."""
    assert RECORD_KINDS - FIRST.keys() == {"cancelled", "listed", "migrated"}


@pytest.mark.parametrize("kind", sorted(FIRST))
def test_every_field_has_every_type(kind: str) -> None:
    """Each top-level field of a kind is replaced by each kind of JSON value, and left out."""
    case, index = FIRST[kind]
    record = case.log.records[index]
    for key in record.body:
        for value in TYPES:
            read_records(case, with_body(case, index, {**record.body, key: value}))
        body = {name: value for name, value in record.body.items() if name != key}
        read_records(case, with_body(case, index, body))
    for value in TYPES:
        assert read_records(case, with_body(case, index, value)), "no reader names it"


@pytest.mark.parametrize("kind", sorted(FIRST))
def test_wrong_type_is_named_with_its_field(kind: str) -> None:
    """A field that is an object where a text or a number belongs is named with run and record."""
    case, index = FIRST[kind]
    record = case.log.records[index]
    for key, value in record.body.items():
        if not isinstance(value, str | int | float):
            continue
        broken = replace(record, body={**record.body, key: {"a": 1}})
        with pytest.raises(JournalDamaged) as caught:
            read_body("r", broken)
        assert f"Run 'r', record {record.seq}: " in str(caught.value)
        assert f"'{key}" in str(caught.value)
        assert caught.value.seq == record.seq


def test_unknown_field_is_left_alone() -> None:
    """A newer version may have added a field to a kind."""
    for case, index in FIRST.values():
        record = case.log.records[index]
        body = read_body("r", replace(record, body={**record.body, "new": 1}))
        assert body["new"] == 1


def test_places_inside_of_values_are_altered() -> None:
    """The alterations reach every place of a body."""
    assert list_places({"a": [1, {"b": 2}]}) == [
        (), ("a",), ("a", 0), ("a", 1), ("a", 1, "b"),
    ]  # fmt: skip


# ---- head and records ----------------------------------------------------------------------------
@pytest.mark.parametrize("reader", ["replay", "resume", "why", "cancel by flow"])
@pytest.mark.parametrize(
    ("name", "status", "kept", "message"),
    [
        ("finished", "succeeded", slice(3), "its head says that it is succeeded, its records"),
        ("waiting", "succeeded", slice(None), "its records that it is waiting"),
        ("crashed", "partial", slice(None), "its records that it is running"),
        ("fork", "running", slice(1), "no record holds the input that it began with"),
    ],
)
def test_head_that_records_do_not_lead_to_is_damage(
    reader: str, name: str, status: str, kept: slice, message: str
) -> None:
    """A run is over only if its records say so; a reader never believes the head alone."""
    case = find_case(name)
    head = replace(case.log.head, status=status)
    error = run_virtual(read(reader, replace(case, log=RunLog(head, case.log.records[kept]))))
    assert isinstance(error, JournalDamaged)
    assert message in str(error)


# ---- statistics over many runs -------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_tokens", "many"), ("input_tokens", -1.5), ("output_tokens", None),
        ("cached_tokens", []), ("is_estimated", "no"),
    ],
)  # fmt: skip
def test_run_of_wrong_type_is_left_out_of_all_commands(
    field: str,
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One run whose tokens are no number is named by `stats` and `heat`, which count the rest."""
    monkeypatch.chdir(tmp_path)
    case = find_case("finished")
    records = [
        replace(record, body={
            **record.body,
            "response": {
                **record.body["response"],
                "usage": {**record.body["response"]["usage"], field: value},
            },
        }) if record.kind == "call" else record
        for record in case.log.records
    ]  # fmt: skip
    broken = replace(case, log=RunLog(replace(case.log.head, run_id="broken"), tuple(records)))
    write_file(tmp_path / "graphorch.sqlite", case, broken)
    (tmp_path / "flow.py").write_text(
        "from tests.golden.flows import everything\nflow = everything()"
    )
    shell = Shell(tmp_path, capsys)
    for command in (["stats"], ["stats", "runs", "--format", "json"], ["heat", "flow.py"]):
        ended = shell(*command)
        assert ended.code == 0, ended.err
        assert "note: run broken is damaged and left out: Run 'broken', record" in ended.err
        assert f"'response.usage.{field}': input should be" in ended.err
        assert "half of a copy" not in ended.err
    assert '"runs":1' in shell("stats", "runs", "--format", "json").out.replace(" ", "")
    alone = shell("heat", "flow.py", "--run", "broken")
    assert alone.code == 2
    assert "record" in alone.err


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("change", [
    {"index": 0}, {"index": 2**70}, {"tool": "look"}, {"tool": "a/b#0"}, {"effect": "pure"},
    {"arguments": {}}, {"arguments": {"number": "x"}}, {"asks": False}, {"is_barrier": False},
])  # fmt: skip
def test_altered_call_raises_typed_errors(reader: str, change: dict[str, Any]) -> None:
    """Every reader answers a journal in which the calls of a round are others than were made."""
    for name in ("asked about tools", "half decided", "called tools", "killed in tool"):
        case = find_case(name)
        records = [
            replace(record, body={
                **record.body, "calls": [{**call, **change} for call in record.body["calls"]],
            }) if record.kind == "tools" else record
            for record in case.log.records
        ]  # fmt: skip
        read_altered(reader, replace(case, log=RunLog(case.log.head, tuple(records))))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("change", [
    {"key": ""}, {"key": "x:y:z"}, {"label": "a/b"}, {"label": ""}, {"calls": []},
    {"abandons": ["x"]}, {"abandons": ["x"] * 3}, {"path": "look#0"},
])  # fmt: skip
def test_altered_round_raises_typed_errors(reader: str, change: dict[str, Any]) -> None:
    """Every reader answers a journal with rounds under other names, or that withdraw others."""
    for name in ("asked about tools", "called tools", "killed in tool"):
        case = find_case(name)
        records = [
            replace(record, body={**record.body, **change}) if record.kind == "tools" else record
            for record in case.log.records
        ]
        read_altered(reader, replace(case, log=RunLog(case.log.head, tuple(records))))


def test_number_beyond_a_row_is_left_out() -> None:
    """A count of tokens that is whole, but larger than a row can hold, hides no other run."""
    case = find_case("finished")
    index = next(number for number, item in enumerate(case.log.records) if item.kind == "call")
    body = case.log.records[index].body
    usage = {**body["response"]["usage"], "input_tokens": 2**70}
    body = {**body, "response": {**body["response"], "usage": usage}}
    altered = replace(case, log=RunLog(case.log.head, tuple(with_body(case, index, body))))
    read_altered("stats", altered)


def write_file(path: Path, *cases: Case) -> None:
    async def write() -> None:
        store = await SqliteStore.open(path, sync="normal")
        for case in cases:
            await fill(store, case)
        await store.close()

    asyncio.run(write())


# ---- the command line ----------------------------------------------------------------------------
COMMANDS = [
    ["runs"], ["runs", "--json"], ["runs", "show", "RUN"], ["runs", "show", "RUN", "--json"],
    ["runs", "show", "RUN", "--records"], ["stats"], ["stats", "calls", "--by", "model,day"],
    ["stats", "errors", "--format", "csv"], ["stats", "loops", "--format", "json"],
    ["heat", "flow.py"], ["heat", "flow.py", "--run", "RUN", "--against", "beside"],
    ["timeline", "RUN"], ["conversation", "RUN"], ["conversation", "RUN", "--format", "json"],
    ["conversation", "RUN", "--diff", "beside"], ["why", "flow.py", "RUN"],
    ["why", "flow.py", "RUN", "last"], ["critical", "flow.py", "RUN"],
    ["replay", "flow.py", "RUN"], ["fork", "flow.py", "RUN", "--from", "split"],
    ["rerun", "flow.py", "RUN", "--from", "split"], ["resume", "flow.py", "RUN", "--json"],
    ["answer", "flow.py", "RUN", "ask", "yes"], ["runs", "cancel", "RUN", "--flow", "flow.py"],
    ["runs", "erase", "RUN"], ["runs", "show", "RUN"],
    ["runs", "prune", "--older-than", "1s", "--status", "failed"],
]  # fmt: skip


def call_all_commands(seed: int, shell: Shell) -> None:
    """Give an altered run to every command: one message, a documented code, and no traceback."""
    chance = random.Random(seed)
    case = alter(find_case(chance.choice(list(FLOWS))), chance, 1 + seed % 2)
    beside = find_case("finished")
    beside = replace(
        beside, log=RunLog(replace(beside.log.head, run_id="beside"), beside.log.records)
    )
    write_file(shell.here / "graphorch.sqlite", case, beside)
    flow = f"from tests.golden import flows\nflow = flows.{case.build.__name__}()"
    shell.here.joinpath("flow.py").write_text(flow)
    for words in COMMANDS:
        command = [case.log.head.run_id if word == "RUN" else word for word in words]
        ended = shell(*command)
        assert ended.code in (0, 1, 2, 4), (command, ended.err)
        assert "Traceback" not in ended.err
        assert "bug of graphorch" not in ended.err
        assert "half of a copy" not in ended.err
        if words[0] == "stats" or words == ["runs"]:
            assert ended.code == 0, (command, ended.err)


@pytest.fixture
def plain_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


@pytest.mark.parametrize("seed", range(4))
def test_commands_survive_altered_journal(seed: int, plain_shell: Shell) -> None:
    """Every command answers an altered journal, and `stats` counts the run beside it."""
    call_all_commands(seed, plain_shell)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 104))
def test_commands_survive_many_altered_journals(seed: int, plain_shell: Shell) -> None:
    """The test above with many more alterations."""
    call_all_commands(seed, plain_shell)
