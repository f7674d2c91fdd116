"""New runs that are made of old ones: what a rerun would do, reruns and forks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from graphorch.engine.invocation.changed_output import (
    Slices,
    WrongFields,
    change_output,
    list_written_fields,
)
from graphorch.errors import did_you_mean
from graphorch.graph.plan import Plan
from graphorch.journal.records import RunLog
from graphorch.runs.fork import Effects, SelectedChange, select_change
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions
from graphorch.server.actions.beginning import begin_run
from graphorch.server.actions.limits import keep_budget
from graphorch.server.actions.request_ids import RequestId
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Reply
from graphorch.server.fitting_run import open_fitting
from graphorch.server.problems import Mistake, Problem, refuse_mistakes, write_pointer
from graphorch.server.served_flow import AnyFlow
from graphorch.views.reasons.what_if import Estimates, WhatIf, describe_what_if


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed in a rerun: the activation at `start` asks `model`, or gives `output`.

    `output` holds the fields that differ from what it wrote. With neither it runs again as it is.
    """

    start: str
    model: str = ""
    output: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A change of a run that fits it; `output` is what the activation gives, if it is not run."""

    flow: AnyFlow
    plan: Plan
    selected: SelectedChange
    output: Slices | None
    own: RunOptions


async def preview(context: ServerContext, run_id: str, change: Change) -> WhatIf:
    """Return what a rerun would do; nothing happens. Raises `Problem` and `InputError`."""
    prepared = await _prepare(context, run_id, change, "What-if")
    return await asyncio.to_thread(_preview, context, prepared, change)


def _preview(context: ServerContext, prepared: _Prepared, change: Change) -> WhatIf:
    old, limits = prepared.selected.old, context.options.get("limits")
    estimate = prepared.flow.estimate
    estimates = Estimates(
        estimate(model=old.model, limits=limits),
        estimate(model=change.model, limits=limits) if change.model else None,
    )
    own = prepared.own.get("budget")
    kept = (old.budget or {}).get("usd")
    return describe_what_if(
        prepared.selected,
        estimates,
        gives_output=prepared.output is not None,
        budget=kept if own is None else own.usd,
    )


async def rerun(
    context: ServerContext, run_id: str, change: Change, effects: Effects, request: RequestId
) -> Reply:
    """Begin a run that is an old one with a change. Raises as `preview` does.

    Raises `Problem` as well if effects would be repeated and that is refused.
    """
    prepared = await _prepare(context, run_id, change, "A rerun")
    if effects == "refuse" and prepared.selected.effects:
        raise _refuse_effects(prepared.selected)
    own: RunOptions = {**prepared.own, "run_id": request.run_id, "tags": request.tags}

    def start(manager: RunManager, options: RunOptions) -> Coroutine[Any, Any, Any]:
        given: RunOptions = {**options, **own}
        durable = given.get("durable", True)
        return manager.rerun(
            run_id, change.start, prepared.output, change.model, effects, durable, given
        )

    return await begin_run(context, prepared.flow, request, start)


async def fork(context: ServerContext, run_id: str, start_at: str, request: RequestId) -> Reply:
    """Copy a run up to an activation into a new one that is stopped there."""
    prepared = await _prepare(context, run_id, Change(start_at), "A fork")
    own: RunOptions = {**prepared.own, "run_id": request.run_id, "tags": request.tags}

    def start(manager: RunManager, options: RunOptions) -> Coroutine[Any, Any, Any]:
        given: RunOptions = {**options, **own}
        return manager.fork(run_id, start_at, given.get("durable", True), given)

    return await begin_run(context, prepared.flow, request, start, wait=1.0)


async def _prepare(context: ServerContext, run_id: str, change: Change, what: str) -> _Prepared:
    if change.model and change.output is not None:
        raise Problem(
            422,
            "input",
            "`model` runs the node again, and `output` replaces what it gave. Send one of them.",
        )
    async with open_fitting(context, run_id, what) as (run, plan):
        log = RunLog(run.head, tuple(run.records))
        served = context.find_flow(run.head.flow)
        assert served is not None
    selected = await asyncio.to_thread(select_change, plan, log, change.start)
    output = None if change.output is None else _build_output(selected, change.output)
    own = RunOptions(budget=keep_budget(context, selected.old.budget))
    return _Prepared(served.flow, plan, selected, output, own)


def _build_output(selected: SelectedChange, changed: dict[str, Any]) -> Slices:
    """Return what the changed activation gives. Raises `Problem` and `InputError`."""
    known = list_written_fields(selected.change)
    unknown: list[Mistake] = [
        {
            "where": f"/output{write_pointer([name])}",
            "what": f"'{selected.change.path}' writes no field '{name}'. "
            f"{did_you_mean(name, known)}",
        }
        for name in changed
        if name not in known
    ]
    if unknown:
        raise refuse_mistakes(unknown, "body")
    try:
        return change_output(selected.change, changed)
    except WrongFields as error:
        mistakes: list[Mistake] = [
            {"where": f"/output{write_pointer(place)}", "what": what}
            for place, what in error.faults
        ]
        raise refuse_mistakes(mistakes, "body") from error


def _refuse_effects(selected: SelectedChange) -> Problem:
    effects = [
        {"path": each.path, "effect": str(each.step.node.options.effect)}
        for each in selected.effects
    ]
    names = ", ".join(f"'{each['path']}' ({each['effect']})" for each in effects)
    return Problem(
        409,
        "effects-would-repeat",
        f"This would repeat effects: {names}. Nothing was begun. Send effects=repeat to have them "
        "act again, or effects=serve to use what they returned.",
        extra={"effects": effects},
    )
