"""`GRAPHORCH_JOURNAL_KEY` on the command line: runs are labelled, refused or read."""

from __future__ import annotations

import json

import pytest

from graphorch.journal.chain_key import VARIABLE
from tests.cli.shell import Shell


@pytest.fixture
def keyed_shell(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell with a run without a key and one with the key `first`, which is set."""
    shell.write("essay.py")
    assert shell("run", "essay.py", "--topic", "a", "--db", "r.sqlite").code == 0
    monkeypatch.setenv(VARIABLE, "first")
    assert shell("run", "essay.py", "--topic", "b", "--db", "r.sqlite").code == 0
    return shell


def list_ids(shell: Shell) -> tuple[str, str]:
    """Return the ids of the run without a key and of that with one."""
    listed = json.loads(shell("runs", "--json", "--db", "r.sqlite").out)
    ids = {head["is_keyed"]: head["run_id"] for head in listed["runs"]}
    return ids[False], ids[True]


def test_runs_are_labelled(keyed_shell: Shell) -> None:
    """The list and the details say of each run whether the key protects it."""
    plain, keyed = list_ids(keyed_shell)
    lines = keyed_shell("runs", "--db", "r.sqlite").out.splitlines()
    assert lines[0].split()[-1] == "CHAIN"
    assert {line.split()[0]: line.split()[-1] for line in lines[1:]} == {
        plain[:8]: "unkeyed",
        keyed[:8]: "keyed",
    }
    for run_id, label in ((plain, "unkeyed"), (keyed, "keyed")):
        shown = keyed_shell("runs", "show", run_id, "--db", "r.sqlite")
        assert f"chain:       {label}\n" in shown.out
        as_json = keyed_shell("runs", "show", run_id, "--json", "--db", "r.sqlite")
        assert json.loads(as_json.out)["is_keyed"] is (label == "keyed")


def test_list_has_no_label_without_key(keyed_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key nothing is labelled, and the run that has one is named and left out."""
    plain, keyed = list_ids(keyed_shell)
    monkeypatch.delenv(VARIABLE)
    ended = keyed_shell("runs", "--db", "r.sqlite")
    assert ended.code == 0
    assert "CHAIN" not in ended.out
    assert plain[:8] in ended.out
    assert keyed[:8] not in ended.out
    assert f"note: run {keyed} is protected by another key" in ended.err
    listed = json.loads(keyed_shell("runs", "--json", "--db", "r.sqlite").out)
    assert listed["refused"] == [keyed]


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "show", "RUN"], ["replay", "essay.py", "RUN"], ["timeline", "RUN"],
        ["conversation", "RUN"], ["why", "essay.py", "RUN"], ["critical", "essay.py", "RUN"],
        ["resume", "essay.py", "RUN"], ["fork", "essay.py", "RUN", "--from", "write"],
        ["rerun", "essay.py", "RUN", "--from", "write"], ["heat", "essay.py", "--run", "RUN"],
        ["runs", "cancel", "RUN"],
    ],
    ids=lambda command: " ".join(command[:2]),
)  # fmt: skip
def test_every_command_labels_and_refuses(
    command: list[str], keyed_shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without a key is read with a note, one with another key is refused with code 2."""
    plain, keyed = list_ids(keyed_shell)

    def call(run_id: str, id_length: int = 64) -> tuple[int, str]:
        words = [run_id[:id_length] if word == "RUN" else word for word in command]
        ended = keyed_shell(*words, "--db", "r.sqlite")
        return ended.code, ended.err

    note = (
        f"note: run {plain[:8]} is unkeyed: GRAPHORCH_JOURNAL_KEY is set, but does not protect it"
    )
    assert note in call(plain)[1]
    code, err = call(keyed)
    assert "unkeyed" not in err
    assert "WrongKey" not in err
    expected = {("runs", "cancel"): 2}.get((command[0], command[1]), 0)
    assert code == expected
    for key in ("second", None):
        if key is None:
            monkeypatch.delenv(VARIABLE)
        else:
            monkeypatch.setenv(VARIABLE, key)
        # Also by the beginning of its id, and as the newest one.
        for run_id, id_length in ((keyed, 64), (keyed, 12), ("last", 64)):
            code, err = call(run_id, id_length)
            assert code == 2, err
            assert "protected by" in err
            assert "Set GRAPHORCH_JOURNAL_KEY to the key that it was begun with" in err


def test_statistics_name_refused_runs(keyed_shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stats` counts what it can read, and says what it left out and what is not protected."""
    _, keyed = list_ids(keyed_shell)
    both = keyed_shell("stats", "runs", "--format", "json", "--db", "r.sqlite")
    assert "note: 1 run without a key" in both.err
    assert json.loads(both.out)[0]["runs"] == 2
    monkeypatch.delenv(VARIABLE)
    ended = keyed_shell("stats", "runs", "--format", "json", "--db", "r.sqlite")
    assert ended.code == 0
    assert f"note: run {keyed} is left out: it is protected by another key" in ended.err
    assert json.loads(ended.out)[0]["runs"] == 1


def test_empty_key_is_wrong_usage(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set but empty stops a run before anything is written."""
    shell.write("essay.py")
    monkeypatch.setenv(VARIABLE, " ")
    for command in (
        ["run", "essay.py", "--topic", "a", "--db", "r.sqlite"],
        ["runs", "--db", "r.sqlite"],
    ):
        ended = shell(*command)
        assert ended.code == 2
        assert "The key of a journal is empty" in ended.err or "no journal" in ended.err
    assert not (shell.here / "r.sqlite").exists()
