"""`graphorch runs cancel`."""

from __future__ import annotations

from tests.cli.flows import (
    copy_crashed_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_cancelled_run_takes_no_answer(shell: Shell) -> None:
    """A cancelled run cannot be answered, resumed or cancelled again."""
    run_id = start_waiting_run(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.err) == (0, f"run {run_id[:8]} was waiting, and is cancelled now\n")
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["questions"] == []
    for command in (
        ["answer", "ask.py", run_id, "approve", "yes"],
        ["resume", "ask.py", run_id],
        ["runs", "cancel", run_id],
    ):
        ended = shell(*command, "--db", "r.sqlite")
        assert (ended.code, ended.out) == (2, "")
        assert "cancel" in ended.err


def test_cancel_with_flow(shell: Shell) -> None:
    """A run can also be cancelled by its flow."""
    run_id = start_waiting_run(shell)
    assert shell("runs", "cancel", run_id, "--flow", "ask.py", "--db", "r.sqlite").code == 0
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["status"] == "cancelled"


def test_crashed_run_needs_flow(shell: Shell) -> None:
    """A crashed run can only be cancelled by its flow."""
    run_id = copy_crashed_run(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "Only its flow can cancel it: flow.cancel(…), or name it with --flow." in ended.err
    assert shell("runs", "cancel", run_id, "--flow", "crashing.py", "--db", "r.sqlite").code == 0
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[1] == "cancelled"
