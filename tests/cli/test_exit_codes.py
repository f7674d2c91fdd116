"""Errors of a command become an exit code and one message."""

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
def test_error_kind_decides_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of error has its exit code and message."""
    with pytest.raises(typer.Exit) as exit, exit_on_error(debug=False):
        raise error
    assert exit.value.exit_code == code
    assert "Traceback" not in capsys.readouterr().err


def test_unexpected_error_passes() -> None:
    """An error that is a bug passes unchanged."""
    with pytest.raises(ZeroDivisionError), exit_on_error(debug=False):
        raise ZeroDivisionError


def test_json_error_is_printed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A program gets an object, unless its run was reported already."""
    for error, count in ((InputError("no"), 1), (RunFailed("Run r failed", [ValueError("no")]), 0)):
        with pytest.raises(typer.Exit), exit_on_error(debug=False, as_json=True):
            raise error
        assert capsys.readouterr().out.count("\n") == count


def test_story_is_shown_if_longer_than_failure() -> None:
    """The story of a node is shown only if it holds more than the failure."""
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


def test_errors_are_described_with_place() -> None:
    """A program gets each failure with its path and attempt."""
    failed = NodeError("Node 'write' failed: E", **NODE)
    failed.__cause__ = ValueError("no")
    report = describe_errors(RunFailed("Run r failed", [failed, GraphorchError("odd \x1b[2J")]))
    assert report[0] == {
        "path": "team/write",
        "attempt": 2,
        "type": "ValueError",
        "message": "Node 'write' failed: E (at team/write, attempt 2)",
    }
    assert report[1] == {"type": "GraphorchError", "message": "odd \\x1b[2J"}
