"""`graphorch runs prune`: old runs are deleted."""

from __future__ import annotations

import pytest

from tests.cli.flows import (
    finish_run,
    list_run_ids,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_prune_spares_resumable_runs(shell: Shell) -> None:
    """Old finished runs are deleted; those that could be resumed only if `--status` names them."""
    done, waits = finish_run(shell), start_waiting_run(shell)
    assert (
        shell("runs", "prune", "--older-than", "1h", "--db", "r.sqlite").err
        == "deleted 0 runs (succeeded, partial, cancelled; older than 1h)\n"
    )
    assert shell("runs", "prune", "--older-than", "0s", "--db", "r.sqlite").err.startswith(
        "deleted 1 run ("
    )
    assert list_run_ids(shell) == [waits]
    assert done != waits
    assert shell(
        "runs", "prune", "--older-than", "0s", "--status", "waiting", "--db", "r.sqlite"
    ).err.startswith("deleted 1 run (waiting;")
    assert list_run_ids(shell) == []


def test_prune_keeps_runs_of_other_key(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a key that is not set are kept and named; `--any-key` deletes them as well."""
    monkeypatch.setenv("GRAPHORCH_JOURNAL_KEY", "correct horse")
    keyed = finish_run(shell)
    monkeypatch.delenv("GRAPHORCH_JOURNAL_KEY")
    finish_run(shell)
    ended = shell("runs", "prune", "--older-than", "0s", "--db", "r.sqlite")
    assert ended.code == 0
    assert ended.err == (
        "deleted 1 run (succeeded, partial, cancelled; older than 0s)\n"
        f"note: kept 1 run of another key, such as {keyed}: set GRAPHORCH_JOURNAL_KEY to their "
        "key, or add --any-key\n"
    )
    ended = shell("runs", "prune", "--older-than", "0s", "--any-key", "--db", "r.sqlite")
    assert ended.err == "deleted 1 run (succeeded, partial, cancelled; older than 0s)\n"


@pytest.mark.parametrize("age", ["30", "d", "-3d", "soon", "1y"])
def test_wrong_age_deletes_nothing(shell: Shell, age: str) -> None:
    """An age that cannot be read deletes nothing."""
    finish_run(shell)
    ended = shell("runs", "prune", f"--older-than={age}", "--db", "r.sqlite")
    assert ended.code == 2
    assert "not an age. Write a number and a unit" in ended.err
    assert len(list_run_ids(shell)) == 1
