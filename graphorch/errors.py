"""The errors of graphorch, split by who can fix them.

    GraphorchError
    ├── GraphError        the author of the graph: `build()` found problems, all of them at once
    ├── InputError        the caller: an input, an option or a file that does not fit
    ├── NodeError         the author of one node: it raised, or returned what it did not declare
    ├── WrongOutput       the author of one node: its output does not fit the slice that it declares
    ├── WriteConflict     the graph in this run: two writes of one field that did not see each other
    ├── QuorumNotMet      the graph in this run: a `need=k` join that too few branches reached
    ├── LoopExhausted     the graph in this run: a loop with `exhausted="fail"` reached its bound
    ├── TooManyItems      the graph in this run: a map met more items than its `max_items`
    ├── Unassigned        the graph in this run: a read of a field that nothing assigned
    ├── Ambiguous         a person: a node that must not act twice began, and nobody knows whether it acted
    ├── Rejected          a person: a gate was answered with no
    ├── Expired           a person: a question was not answered in time
    ├── LimitReached      the caller's limit on a run, which ended it
    │   └── BudgetExceeded    the same for money, tokens and calls
    ├── ModelError        the provider of a model; `retryable` is data
    ├── JournalError      the store that keeps runs
    ├── ReplayDiverged    a replay that would not do what the record says
    └── InternalError     ours: a bug of graphorch; the message says how to report it

Errors of one part live beside it and subclass one of the above: `models.failures`, `journal.failures`, `patterns.errors`,
`engine.crossing`, `engine.processes`.

`RunFailed` stands beside the tree: it is the `ExceptionGroup` of everything that ended one run.

Every message says what was found, where, and how to fix it. Rules for a new error: subclass one of the above, put what a
program may want to read into attributes, and never put a secret into the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


class GraphorchError(Exception):
    """Base of all errors that graphorch raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a graph: a stable code, where, what, and how to fix it."""

    code: str
    where: str
    what: str
    fix: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.code} at {self.where}: {self.what}\n    fix: {self.fix}"


class GraphError(GraphorchError):
    """A graph that does not build. `problems` holds every one that was found, in a stable order."""

    def __init__(self, graph: str, problems: Sequence[Problem]) -> None:
        self.graph = graph
        self.problems: tuple[Problem, ...] = tuple(problems)
        count = len(self.problems)
        head = f"Graph '{graph}' does not build: {count} problem{'s' if count != 1 else ''}."
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class InputError(GraphorchError):
    """What the caller gave does not fit: an input field, an option, a file or a name."""


class NodeError(GraphorchError):
    """A node failed for good. The cause is `__cause__`; the rest says where in the run it happened."""

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
        told = "".join(f"\n    {line}" for line in self.story)
        return f"{self.args[0]} (at {self.path}, activation {self.activation}, attempt {self.attempt}){told}"


class WrongOutput(GraphorchError):
    """A node's output does not fit what the node declares: another type, an invalid value, a field that is not there."""


class WriteConflict(GraphorchError):
    """Two writes of a field without a reducer of which neither saw the other: a race that `build()` should have refused."""


class QuorumNotMet(GraphorchError):
    """A join or map with `need=k` that fewer than k branches can still reach."""


class LoopExhausted(GraphorchError):
    """A loop with `exhausted="fail"` reached its bound while its condition still held."""


class TooManyItems(GraphorchError):
    """A map was given more items than its `max_items` allows."""


class Unassigned(GraphorchError):
    """A required field was read that nothing in this run has assigned."""


class Ambiguous(GraphorchError):
    """A node with effect `once` began and did not finish; whether it acted is not known, so it is not run again without being told to."""


class Rejected(GraphorchError):
    """A person did not let a node pass its gate. The message is the reason that was given."""


class Expired(GraphorchError):
    """A question was not answered before it expired."""


class LimitReached(GraphorchError):
    """A limit of the run ended it; what was committed is kept. `limit` names which one."""

    def __init__(self, message: str, *, limit: str) -> None:
        self.limit = limit
        super().__init__(message)


class BudgetExceeded(LimitReached):
    """A model call did not fit into what was left of the budget, so it was not made."""


class ModelError(GraphorchError):
    """A model call that failed. `retryable` says whether asking again may help; `status` is the HTTP status, if there was one.

    `usd` is what was charged for it all the same, with what was tried before it, as far as the endpoint or a price list says.
    """

    usd: float | None = None

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
    """The store that keeps a run could not do what was asked of it."""


class ReplayDiverged(GraphorchError):
    """A replay met a step that the record does not hold."""


class InternalError(GraphorchError):
    """A bug of graphorch: an invariant of the engine did not hold."""


class RunFailed(ExceptionGroup[Exception]):
    """A run that ended without an output: everything that went wrong, in causal order.

    `end_reason` is `"failed"` or the limit that was reached; `run` is the record of what was done and stays valid.
    """

    run_id: str
    end_reason: str
    run: object

    def __new__(
        cls,
        message: str,
        errors: Sequence[Exception],
        run_id: str = "",
        end_reason: str = "failed",
        run: object = None,
    ) -> Self:
        self = super().__new__(cls, message, list(errors))
        self.run_id, self.end_reason, self.run = run_id, end_reason, run
        return self

    def __init__(
        self,
        message: str,
        errors: Sequence[Exception],
        run_id: str = "",
        end_reason: str = "failed",
        run: object = None,
    ) -> None:
        super().__init__(message, list(errors))

    def derive(self, errors: Sequence[Exception], /) -> RunFailed:  # type: ignore[override]
        """The same run with other errors: what `except*` and `split` call."""
        return RunFailed(self.message, errors, self.run_id, self.end_reason, self.run)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {error}" for error in self.exceptions)])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The sentence that helps with a misspelt name: the closest known one, and all of them if they are few."""
    import difflib  # for a message only

    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"{hint}Known: {shown or 'none'}."
