"""What a command raises becomes an exit code and one message."""

from __future__ import annotations

import pytest
import typer

from graphorch import (
    GraphError,
    GraphorchError,
    InputError,
    InternalError,
    NodeError,
    Problem,
    RunFailed,
)
from graphorch.cli.exit_codes import describe_errors, exit_on_error, format_error

NODE = {"node": "write", "path": "team/write", "activation": "a1", "attempt": 2}


@pytest.mark.parametrize(
    "error, code",
    [
        (RunFailed("Run r failed", [ValueError("no")]), 1),
        (InternalError("a bug"), 1),
        (InputError("no such field"), 2),
        (GraphError("g", [Problem("CODE", "node 'a'", "what", "fix")]), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as exit, exit_on_error(debug=False):
        raise error
    assert exit.value.exit_code == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_that_nobody_foresaw_shows_itself() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_error(debug=False):
        raise ZeroDivisionError


def test_a_program_gets_an_object_unless_its_run_was_told_already(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error, count in ((InputError("no"), 1), (RunFailed("Run r failed", [ValueError("no")]), 0)):
        with pytest.raises(typer.Exit), exit_on_error(debug=False, as_json=True):
            raise error
        assert capsys.readouterr().out.count("\n") == count


def test_the_story_of_a_node_is_told_only_if_there_is_more_to_it() -> None:
    once = NodeError("Node 'write' failed: E", **NODE, story=["attempt 1 failed"])
    twice = NodeError(
        "Node 'write' failed: E", **NODE, story=["attempt 1 failed", "attempt 2 failed"]
    )
    assert (
        format_error(RunFailed("Run r failed", [once]))
        == "error: Run r failed\n  - Node 'write' failed: E (at team/write, attempt 2)"
    )
    assert format_error(RunFailed("Run r failed", [twice])).endswith(
        "(at team/write, attempt 2)\n      attempt 1 failed\n      attempt 2 failed"
    )


def test_a_program_gets_each_failure_with_its_place() -> None:
    failed = NodeError("Node 'write' failed: E", **NODE)
    failed.__cause__ = ValueError("no")
    told = describe_errors(RunFailed("Run r failed", [failed, GraphorchError("odd \x1b[2J")]))
    assert told[0] == {
        "path": "team/write",
        "attempt": 2,
        "type": "ValueError",
        "message": "Node 'write' failed: E (at team/write, attempt 2)",
    }
    assert told[1] == {"type": "GraphorchError", "message": "odd \\x1b[2J"}
