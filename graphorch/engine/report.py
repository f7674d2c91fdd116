"""What a run did: one row per activation, one per model call, and how it ended.

The scheduler keeps what it has anyway; rows are made only when they are read, so that a run pays
nothing for its report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from graphorch.core.run import Run
from graphorch.core.state import append_to
from graphorch.core.tree import Activation, Status

if TYPE_CHECKING:
    from graphorch.models.messages import Response


@dataclass(frozen=True, slots=True)
class CallReport:
    """One request to a model: where in the run it was made, and the response, or the error."""

    path: str
    model: str
    response: Response | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ActivationReport:
    """One activation. Times are seconds since the epoch; `taken` holds indices of edges."""

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
    taken: tuple[int, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark of a node for people, made with `ctx.note`."""

    path: str
    text: str


@dataclass(slots=True)
class RunReport:
    """One run, as it happened so far."""

    run: Run
    began: float
    ended: float = 0.0
    calls: Sequence[tuple[Activation, CallReport]] = ()
    abandoned: Sequence[str] = ()  # nodes whose thread could not be stopped and may still run
    # What attempts noted; it counts for those activations that succeed.
    noted: dict[Activation, tuple[str, ...]] | None = None

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.run.run_id

    @property
    def usd(self) -> float:
        """Dollars spent on model calls, as far as they are known."""
        return sum(response.usd for response in self._responses())

    @property
    def usage(self) -> dict[str, int]:
        """Tokens and calls in all."""
        responses = self._responses()
        return {
            "input_tokens": sum(response.usage.input_tokens for response in responses),
            "output_tokens": sum(response.usage.output_tokens for response in responses),
            "calls": len(self.calls),
        }

    @property
    def exhausted(self) -> tuple[tuple[str, str], ...]:
        """Loops that reached their bound: (path of the last node, name of the loop's first)."""
        return tuple(self.run.exhausted)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Remarks of the nodes that succeeded, in order of their end."""
        if self.noted is None:
            return ()
        return tuple(
            Note(activation.path, text)
            for activation in self.run.history
            if activation.status is Status.DONE
            for text in self.noted.get(activation, ())
        )

    def add_note(self, activation: Activation, text: str) -> None:
        """Add a remark of an attempt under way."""
        if self.noted is None:
            self.noted = {}
        self.noted[activation] = (*self.noted.get(activation, ()), text)

    def add_recorded_calls(self, answered: Sequence[tuple[Activation, Response]]) -> None:
        """Add model calls that a journal holds."""
        calls = [
            (activation, CallReport(activation.path, response.model, response))
            for activation, response in answered
        ]
        self.calls = append_to(self.calls, calls)

    def add_call(self, activation: Activation, call: CallReport) -> None:
        """Add a model call."""
        self.calls = append_to(self.calls, ((activation, call),))

    def abandon(self, path: str) -> None:
        """Add a node whose thread could not be stopped."""
        self.abandoned = append_to(self.abandoned, (path,))

    def steps(self) -> list[ActivationReport]:
        """Return a row per activation: those that ended, in order, then those under way."""
        responses: dict[Activation, list[Response]] = {}
        for activation, call in self.calls:
            if call.response is not None:
                responses.setdefault(activation, []).append(call.response)
        return [
            _build_row(activation, responses.get(activation, []))
            for activation in self.activations()
        ]

    def activations(self) -> list[Activation]:
        """Return the activations that ended, in that order, then those that have not."""
        return [*self.run.history, *self.run.unfinished()]

    def _responses(self) -> list[Response]:
        return [call.response for _, call in self.calls if call.response is not None]


def _build_row(activation: Activation, responses: list[Response]) -> ActivationReport:
    has_ended = bool(activation.ended_at)
    seconds = max(0.0, activation.ended_at - activation.started_at) if has_ended else 0.0
    return ActivationReport(
        path=activation.path,
        node=activation.step.name,
        activation=activation.id,
        status=_STATUS_NAMES[activation.status],
        attempts=activation.attempt,
        began=activation.started_at,
        seconds=seconds,
        calls=len(responses),
        input_tokens=sum(response.usage.input_tokens for response in responses),
        output_tokens=sum(response.usage.output_tokens for response in responses),
        usd=sum(response.usd for response in responses),
        taken=tuple(edge.index for edge in activation.taken_edges),
        error=_describe_failure(activation.failure),
    )


def _describe_failure(failure: Any) -> str:
    if failure is None:
        return ""
    if isinstance(failure, Exception):
        return f"{type(failure).__name__}: {failure}"
    return str(failure)


_STATUS_NAMES: Final = {
    Status.RUNNING: "running",
    Status.ROUTING: "running",
    Status.RETRYING: "running",
    Status.ENTERED: "running",
    Status.AWAITING_ANSWER: "waiting",
    Status.FAILED: "failed",
    Status.DONE: "done",
    Status.HANDLED: "failed",
    Status.SKIPPED: "failed",
    Status.CANCELLED: "cancelled",
}
