"""The one error of a run that did not reach its end: everything that went wrong, and where."""

from __future__ import annotations

from graphorch.core.tree import Activation
from graphorch.engine.scheduler import Scheduler
from graphorch.errors import (
    Ambiguous,
    BudgetExceeded,
    GraphorchError,
    LimitReached,
    NodeError,
    NotUndone,
    RunFailed,
)
from graphorch.runs.drawing.run_drawing import RunDrawing
from graphorch.runs.notebook_errors import announce_in_notebook
from graphorch.statuses import LIMITS
from graphorch.text import explain_error, format_error, is_kind, plural


def build_run_failed(scheduler: Scheduler) -> RunFailed:
    """Return the error of a run that failed or was stopped."""
    run = scheduler.run
    errors: list[Exception] = [_build_error(activation, run.reason) for activation in run.failed()]
    limit = run.reason.partition("limit:")[2]
    if limit and not any(isinstance(error, BudgetExceeded) for error in errors):
        errors.insert(0, _build_limit_error(limit))
    if run.reason == "ambiguous":
        errors += [_build_ambiguous(activation) for activation in scheduler.in_doubt.values()]
    if run.plan.has_undos:
        errors += _list_not_undone(scheduler)
    if not errors:
        errors.append(GraphorchError(_explain_end(run.reason)))
    outcome = "failed" if run.reason == "failed" else f"was stopped ({run.reason})"
    if run.undoing is not None and run.undoing.is_whole and run.status == "cancelled":
        outcome = f"was cancelled ({run.reason})"
    message = f"Run {run.run_id} of flow '{run.plan.name}' {outcome}"
    return _build_run_failed(scheduler, message, errors, run.reason)


def list_not_undone(scheduler: Scheduler, *, undo: bool) -> list[str]:
    """Return the paths of what stays committed in a cancelled run although it could be undone.

    Raises `RunFailed` if it should have been undone.
    """
    errors = _list_not_undone(scheduler)
    if undo and (errors or scheduler.run.status != "cancelled"):
        raise build_run_failed(scheduler)
    return [error.path for error in errors]


def _list_not_undone(scheduler: Scheduler) -> list[NotUndone]:
    """Return an error for each undo that failed, and for what a cancelled run leaves committed."""
    from graphorch.core.compensation import list_kept
    from graphorch.core.tree import UndoScope

    run, errors = scheduler.run, list[NotUndone]()
    undoing = run.undoing
    for undo in undoing.failed if undoing is not None else ():
        assert isinstance(undo.scope, UndoScope)
        undone, cause = undo.scope.undone, undo.failure
        reason = format_error(cause) if isinstance(cause, Exception) else str(cause)
        error = _build_not_undone(
            undone, f"its undo failed after {plural(undo.attempt, 'attempt')}: {reason}"
        )
        if isinstance(cause, BaseException):
            error.__cause__ = cause
        errors.append(error)
    if run.status == "cancelled":
        left = undoing.list_left() if undoing is not None else []
        errors += [
            _build_not_undone(activation, "it was cancelled without undoing")
            for activation in (*left, *list_kept(run))
        ]
    return errors


def _build_not_undone(undone: Activation, why: str) -> NotUndone:
    return NotUndone(
        f"What '{undone.path}' committed is not undone: {why}. Undo it by hand (key {undone.id}).",
        path=undone.path,
        activation=undone.id,
    )


def build_unreadable(scheduler: Scheduler, errors: list[Exception]) -> RunFailed:
    """Return the error of a run that reached END with an output that cannot be folded.

    Nothing has to run again: with a mended reducer, `resume` returns the result.
    """
    run = scheduler.run
    message = (
        f"Run {run.run_id} of flow '{run.plan.name}' reached END, but its output is unreadable"
    )
    return _build_run_failed(scheduler, message, errors, "failed")


def _build_run_failed(
    scheduler: Scheduler, message: str, errors: list[Exception], reason: str
) -> RunFailed:
    """Return the error with its report and its picture, which a notebook's cell shows."""
    announce_in_notebook()
    report = scheduler.report
    return RunFailed(message, errors, report.run_id, reason, report, RunDrawing(report))


def _build_limit_error(limit: str) -> LimitReached:
    return LimitReached(
        f"The run was stopped: {LIMITS.get(limit, limit)}. "
        "Run it again, or resume it, under a larger limit.",
        limit=limit,
    )


def _build_ambiguous(activation: Activation) -> Ambiguous:
    return Ambiguous(
        f"Node '{activation.path}' must not act twice; it began, did not finish, and it is not "
        f"known whether it acted (key {activation.id}). "
        'Find out, and resume with ambiguous="repeat" to run it again, '
        'or "fail" to continue as if it had failed.'
    )


def _build_error(activation: Activation, end_reason: str) -> Exception:
    """Return the error of one failed activation, with its place in the run."""
    cause = activation.failure
    if isinstance(cause, Exception) and is_kind(cause, BudgetExceeded):
        # The run's own limit is not an error of the node: it keeps its type, and gets a note. One
        # that comes from the journal is made anew.
        if not isinstance(cause, BudgetExceeded):
            limit = end_reason.partition("limit:")[2]
            cause = BudgetExceeded(explain_error(cause), limit=limit)
        cause.add_note(
            f"at {activation.path}, activation {activation.id}, attempt {activation.attempt}"
        )
        return cause
    if isinstance(cause, BaseException):
        reason = format_error(cause)
    else:
        reason = str(cause or "it was interrupted")
    name = activation.step.name
    error = NodeError(
        f"Node '{name}' failed: {reason}",
        node=name,
        path=activation.path,
        activation=activation.id,
        attempt=activation.attempt,
        story=activation.story or (),
    )
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def _explain_end(reason: str) -> str:
    if reason == "end not reached":
        return (
            "Nothing failed, but no path led to END: every branch that reaches it was skipped. "
            "See the report's steps for the nodes that were skipped and why."
        )
    return f"The run was stopped: {reason}."
