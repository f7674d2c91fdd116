"""Exit codes and error messages of the command line.

0  done            2  wrong usage, input or journal   4    the run waits
1  the run failed  3  the graph does not build        75   a worker was cut off: start it again
                                                      130  interrupted

An error becomes one message for a person, and one JSON object for a program.
"""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import typer

from graphorch.cli.json_output import to_json_line
from graphorch.cli.terminal import print_output, print_status, sanitize
from graphorch.errors import (
    Expired,
    GraphError,
    GraphorchError,
    InputError,
    JournalError,
    NodeError,
    ReplayDiverged,
    RunFailed,
)
from graphorch.text import plural, shorten_run_id

DONE, FAILED, WRONG_USE, NOT_BUILT, WAITING, INTERRUPTED = 0, 1, 2, 3, 4, 130

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (GraphError, NOT_BUILT),
    (InputError, WRONG_USE),
    (Expired, WRONG_USE),  # an answer that came too late
    (JournalError, WRONG_USE),
    (KeyboardInterrupt, INTERRUPTED),
)


@contextlib.contextmanager
def exit_on_error(
    *, debug: bool, as_json: bool = False, diverged: int = WRONG_USE
) -> Generator[None]:
    """Turn an exception of a command into its exit code and a message.

    `diverged` is the code for a run whose records do not fit the flow.
    The traceback is shown only with `debug`. Exceptions that are bugs of graphorch pass unchanged.
    """
    try:
        yield
    except (KeyboardInterrupt, GraphorchError, RunFailed) as error:
        if debug:
            print_status("".join(traceback.format_exception(error)))
        print_status(format_error(error))
        # a run that had started was already reported by its command
        if as_json and isinstance(error, GraphorchError):
            report = {"status": "error", "errors": describe_errors(error)}
            print_output(to_json_line(report))
        code = diverged if isinstance(error, ReplayDiverged) else _exit_code(error)
        raise typer.Exit(code) from None


def _exit_code(error: BaseException) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def format_error(error: BaseException) -> str:
    """Return the message for a person, with all problems of a graph or failures of a run."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    notes = getattr(error, "__notes__", ())
    if isinstance(error, GraphError):
        problems = plural(len(error.problems), "problem")
        numbered = [
            f"  {number}. {problem}".replace("\n", "\n   ")
            for number, problem in enumerate(error.problems, 1)
        ]
        head = f"error: {error.subject} does not build: {problems}"
        return "\n".join([head, *notes, *numbered])
    if isinstance(error, RunFailed):
        failures = [f"  - {_format_failure(failure)}" for failure in error.exceptions]
        if any(_find_line_of_node(failure) for failure in error.exceptions):
            notes = ("--debug shows the whole traceback.", *notes)
        message = error.message.replace(error.run_id, shorten_run_id(error.run_id))
        return "\n".join([f"error: {message}", *failures, *notes])
    return f"error: {error}"


def _format_failure(error: Exception) -> str:
    """Return a failure of a run, with the story of its node if that holds more than the failure."""
    if not isinstance(error, NodeError):
        return str(error)
    lines = [f"{error.args[0]} (at {error.path}, attempt {error.attempt})"]
    if line := _find_line_of_node(error):
        lines.append(f"raised at {line}")
    # a policy without an answer has the failure of its last target as the cause
    cause = error.__cause__.__cause__ if error.__cause__ is not None else None
    if isinstance(cause, GraphorchError):
        lines.append(f"because: {cause}")
    if len(error.story) > 1:
        lines.extend(error.story)
    return "\n      ".join(lines)


def _find_line_of_node(error: Exception) -> str:
    """Return the line of the user's code that made a node fail, or "" if it is not known.

    What graphorch raised itself says what is wrong, and has no such line. Nor does an error that
    comes from a journal.
    """
    cause = error.__cause__ if isinstance(error, NodeError) else None
    return "" if cause is None or isinstance(cause, GraphorchError) else find_line(cause)


def find_line(error: BaseException) -> str:
    """Return the last line of the user's own code that an error came from: its place and its text.

    Code of the user is outside of installed packages. Without any, "" is returned.
    """
    installed = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    foreign = (str(Path(__file__).parents[1]), *installed, "<")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(foreign)]
    if not own:
        return ""
    last = own[-1]
    text = f", in `{last.line}`" if last.line else ""
    return f"{last.filename}:{last.lineno}{text}"


def describe_errors(error: BaseException) -> list[dict[str, Any]]:
    """Return the problems or failures of an error for a program, each with its fields."""
    if isinstance(error, GraphError):
        return [
            {
                "type": "GraphError",
                "code": problem.code,
                "where": problem.where,
                "message": problem.what,
                "fix": problem.fix,
            }
            for problem in error.problems
        ]
    if isinstance(error, RunFailed):
        return [entry for failure in error.exceptions for entry in describe_errors(failure)]
    place = {name: getattr(error, name) for name in ("path", "attempt") if hasattr(error, name)}
    message = _format_failure(error) if isinstance(error, Exception) else str(error)
    return [
        {**place, "type": type(error.__cause__ or error).__name__, "message": sanitize(message)}
    ]
