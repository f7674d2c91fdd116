"""How a command ends: the exit code that says what happened, and one message for a person or one object for a program.

0  done            2  wrong usage, input or journal   4    the run waits for people
1  the run failed  3  the graph does not build        130  interrupted
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Generator
from typing import Any

import typer

from graphorch.cli.encoding import as_object
from graphorch.cli.safe import result, safe, say
from graphorch.errors import (
    GraphError,
    GraphorchError,
    InputError,
    JournalError,
    NodeError,
    RunFailed,
)

DONE, FAILED, WRONG_USE, NOT_BUILT, WAITING, INTERRUPTED = 0, 1, 2, 3, 4, 130

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (GraphError, NOT_BUILT),
    (InputError, WRONG_USE),
    (JournalError, WRONG_USE),
    (KeyboardInterrupt, INTERRUPTED),
)


@contextlib.contextmanager
def ending(*, debug: bool, as_json: bool = False) -> Generator[None]:
    """Turn what a command raises into its exit code and a message, without a traceback unless `debug`.

    A bug of ours is left to show itself.
    """
    try:
        yield
    except (KeyboardInterrupt, GraphorchError, RunFailed) as error:
        if debug:
            say("".join(traceback.format_exception(error)))
        code = next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
        say(message_of(error))
        # of a run that was started, its command has told already
        if as_json and isinstance(error, GraphorchError):
            result(as_object({"status": "error", "errors": errors_of(error)}))
        raise typer.Exit(code) from None


def message_of(error: BaseException) -> str:
    """The whole message, ready to be shown."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, GraphError):
        count = len(error.problems)
        head = f"error: graph '{error.graph}' does not build: {count} problem{'s' if count != 1 else ''}"
        notes = getattr(error, "__notes__", ())
        return "\n".join(
            [
                head,
                *notes,
                *(
                    f"  {number}. {problem}".replace("\n", "\n   ")
                    for number, problem in enumerate(error.problems, 1)
                ),
            ]
        )
    if isinstance(error, RunFailed):
        notes = getattr(error, "__notes__", ())
        return "\n".join(
            [
                f"error: {error.message}",
                *(f"  - {_told(exception)}" for exception in error.exceptions),
                *notes,
            ]
        )
    return f"error: {error}"


def _told(error: Exception) -> str:
    """One failure of a run; the story of its node only if there is more to it than this failure."""
    if not isinstance(error, NodeError):
        return str(error)
    story = error.story if len(error.story) > 1 else ()
    cause = error.__cause__.__cause__ if error.__cause__ is not None else None
    # of a policy without an answer: the last target's failure
    because = [f"because: {cause}"] if isinstance(cause, GraphorchError) else []
    return "\n      ".join(
        [f"{error.args[0]} (at {error.path}, attempt {error.attempt})", *because, *story]
    )


def errors_of(error: BaseException) -> list[dict[str, Any]]:
    """The same for a program: each thing that went wrong, with its fields."""
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
        return [found for inner in error.exceptions for found in errors_of(inner)]
    told: dict[str, Any] = {
        "type": type(error.__cause__ or error).__name__,
        "message": safe(_told(error) if isinstance(error, Exception) else str(error)),
    }
    return [
        {name: getattr(error, name) for name in ("path", "attempt") if hasattr(error, name)} | told
    ]
