"""The errors of graphorch, split by who can fix them.

    GraphorchError
    ├── GraphError        the author of the graph: `build()` found problems, all of them at once
    ├── InputError        the caller: an input, an option or a file that does not fit
    │   └── QuestionClosed    a question that was answered already, or withdrawn
    ├── NodeError         the author of one node: it raised, or returned what it did not declare
    ├── WrongOutput       the author of one node: its output does not fit the slice that it declares
    │   └── Unstorable        what it returned is valid, and a journal could not give it back
    ├── ExitRefused       the author of one node: it called `sys.exit()`, or was interrupted
    ├── StrayCancellation the author of one node: it was cancelled, but not by its run
    ├── WriteConflict     the graph in this run: two writes of one field that did not see each other
    ├── QuorumNotMet      the graph in this run: a `need=k` join that too few branches reached
    ├── LoopExhausted     the graph in this run: a loop with `exhausted="fail"` reached its bound
    ├── TooManyItems      the graph in this run: a map met more items than its `max_items`
    ├── RecursionLimit    the graph in this run: a flow inside itself met its `max_depth`
    ├── Unassigned        the graph in this run: a read of a field that nothing assigned
    ├── Ambiguous         a person: a node that must not act twice began, and may have acted
    ├── NotUndone         a person: what a run committed could not be undone, or was left as it is
    ├── Rejected          a person: a gate was answered with no
    ├── Expired           a person: a question was not answered in time
    ├── Withdrawn         a person or a program: a signal ended a sub-flow
    ├── LimitReached      the caller's limit on a run, which ended it
    │   └── BudgetExceeded    a limit on money, tokens or calls
    ├── ModelError        the provider of a model; `retryable` is data
    ├── JournalError      the store that keeps runs
    ├── ReplayDiverged    a replay that would not do what the record says
    └── InternalError     ours: a bug of graphorch; the message says how to report it

Errors of one part of the package live beside it and subclass one of the above: `models.errors`,
`journal.errors`, `patterns.errors`, and those of `engine` that concern worker processes.

`RunFailed` stands beside the tree: it is the `ExceptionGroup` of everything that ended one run.

Every message says what is wrong, where, and how to fix it. Rules for a new error: subclass one of
the above, put what a program may want to read into attributes, and never put a secret into the
message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing import Any, Literal, Protocol, Self

    class Drawing(Protocol):
        """Picture of a run that is made when it is looked at."""

        def svg(
            self,
            *,
            theme: Literal["auto", "light", "dark"],
            engine: Literal["auto", "dot", "builtin"],
            depth: int | None,
            direction: Literal["TB", "LR"],
        ) -> str:
            """Draw the run as SVG."""
            raise NotImplementedError

        def build_bundle(self, text: str) -> Any:
            """Return the picture as a mime bundle."""
            raise NotImplementedError


T = TypeVar("T")
_LISTED = 12  # known names that a hint lists


class GraphorchError(Exception):
    """Base class of all errors that graphorch raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a graph: a stable code, where, what, and how to fix it."""

    code: str
    where: str
    what: str
    fix: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.code} at {self.where}: {self.what}\n    fix: {self.fix}"


MANY_PROBLEMS = 100  # so many are told in the text of a `GraphError`


class GraphError(GraphorchError):
    """A graph that does not build. `problems` holds all of its problems, in a stable order.

    `subject` is what does not build: the graph, or a node or tool that was not made.
    """

    def __init__(self, graph: str, problems: Sequence[Problem], subject: str = "") -> None:
        self.graph = graph
        self.subject = subject or f"graph '{graph}'"
        self.problems: tuple[Problem, ...] = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        head = f"{self.subject[:1].upper()}{self.subject[1:]} does not build: {count} {noun}."
        lines = [f"  {problem}" for problem in self.problems[:MANY_PROBLEMS]]
        if count > MANY_PROBLEMS:
            lines.append(f"  … and {count - MANY_PROBLEMS} more, all of them in `error.problems`.")
        super().__init__("\n".join([head, *lines]))


class InputError(GraphorchError):
    """An input field, an option, a file or a name that does not fit."""


class QuestionClosed(InputError):
    """An answer to a question that is not open any more: it was answered already, or withdrawn."""


class WrongCall(InputError, TypeError):
    """A call of what is not a function, or with arguments that a function does not take."""


class NoSuchName(InputError, AttributeError):
    """A name that an object does not have, for what it does under another name."""


class NodeError(GraphorchError):
    """A node that failed for good: the cause is `__cause__`, the attributes are its place."""

    def __init__(
        self,
        message: str,
        *,
        node: str,
        path: str,
        activation: str,
        attempt: int = 1,
        story: Sequence[str] = (),
    ) -> None:
        self.node = node
        self.path = path
        self.activation = activation
        self.attempt = attempt
        self.story: tuple[str, ...] = tuple(story)
        super().__init__(message)

    def __str__(self) -> str:
        place = f"at {self.path}, activation {self.activation}, attempt {self.attempt}"
        story = "".join(f"\n    {line}" for line in self.story)
        return f"{self.args[0]} ({place}){story}"


class WrongOutput(GraphorchError):
    """An output that does not fit what its node declares: its type, a value or a field."""


class Unstorable(WrongOutput):
    """A value that the journal could not give back as it was, or has no room for."""


class ExitRefused(GraphorchError):
    """A function of the user raised `SystemExit`, or `KeyboardInterrupt` without a Ctrl-C."""


class StrayCancellation(GraphorchError):
    """A function of the user raised `CancelledError` although neither it nor its run was cancelled.

    Perhaps it awaited a task that was cancelled elsewhere.
    """


class WriteConflict(GraphorchError):
    """Two writes of a field without a reducer, of which neither saw the other.

    A race that `build()` should have refused.
    """


class ReducerFailed(GraphorchError):
    """A reducer that raised, or returned what is not of the type of its field."""


class QuorumNotMet(GraphorchError):
    """A join or map with `need=k` that fewer than k branches can still reach."""


class LoopExhausted(GraphorchError):
    """A loop with `exhausted="fail"` reached its bound while its condition still held."""


class TooManyItems(GraphorchError):
    """A map was given more items than its `max_items` allows."""


class RecursionLimit(GraphorchError):
    """A flow that would be inside itself more often than `max_depth`, its bound, allows."""

    def __init__(self, message: str, *, max_depth: int) -> None:
        self.max_depth = max_depth
        super().__init__(message)


class Unassigned(GraphorchError):
    """A read of a required field that nothing in this run has assigned."""


class Ambiguous(GraphorchError):
    """A node with effect `once` that began and did not finish.

    Whether it acted is not known, so it runs again only on request.
    """


class NotUndone(GraphorchError):
    """What the activation at `path` committed is not undone: its undo failed, or was left out."""

    def __init__(self, message: str, *, path: str, activation: str) -> None:
        super().__init__(message)
        self.path = path
        self.activation = activation


class NeedsConsent(GraphorchError):
    """A tool that was not called, because it is no longer the one that the model was offered.

    A person is asked whether to call it all the same. `consent` identifies what they agree to; it
    is empty if there is nothing to agree to.
    """

    def __init__(self, message: str, consent: str = "") -> None:
        self.consent = consent
        super().__init__(message)


class Rejected(GraphorchError):
    """A person's refusal to let a node pass its gate. The message is the reason."""


