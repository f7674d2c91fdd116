"""What a run did: one row per activation, one per model call, and how it ended.

The scheduler keeps what it has anyway; rows are made only when they are read, so that a run pays
nothing for its report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from graphorch.core.run import Run
from graphorch.core.state import append_to
from graphorch.core.tree import Activation, Status
from graphorch.text import format_error

if TYPE_CHECKING:
    from graphorch.models.budgets.charge import Charge
    from graphorch.models.messages import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReport:
    """One request of a model call: whom it asked, and when; what became of it, and its charge.

    `target` is the name of a policy's target, "" without one. `began` is the moment at which it was
    sent, in seconds since the epoch. `outcome` is `ok`, `cancelled`, the kind of failure, or `sent`
    if its end is not known. `is_hedge`: it was sent beside a slow one.
    """

    model: str
    target: str = ""
    began: float = 0.0
    seconds: float = 0.0
    outcome: str = "ok"
    message: str = ""
    first_token_seconds: float | None = None
    is_hedge: bool = False
    charge: Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """One call of a model: where in the run it was made, and the response, or the error.

    `charge` is what its `requests` were charged, answered or not. `is_copy`: a fork took the call
    over from another run, which paid for it.
    """

    path: str
    model: str
    response: Response | None
    error: str = ""
    charge: Charge
    requests: tuple[RequestReport, ...] = ()
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class ActivationReport:
    """One activation. Times are seconds since the epoch; `taken` holds indices of edges.

    A call of a tool is an activation, too: `tool` is the name of the tool, and `outcome` what the
    model reads of it (see `ToolOutcome`). Its agent's row comes later, since it ends later.

    Tokens and dollars are those of all its model calls, failed ones too, as far as they are known;
    `unpriced` counts the requests whose dollars are not, and `booked_usd` is what budgets count,
    with the worst case of those.
    """

    path: str
    node: str
    activation: str
    status: str
    attempts: int
    began: float
    seconds: float
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float
    unpriced: int
    booked_usd: float
    taken: tuple[int, ...]
    error: str = ""
    tool: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark of a node for people, made with `ctx.note`."""

    path: str
    text: str


class LoopEnd(NamedTuple):
    """A loop that ended at its bound: the path of the node that would go back, and where to.

    `rounds` is how often its body ran, and might run.
    """

    source: str
    back_to: str
    rounds: int

    @property
    def text(self) -> str:
        """What happened, in words."""
        return f"{self.rounds} of {self.rounds} rounds, not accepted"


@dataclass(slots=True)
class RunReport:
    """One run, as it happened so far.

    `began` and `ended` are those of its present engagement, which is number `engagement`, and
    `earlier` are the seconds of those before.
    """

    run: Run
    began: float
    ended: float = 0.0
    earlier: float = 0.0
    engagement: int = 1
    calls: Sequence[tuple[Activation, CallReport]] = ()
    abandoned: Sequence[str] = ()  # nodes whose thread could not be stopped and may still run
    # What attempts noted; it counts for those activations that succeed.
    noted: dict[Activation, tuple[str, ...]] | None = None

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.run.run_id

    @property
    def seconds(self) -> float:
        """Seconds in which a process drove the run; pauses between stop and resume do not count."""
        return self.earlier + max(0.0, self.ended - self.began)

    def take_up(self, at: float) -> None:
        """Begin an engagement."""
        self.earlier = self.seconds
        self.began, self.ended = at, 0.0
        self.engagement += 1

    @property
    def usd(self) -> float:
        """Dollars spent on model calls, failed ones too, as far as they are known."""
        return sum(call.charge.usd for call in self.paid_calls)

    @property
    def unpriced(self) -> int:
        """Requests to models whose dollars are not known, and not part of `usd`."""
        return sum(call.charge.unpriced for call in self.paid_calls)

    @property
    def booked_usd(self) -> float:
        """Dollars that budgets count: `usd`, with the worst case of requests without a bill."""
        return sum(call.charge.booked_usd for call in self.paid_calls)

    @property
    def usage(self) -> dict[str, int]:
        """Tokens and calls in all."""
        charges = [call.charge for call in self.paid_calls]
        return {
            "input_tokens": sum(charge.input_tokens for charge in charges),
            "output_tokens": sum(charge.output_tokens for charge in charges),
            "calls": len(charges),
        }

    @property
    def paid_calls(self) -> list[CallReport]:
        """The model calls that this run paid for itself."""
        return [call for _, call in self.calls if not call.is_copy]

    @property
    def exhausted(self) -> tuple[tuple[str, str], ...]:
        """Loops that reached their bound: (path of the last node, name of the loop's first)."""
        return tuple(self.run.exhausted)

    @property
    def loop_ends(self) -> tuple[LoopEnd, ...]:
        """Loops that reached their bound, with their rounds."""
        if not self.exhausted:
            return ()
        by_path = {activation.path: activation for activation in self.activations()}
        return tuple(
            LoopEnd(source, header, _find_bound(by_path[source], header))
            for source, header in self.exhausted
        )

    @property
    def notes(self) -> tuple[Note, ...]:
        """Remarks of the nodes that succeeded, and on loops at their bound that have none."""
        noted = self.noted or {}
        notes = [
            Note(activation.path, text)
            for activation in (self.run.history if noted else ())
            if activation.status is Status.DONE
            for text in noted.get(activation, ())
        ]
        with_note = {note.path for note in notes}
        notes += [
            Note(end.source, end.text) for end in self.loop_ends if end.source not in with_note
        ]
        return tuple(notes)

    def add_note(self, activation: Activation, text: str) -> None:
        """Add a remark of an attempt under way."""
        if self.noted is None:
            self.noted = {}
        self.noted[activation] = (*self.noted.get(activation, ()), text)

    def add_recorded_calls(self, calls: Sequence[tuple[Activation, CallReport]]) -> None:
        """Add model calls that a journal holds."""
        self.calls = append_to(self.calls, calls)

    def add_call(self, activation: Activation, call: CallReport) -> None:
        """Add a model call."""
        self.calls = append_to(self.calls, ((activation, call),))

    def abandon(self, path: str) -> None:
        """Add a node whose thread could not be stopped."""
        self.abandoned = append_to(self.abandoned, (path,))

    def steps(self) -> list[ActivationReport]:
        """Return a row per activation: those that ended, in order, then those under way."""
        calls: dict[Activation, list[CallReport]] = {}
        for activation, call in self.calls:
            if not call.is_copy:
                calls.setdefault(activation, []).append(call)
        return [
            _build_row(activation, calls.get(activation, [])) for activation in self.activations()
        ]

    def activations(self) -> list[Activation]:
        """Return the activations that ended, in that order, then those that have not."""
        return [*self.run.history, *self.run.unfinished()]


