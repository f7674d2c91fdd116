"""What a run did, to be read after it: one row per activation, one per model call, and how it ended.

Kept in memory by the scheduler and turned into rows only when somebody asks, so that a run pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphorch.core.run import Run
from graphorch.core.state import append_to
from graphorch.core.tree import Activation, Status

if TYPE_CHECKING:
    from graphorch.models.messages import Response


@dataclass(frozen=True, slots=True)
class CallReport:
    """One request to a model: where in the run it was made, and the whole response, or the error that came instead."""

    path: str
    model: str
    response: Response | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ActivationReport:
    """One activation. Times are seconds since the epoch, `taken` holds the indices of the edges that its tokens took."""

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


@dataclass(slots=True)
class RunReport:
    """One run, as it happened so far."""

    run: Run
    began: float
    ended: float = 0.0
    calls: Sequence[tuple[Activation, CallReport]] = ()
    abandoned: Sequence[str] = ()  # nodes whose thread could not be stopped and may still run

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.run_id

    @property
    def usd(self) -> float:
        """Dollars spent on model calls, as far as they are known."""
        return sum(call.response.usd for _, call in self.calls if call.response is not None)

    @property
    def usage(self) -> dict[str, int]:
        """Tokens and calls in all."""
        answered = [call.response for _, call in self.calls if call.response is not None]
        return {
            "input_tokens": sum(response.usage.input_tokens for response in answered),
            "output_tokens": sum(response.usage.output_tokens for response in answered),
            "calls": len(self.calls),
        }

    @property
    def exhausted(self) -> tuple[tuple[str, str], ...]:
        """The loops that reached their bound: the path of the node that would have gone back, and the name of where to."""
        return tuple(self.run.exhausted)

    def add_recorded_calls(self, answered: Sequence[tuple[Activation, Response]]) -> None:
        """Add model calls that a journal holds."""
        self.calls = append_to(
            self.calls,
            [
                (activation, CallReport(activation.path, response.model, response))
                for activation, response in answered
            ],
        )

    def add_call(self, activation: Activation, call: CallReport) -> None:
        """Add a model call."""
        self.calls = append_to(self.calls, ((activation, call),))

    def abandon(self, path: str) -> None:
        """Add a node whose thread could not be stopped."""
        self.abandoned = append_to(self.abandoned, (path,))

    def steps(self) -> list[ActivationReport]:
        """Every activation that ended or is under way, in order of its end."""
        spent: dict[Activation, list[Response]] = {}
        for activation, call in self.calls:
            spent.setdefault(activation, []).extend(
                [call.response] if call.response is not None else []
            )
        return [_step(item, spent.get(item, [])) for item in self.activations()]

    def activations(self) -> list[Activation]:
        """Every activation that ended, in that order, and then those that have not."""
        return [*self.run.history, *self.run.unfinished()]


def _step(activation: Activation, responses: list[Response]) -> ActivationReport:
    failure: Any = activation.failure
    return ActivationReport(
        path=activation.path,
        node=activation.step.name,
        activation=activation.id,
        status=_WORDS[activation.status],
        attempts=activation.attempt,
        began=activation.started_at,
        seconds=max(0.0, activation.ended_at - activation.started_at)
        if activation.ended_at
        else 0.0,
        calls=len(responses),
        input_tokens=sum(response.usage.input_tokens for response in responses),
        output_tokens=sum(response.usage.output_tokens for response in responses),
        usd=sum(response.usd for response in responses),
        taken=tuple(edge.index for edge in activation.taken_edges),
        error=""
        if failure is None
        else f"{type(failure).__name__}: {failure}"
        if isinstance(failure, Exception)
        else str(failure),
    )


_WORDS = {
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