class Expired(GraphorchError):
    """A question that was not answered in time."""


class Withdrawn(GraphorchError):
    """A sub-flow was ended by the signal that it names as `cancel_on`, and nothing is kept."""


class LimitReached(GraphorchError):
    """A limit of the run that ended it; what was committed is kept. `limit` is its name."""

    def __init__(self, message: str, *, limit: str) -> None:
        self.limit = limit
        super().__init__(message)


class BudgetExceeded(LimitReached):
    """A model call that was not made, since it could exceed the budget.

    If `is_ordinary`, it fails its node like any other error; otherwise it ends the run.
    """

    is_ordinary: bool = False


class ModelError(GraphorchError):
    """A model call that failed.

    `retryable` is whether another attempt may help; `status` is the HTTP status, if there was one.
    `usd` is what was charged for it all the same, with the attempts before it, as far as the
    endpoint or a price list says. `codes` are the codes and types in the endpoint's error, in lower
    case and without separators: `contextlengthexceeded`. `server` is the address of the endpoint
    that was asked, as `host:port`, if one was.
    """

    server: str = ""
    usd: float | None = None
    codes: frozenset[str] = frozenset()

    def __init__(
        self,
        message: str,
        *,
        model: str,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.model = model
        self.retryable = retryable
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class JournalError(GraphorchError):
    """A failure of the store that keeps a run."""


class ReplayDiverged(GraphorchError):
    """A replay that differs from the records of its run."""


class InternalError(GraphorchError):
    """A bug of graphorch: an invariant that did not hold."""


class RunFailed(ExceptionGroup[Exception]):
    """A run that ended without an output: everything that went wrong, in causal order.

    `end_reason` is `"failed"` or the limit that was reached; `run` is the report of what was done.
    A notebook shows its picture, also of one that a cell raises.
    """

    run_id: str
    end_reason: str
    run: object
    drawing: Drawing | None

    def __new__(
        cls,
        message: str,
        errors: Sequence[Exception],
        run_id: str = "",
        end_reason: str = "failed",
        run: object = None,
        drawing: Drawing | None = None,
    ) -> Self:
        self = super().__new__(cls, message, list(errors))
        self.run_id, self.end_reason, self.run = run_id, end_reason, run
        self.drawing = drawing
        return self

    def __init__(
        self,
        message: str,
        errors: Sequence[Exception],
        run_id: str = "",
        end_reason: str = "failed",
        run: object = None,
        drawing: Drawing | None = None,
    ) -> None:
        super().__init__(message, list(errors))

    def derive(self, errors: Sequence[Exception], /) -> RunFailed:  # type: ignore[override]
        """Return this error with other exceptions; `except*` and `split` call it."""
        return RunFailed(self.message, errors, self.run_id, self.end_reason, self.run, self.drawing)

    def svg(
        self,
        *,
        theme: Literal["auto", "light", "dark"] = "auto",
        engine: Literal["auto", "dot", "builtin"] = "auto",
        depth: int | None = None,
        direction: Literal["TB", "LR"] = "TB",
    ) -> str:
        """Draw the flow with what the run did on it: what failed and why, and was not reached.

        Raises `InputError` if the error was made without a run.
        """
        if self.drawing is None:
            raise InputError(
                "This RunFailed belongs to no run, so there is nothing to draw. "
                "Those that `run` and `resume` raise can be drawn."
            )
        return self.drawing.svg(theme=theme, engine=engine, depth=depth, direction=direction)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return None if self.drawing is None else self.drawing.build_bundle(str(self))

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {error}" for error in self.exceptions)])


def as_failure(error: BaseException) -> Exception | None:
    """Return what a function of the user raised as its failure; None if it is for the program.

    A function cannot end the program, in which other runs go on. So `SystemExit` is a failure, and
    so is `KeyboardInterrupt` on a thread to which Ctrl-C does not come. `CancelledError` is one
    too: ask first whether the function was cancelled, if it can be.
    """
    import asyncio
    import threading

    if isinstance(error, Exception):
        return error
    failure: Exception | None = None
    is_main = threading.current_thread() is threading.main_thread()
    if isinstance(error, SystemExit):
        code = "" if error.code is None else f"{error.code!r:.100}"
        failure = ExitRefused(
            f"It called sys.exit({code}), which would end the program for all runs. Return, "
            "or raise an exception that says what is wrong."
        )
    elif isinstance(error, KeyboardInterrupt) and not is_main:
        failure = ExitRefused(
            "It raised KeyboardInterrupt, but nobody pressed Ctrl-C here. Raise an exception that "
            "says what is wrong."
        )
    elif isinstance(error, asyncio.CancelledError):
        failure = StrayCancellation(
            "It raised CancelledError although it was not cancelled. Perhaps it awaited a task "
            "that was cancelled elsewhere: catch the exception there."
        )
    if failure is not None:
        failure.__cause__ = error
    return failure


async def contain_exit(work: Awaitable[T]) -> T:
    """Await the work of a task; what would leave the task and end its event loop is a failure."""
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise as_failure(error) or error from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt name: the closest known name, and the first twelve of all."""
    names = sorted(set(known))
    if not names:
        return "There are none."
    # A name that is known already is no hint: something else about it is wrong.
    close = "" if name in names else find_closest(name, names)
    hint = f"Did you mean '{close}'? " if close else ""
    listed = ", ".join(names[:_LISTED])
    if len(names) > _LISTED:
        listed += ", …"
    return f"{hint}Known: {listed}."


def find_closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is spelt most like `name`, in any case, or "" if none is."""
    # Imported here: most programs never need it, and a plain import of graphorch has to be fast.
    import difflib

    by_folded = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else ""
