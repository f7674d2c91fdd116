"""What a pattern may end with, by its reason.

GraphorchError
├── GateRejected     pipeline: a gate did not let a step pass
├── PlanRefused      supervisor: a plan that cannot be carried out: empty, cyclic, with a task twice, for nobody
├── Declined         supervisor: raised by a worker that is the wrong one for its task
├── TasksDeclined    supervisor: tasks that were declined, and declined again after they were planned anew
└── ScoreOutside     router and evaluator loop: a confidence or score outside its range
"""

from __future__ import annotations

from graphorch.errors import GraphorchError


class GateRejected(GraphorchError):
    """A gate did not let `step` pass after so many `attempts`; `reason` is what the gate said, if it said anything."""

    def __init__(self, step: str, reason: str, attempts: int, *, for_good: bool) -> None:
        self.step, self.reason, self.attempts = step, reason, attempts
        told = f": {reason}" if reason else "; it gave no reason"
        times = (
            "stopped"
            if for_good
            else f"rejected {attempts} attempt{'s' if attempts != 1 else ''} of"
        )
        more = (
            ""
            if for_good
            else ", raise attempts=, or have the gate return Repeat(reason) to tell the step what to change"
        )
        fix = f"Look at what the step wrote{more}."
        super().__init__(f"The gate after '{step}' {times} it{told}. {fix}")


class PlanRefused(GraphorchError):
    """A supervisor's plan that cannot be carried out. `tasks` names what is wrong with it, as far as it can be named."""

    def __init__(self, message: str, tasks: tuple[str, ...] = ()) -> None:
        self.tasks = tasks
        super().__init__(message)


class Declined(GraphorchError):
    """Raise it in a worker that is the wrong one for its task; the message says why, and the planner gets to read it."""


class TasksDeclined(GraphorchError):
    """Tasks that no worker took, after as many replans as were allowed. `reasons` gives the reason for each task."""

    def __init__(self, planner: str, reasons: dict[str, str], replans: int) -> None:
        self.reasons = reasons
        told = "; ".join(f"{task}: {reason}" for task, reason in reasons.items())
        fix = "Give the planner clearer descriptions of the workers, add a worker for such tasks, or raise replans=."
        super().__init__(
            f"{len(reasons)} of the tasks of '{planner}' were declined after {replans} replan{'s' if replans != 1 else ''}: {told}. {fix}"
        )


class ScoreOutside(GraphorchError):
    """A score or confidence that is no number of its range."""

    def __init__(self, name: str, value: object, low: float, high: float) -> None:
        self.value = value
        super().__init__(
            f"'{name}' gave {value!r}, which is no number from {low:g} to {high:g}. Scale it, or declare the range that it has."
        )
