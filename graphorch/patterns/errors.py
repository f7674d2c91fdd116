"""Errors that end a run of a pattern.

GraphorchError
├── GateRejected     pipeline: a gate did not let a step pass
├── PlanRefused      supervisor: a plan is empty, cyclic, repeats a task, or names no known worker
├── Declined         supervisor: raised by a worker that is the wrong one for its task
├── TasksDeclined    supervisor: tasks were declined again after another plan
├── ScoreOutside     router and evaluator loop: a confidence or score outside its range
└── Unjudged         evaluator loop: the judge's first answer was invalid, so nothing is judged
"""

from __future__ import annotations

import math
from typing import Any

from graphorch.errors import GraphorchError
from graphorch.text import plural


class GateRejected(GraphorchError):
    """A gate did not let `step` pass in `attempts` attempts; `reason` is "" if it gave none."""

    def __init__(self, step: str, reason: str, attempts: int, *, for_good: bool) -> None:
        self.step, self.reason, self.attempts = step, reason, attempts
        outcome = "stopped it"
        fix = "Look at what the step wrote."
        if not for_good:
            outcome = f"rejected {plural(attempts, 'attempt')} of it"
            fix = (
                "Look at what the step wrote, raise attempts=, or have the gate return "
                "Repeat(reason) to tell the step what to change."
            )
        why = f": {reason}" if reason else "; it gave no reason"
        super().__init__(f"The gate after '{step}' {outcome}{why}. {fix}")


class PlanRefused(GraphorchError):
    """A supervisor's plan that cannot be carried out; `tasks` names the tasks that are wrong."""

    def __init__(self, message: str, tasks: tuple[str, ...] = ()) -> None:
        self.tasks = tasks
        super().__init__(message)


class Declined(GraphorchError):
    """Raise it in a worker that is the wrong one for its task; the planner reads the message."""


class TasksDeclined(GraphorchError):
    """Tasks that no worker took after all replans; `reasons` gives the reason for each task."""

    def __init__(self, planner: str, reasons: dict[str, str], replans: int) -> None:
        self.reasons = reasons
        listed = "; ".join(f"{task}: {reason}" for task, reason in reasons.items())
        super().__init__(
            f"{len(reasons)} of the tasks of '{planner}' were declined after "
            f"{plural(replans, 'replan')}: {listed}. Give the planner clearer descriptions of the "
            "workers, add a worker for such tasks, or raise replans=."
        )


class ScoreOutside(GraphorchError):
    """A score or confidence that is not a number of its range."""

    def __init__(self, name: str, value: object, low: float, high: float) -> None:
        self.value = value
        super().__init__(
            f"'{name}' gave {value!r}, which is not a number from {low:g} to {high:g}. "
            "Scale it, or declare the range that it has."
        )


class Unjudged(GraphorchError):
    """An evaluator loop whose judge gave no valid answer before any attempt was judged."""

    def __init__(self, judge: str, reason: str) -> None:
        super().__init__(
            f"'{judge}' gave no valid answer, and no attempt was judged before: {reason} "
            "Use a model that follows the schema, or give the fields of the judge's slice "
            "defaults, and the attempt is kept without a judgement."
        )


def check_score(name: str, value: Any, low: float, high: float) -> float:
    """Return a score as a number. Raises `ScoreOutside` unless it lies in `low` … `high`."""
    if getattr(value, "ndim", None) == 0:  # a scalar of numpy or torch counts by its value
        value = value.item()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise ScoreOutside(name, value, low, high)
    return float(value)
