"""The state of a run after a record, and what that record changed in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.debugger.live_state import read_scope_state, read_values
from graphorch.debugger.steps import DebugRecorder, DebugStep
from graphorch.errors import GraphorchError, InputError
from graphorch.graph.plan import Plan
from graphorch.statuses import SUCCESS_STATUSES
from graphorch.views.plain_json import to_plain
from graphorch.views.reading.clipping import ClippedRedaction
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.run_page import RunOutput


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field before and after a record, of which a secret one is hidden.

    `was_set` is False if it had no value before, or None.
    """

    field: str
    before: Any
    after: Any
    was_set: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateView:
    """The state after record `seq`: what every branch had written by then.

    `path` is that of the sub-flow or map item in which the record happened, "" for the run, and
    `inside` the state there. `changes` are those of the record. Long texts are cut, and `cut` is
    the number of characters left out. `running` are the paths of the activations that were under
    way, or waited. `problem` says why there is no state, such as a reducer that failed.
    """

    seq: int
    status: str
    state: dict[str, Any]
    path: str
    inside: dict[str, Any] | None
    changes: list[FieldChange]
    running: list[str]
    cut: int
    problem: str = ""


def read_state(run: OpenRun, plan: Plan, seq: int) -> StateView:
    """Return the state of a run after a record.

    Raises `InputError` for a record that the run does not have, `JournalError`, also for a run of
    another graph, and `ReplayDiverged`.
    """
    if not 1 <= seq <= run.seq:
        raise InputError(
            f"at={seq}: run {run.head.run_id} has the records 1 to {run.seq}. Ask for one of them."
        )
    redaction = build_plan_redaction(run, plan)
    recorder = DebugRecorder()
    if seq > 1:
        recorder.start_at(run.step_to(plan, seq - 1).run)
    core = run.step_to(plan, seq).run
    steps = recorder.collect(core, None, ())
    activation = _find_activation(core, run.records[seq - 1].body)
    state, problem = _read_values(core, redaction)
    path, inside = _read_inside(core, activation, redaction)
    return StateView(
        seq=seq,
        status=core.status,
        state=state,
        path=path,
        inside=inside,
        changes=list(_list_changes(steps, redaction)),
        running=[each.path for each in core.unfinished()],
        cut=redaction.cut.left_out,
        problem=problem,
    )


def read_output(run: OpenRun, plan: Plan) -> RunOutput:
    """Return the output of a run that has one; none of another, or that cannot be read.

    Raises `JournalError` and `ReplayDiverged`.
    """
    if run.head.status not in SUCCESS_STATUSES:
        return RunOutput()
    core = run.rebuild(plan).run
    if core.root.output is None:
        return RunOutput()
    redaction = build_plan_redaction(run, plan)
    try:
        output = plan.read_output.result(core.root.output)
    except GraphorchError as error:
        return RunOutput(redaction.text(str(error)))
    return RunOutput(redaction.data(to_plain(output)), redaction.cut.left_out)


def build_plan_redaction(run: OpenRun, plan: Plan) -> ClippedRedaction:
    """Return the redaction of a run with the secret fields that its flow has by now."""
    redaction = run.build_redaction()
    secrets = plan.marked.list_all_secrets() if plan.marked is not None else frozenset[str]()
    return replace(redaction, fields=redaction.fields | secrets)


def _read_values(core: Run, redaction: ClippedRedaction) -> tuple[dict[str, Any], str]:
    try:
        return redaction.data(to_plain(read_values(core))), ""
    except GraphorchError as error:
        return {}, redaction.text(str(error))


def _read_inside(
    core: Run, activation: Activation | None, redaction: ClippedRedaction
) -> tuple[str, dict[str, Any] | None]:
    """Return path and state of the sub-flow or map item in which something happened."""
    try:
        found = read_scope_state(core, activation)
    except GraphorchError:
        return "", None
    if found is None:
        return "", None
    path, state = found
    return path, redaction.data(to_plain(state.model_dump(exclude_unset=True)))


def _list_changes(steps: Iterable[DebugStep], redaction: ClippedRedaction) -> Iterable[FieldChange]:
    for step in steps:
        for name, values in step.changed.items():
            # By name, so that the redaction hides a secret field.
            before, after = (redaction.data({name: to_plain(value)})[name] for value in values)
            yield FieldChange(name, before, after, values[0] is not None)


def _find_activation(core: Run, body: Any) -> Activation | None:
    id_ = cast("Mapping[str, Any]", body).get("id") if isinstance(body, Mapping) else None
    known = [*core.unfinished(), *reversed(core.history)]
    return next((each for each in known if each.id == id_), None)
