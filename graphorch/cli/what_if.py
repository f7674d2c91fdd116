"""Replays, reruns and forks by the command line: what is asked of the flow, and what is told of the outcome."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from graphorch.cli.encoding import as_object
from graphorch.cli.finding import AnyFlow
from graphorch.cli.running import carry_out
from graphorch.cli.safe import result, safe, say
from graphorch.cli.telling import tell, tell_failure
from graphorch.cli.wishes import Journal, Wishes
from graphorch.core.tree import Activation
from graphorch.engine import fork as forks
from graphorch.errors import InputError, RunFailed, did_you_mean
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.runs.durable import rebuild_run
from graphorch.runs.fork import Effects, RerunResult
from graphorch.runs.result import Result
from graphorch.runs.stores import open_store


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be otherwise: at `start`, another model, or other values of what the node wrote."""

    start: str
    model: str
    values: tuple[str, ...]
    effects: Effects


def replayed(flow: AnyFlow, run_id: str, wishes: Wishes) -> int:
    """Replay a run and tell what it gave; the exit code. Raises `ReplayDiverged`, and what a store raises."""
    assert wishes.journal is not None
    try:
        ended = asyncio.run(flow.replay(run_id, durable=wishes.journal.path))
    except RunFailed as error:
        say("replayed: everything is as it was; no node ran and no model was asked")
        tell_failure(error, flow, wishes)
        raise
    say("replayed: everything is as it was; no node ran and no model was asked")
    return tell(flow, ended, wishes)


def rerun_with(flow: AnyFlow, run_id: str, change: Change, wishes: Wishes) -> int:
    """Rerun with a change, tell what came of it and how it differs; the exit code. Raises like `Flow.rerun`."""
    _check_start("rerun", change.start, wishes)
    if change.model and change.values:
        raise InputError(
            "--model runs the node again, and --set takes its place. Give one of them."
        )
    assert wishes.journal is not None
    output = (
        asyncio.run(_edited(flow.plan, run_id, change, wishes.journal)) if change.values else None
    )
    new_id, done = uuid.uuid4().hex, list[RerunResult[Any, Any]]()

    async def start(options: dict[str, Any]) -> Result[Any, Any]:
        del options["model"]  # of every agent; here it is of one node
        again = await flow.rerun(
            run_id,
            start=change.start,
            output=output,
            model=change.model,
            effects=change.effects,
            run_id=new_id,
            **options,
        )
        done.append(again)
        return again.result

    code = carry_out(
        flow, new_id, start, wishes, lambda: {"difference": asdict(done[0].difference)}
    )
    if done and wishes.form == "text" and not wishes.quiet:
        say(str(done[0].difference))
    return code


def forked(flow: AnyFlow, run_id: str, start: str, wishes: Wishes) -> None:
    """Fork a run, and tell the new one's id. Raises like `Flow.fork`."""
    _check_start("fork", start, wishes)
    assert wishes.journal is not None
    new_id = asyncio.run(flow.fork(run_id, start=start, durable=wishes.journal.path))
    if wishes.form == "json":
        result(as_object({"run_id": new_id, "parent": run_id, "at": start}))
        return
    result(new_id)
    say(f"it is run {run_id} up to '{safe(start)}'; go on with: {wishes.command('resume', new_id)}")


def _check_start(command: str, start: str, wishes: Wishes) -> None:
    if not start:
        raise InputError(
            f"--from is missing. Name the node to begin with: `graphorch {command} {wishes.flow} RUN --from NODE`, or NODE#2 for its second time."
        )


# ---- other values --------------------------------------------------------------------------------
async def _edited(plan: Plan, run_id: str, change: Change, journal: Journal) -> BaseModel:
    """What the node wrote, with some fields changed."""
    async with open_store(journal.path) as store:
        activation = await _activation(store, plan, run_id, change.start)
    model = (
        activation.step.node.signature.writes[0] if activation.step.node.signature.writes else None
    )
    if model is None:
        raise InputError(
            f"'{activation.path}' writes nothing, so there is nothing to set. Rerun from a node that does."
        )
    fields = activation.scope.plan.schema.fields
    written = {
        fields[index].name: value
        for index, value in (activation.update or {}).items()
        if fields[index].name in model.model_fields
    }
    changed = _values(change.values, model)
    try:
        made = model.model_validate({**written, **changed})
    except ValidationError as error:
        lines = "".join(
            f"\n  - {'.'.join(map(str, details['loc']))}: {details['msg']}"
            for details in error.errors(include_url=False)
        )
        raise InputError(
            f"--set: the output of '{activation.path}' ({model.__name__}) would not fit:{lines}"
        ) from error
    return made


async def _activation(store: Store, plan: Plan, run_id: str, start: str) -> Activation:
    _, rebuilt = await rebuild_run(store, plan, run_id)
    return forks.find_activation(rebuilt.run, start)


def _values(written: Sequence[str], model: type[BaseModel]) -> dict[str, Any]:
    """`field=value`: the value as JSON if it is some, else as text."""
    found: dict[str, Any] = {}
    for text in written:
        name, has_value, value = text.partition("=")
        if not has_value or name not in model.model_fields:
            wrong = (
                f"there is no field '{name}'"
                if has_value
                else "a field and its value belong together, as in score=9"
            )
            raise InputError(f"--set {text}: {wrong}. {did_you_mean(name, model.model_fields)}")
        found[name] = _value(value, model.model_fields[name].annotation)
    return found


def _value(text: str, annotation: Any) -> Any:
    if annotation is str:
        return text
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text