def _find_bound(source: Activation, header: str) -> int:
    """Return how often the body of the loop that leads from a node back to another may run."""
    steps = source.scope.plan.steps
    return max(loop.bound for loop in source.step.exits if steps[loop.back.target].name == header)


def _build_row(activation: Activation, calls: list[CallReport]) -> ActivationReport:
    charges = [call.charge for call in calls]
    has_ended = bool(activation.ended_at)
    seconds = max(0.0, activation.ended_at - activation.started_at) if has_ended else 0.0
    return ActivationReport(
        path=activation.path,
        node=activation.step.name,
        activation=activation.id,
        status=_name_status(activation),
        attempts=activation.attempt,
        began=activation.started_at,
        seconds=seconds,
        calls=len(calls),
        input_tokens=sum(charge.input_tokens for charge in charges),
        output_tokens=sum(charge.output_tokens for charge in charges),
        usd=sum(charge.usd for charge in charges),
        unpriced=sum(charge.unpriced for charge in charges),
        booked_usd=sum(charge.booked_usd for charge in charges),
        taken=tuple(edge.index for edge in activation.taken_edges),
        error=describe_failure(activation.failure),
        tool=activation.tool,
        outcome=read_outcome(activation),
    )


def read_outcome(activation: Activation) -> str:
    """Return what became of a tool call that has ended; empty for others."""
    if not activation.tool or activation.update is None:
        return ""
    fields = activation.scope.plan.schema.fields
    written = {fields[index].name: value for index, value in activation.update.items()}
    return str(written.get("outcome", "ok"))


def tell_failure(activation: Activation, error: Exception, at: float) -> str:
    """Return the line of a failed attempt in the story of its activation."""
    seconds = max(0.0, at - max(activation.started_at, activation.retried_at))
    attempt = f"{activation.path} attempt {activation.attempt}"
    return f"{attempt} failed after {seconds:.3f} s: {format_error(error)}"


def describe_failure(failure: Any) -> str:
    """Return the text of what an activation failed with; empty if nothing did."""
    if failure is None:
        return ""
    if isinstance(failure, Exception):
        return format_error(failure)
    return str(failure)


def _name_status(activation: Activation) -> str:
    """Return the status of an activation; one that rests in a pause before a retry waits."""
    if activation.status is Status.FAILED and activation.retry_at:
        return "waiting"
    return _STATUS_NAMES[activation.status]


_STATUS_NAMES: Final = {
    Status.RUNNING: "running",
    Status.ROUTING: "running",
    Status.UNDOING: "running",
    Status.RETRYING: "running",
    Status.ENTERED: "running",
    Status.AWAITING_ANSWER: "waiting",
    Status.AWAITING_EVENT: "waiting",
    Status.HELD: "waiting",
    Status.FAILED: "failed",
    Status.DONE: "done",
    Status.HANDLED: "failed",
    Status.SKIPPED: "failed",
    Status.CANCELLED: "cancelled",
}
