"""The one error of a run that did not reach its end: everything that went wrong, each with where and what happened before."""

from __future__ import annotations

from graphorch.core.tree import Activation
from graphorch.engine.scheduler import Scheduler
from graphorch.errors import (
    Ambiguous,
    BudgetExceeded,
    GraphorchError,
    LimitReached,
    NodeError,
    RunFailed,
)

_LIMITS = {
    "activations": "more nodes ran than Limits(activations=…) allows",
    "seconds": "it took longer than its limit in seconds allows",
}


def build_run_failed(scheduler: Scheduler) -> RunFailed:
    """The error for a run that failed or was stopped."""
    run = scheduler.run
    errors: list[Exception] = [_error(activation) for activation in run.failed()]
    limit = run.reason.partition("limit:")[2]
    if limit and not any(isinstance(error, BudgetExceeded) for error in errors):
        errors.insert(
            0,
            LimitReached(
                f"The run was stopped: {_LIMITS.get(limit, limit)}. What was done is kept; raise the limit to go on.",
                limit=limit,
            ),
        )
    if run.reason == "ambiguous":
        errors += [Ambiguous(_doubt(activation)) for activation in scheduler.in_doubt.values()]
    if not errors:
        errors.append(GraphorchError(_reason(scheduler)))
    message = f"Run {run.run_id} of flow '{run.plan.name}' {'was stopped' if run.reason != 'failed' else 'failed'} ({run.reason})"
    return RunFailed(message, errors, run.run_id, run.reason, scheduler.report)


def _doubt(activation: Activation) -> str:
    choice = 'Find out, and resume with ambiguous="repeat" to run it again, or "fail" to go on as if it had failed.'
    return f"Node '{activation.path}' must not act twice; it began, did not finish, and nobody knows whether it acted (key {activation.id}). {choice}"


def _error(activation: Activation) -> Exception:
    cause = activation.failure
    if isinstance(cause, BudgetExceeded):
        cause.add_note(
            f"at {activation.path}, activation {activation.id}, attempt {activation.attempt}"
        )
        return cause
    shown = (
        f"{type(cause).__name__}: {cause}"
        if isinstance(cause, BaseException)
        else str(cause or "it was interrupted")
    )
    where = {"node": activation.step.name, "path": activation.path, "activation": activation.id}
    error = NodeError(
        f"Node '{activation.step.name}' failed: {shown}",
        **where,
        attempt=activation.attempt,
        story=activation.story or (),
    )
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def _reason(scheduler: Scheduler) -> str:
    if scheduler.run.reason == "end not reached":
        return "Nothing failed, but no path led to END: every branch that reaches it was skipped. See the record's steps for which node was skipped and why."
    return f"The run was stopped: {scheduler.run.reason}."
