"""`graphorch runs cancel`."""

from __future__ import annotations

from tests.cli.flows import (
    copy_crashed_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_a_cancelled_run_takes_no_answer(shell: Shell) -> None:
    run_id = start_waiting_run(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.err) == (0, f"run {run_id} was waiting, and is cancelled now\n")
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["questions"] == []
    for command in (
        ["answer", "ask.py", run_id, "approve", "yes"],
        ["resume", "ask.py", run_id],
        ["runs", "cancel", run_id],
    ):
        ended = shell(*command, "--db", "r.sqlite")
        assert (ended.code, ended.out) == (2, "")
        assert "cancel" in ended.err


def test_a_run_can_be_cancelled_by_its_flow_too(shell: Shell) -> None:
    run_id = start_waiting_run(shell)
    assert shell("runs", "cancel", run_id, "--flow", "ask.py", "--db", "r.sqlite").code == 0
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["status"] == "cancelled"


def test_a_crashed_run_is_cancelled_by_its_flow_only(shell: Shell) -> None:
    run_id = copy_crashed_run(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "Only its flow can cancel it: flow.cancel(…), or name it with --flow." in ended.err
    assert shell("runs", "cancel", run_id, "--flow", "crashing.py", "--db", "r.sqlite").code == 0
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[1] == "cancelled"
