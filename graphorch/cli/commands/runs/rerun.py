"""`graphorch rerun`: run a recorded run again from a node on, with something changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, TypeAlias

import typer
from pydantic.fields import FieldInfo

from graphorch.cli.commands.runs.stored_run import StoredRun, open_stored_run
from graphorch.cli.execution import execute
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import (
    check_argument_order,
    query_store,
)
from graphorch.cli.run_request import RunRequest, choose_output_format
from graphorch.cli.shared_options import (
    Activations,
    AsJson,
    ConfigFile,
    Db,
    Debug,
    FlowName,
    FromNode,
    Output,
    Quiet,
    RunId,
    Seconds,
    Usd,
    parse_choice,
    require_start_node,
)
from graphorch.cli.terminal import print_status
from graphorch.core.tree import Activation
from graphorch.engine import fork_selection as forks
from graphorch.engine.invocation.changed_output import Slices, change_output, list_written_fields
from graphorch.errors import InputError, did_you_mean
from graphorch.journal.store import Store
from graphorch.runs.durable import rebuild_run
from graphorch.runs.fork import Effects, RerunResult
from graphorch.runs.result import Result


def rerun(
    flow: FlowName,
    run: RunId = "last",
    start: FromNode = "",
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Run the node again with this model.")
    ] = "",
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Do not run the node; change this field of its output. Repeatable.",
        ),
    ] = None,
    effects: Annotated[
        str,
        typer.Option(
            "--effects",
            metavar="refuse|repeat|serve",
            help="For nodes that would act again: refuse, repeat, or use what they returned.",
        ),
    ] = "refuse",
    output: Output = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    config: ConfigFile = "",
    db: Db = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a node and what depends on it again, with another model or another output, and compare.

    Everything else is taken from the record. The result is a new run beside the old one, which
    stays as it is; the difference in path, state, cost and time is shown. Without --model and
    --set, the node simply runs again.

    Exit codes are those of `graphorch run`.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        check_argument_order("rerun", flow, run)
        kind = parse_choice(effects, "--effects", ("refuse", "repeat", "serve"))
        change = Change(start, model, tuple(values or ()), kind)
        stored = open_stored_run(flow, run, db=db, config=config, node_model=model)
        output_format = choose_output_format(as_json=as_json, as_events=False)
        request = stored.build_request(output_format, output, quiet=quiet)
        request = replace(request, usd=usd, seconds=seconds, activations=activations)
        code = rerun_with_change(stored, change, request)
    raise typer.Exit(code)


Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """Change of a rerun: from `start` on, another model, or other values of the node's output."""

    start: str
    model: str
    values: tuple[str, ...]
    effects: Effects


def rerun_with_change(stored: StoredRun, change: Change, request: RunRequest) -> int:
    """Rerun with a change, report the new run and its difference, and return the exit code.

    Raises as `Flow.rerun` does.
    """
    require_start_node(change.start, "rerun", request.flow)
    if change.model and change.values:
        raise InputError(
            "--model runs the node again, and --set replaces its output. Give only one of them."
        )
    output: Slices | None = None
    if change.values:
        output = _build_output(stored, change)
    new_id = uuid.uuid4().hex
    outcomes: list[RerunResult[Any, Any]] = []

    async def start(options: dict[str, Any]) -> Result[Any, Any]:
        # there it is the model of every agent; here it is the model of one node
        del options["model"]
        outcome = await stored.flow.rerun(
            stored.run_id,
            start=change.start,
            output=output,
            model=change.model,
            effects=change.effects,
            run_id=new_id,
            **options,
        )
        outcomes.append(outcome)
        return outcome.result

    def describe_difference() -> Mapping[str, Any]:
        difference = outcomes[0].difference
        return {
            "difference": {item.name: getattr(difference, item.name) for item in fields(difference)}
        }

    code = execute(stored.flow, new_id, start, request, describe_difference)
    if outcomes and request.output_format == "text" and not request.quiet:
        print_status(str(outcomes[0].difference))
    return code


# ---- another output ------------------------------------------------------------------------------
def _build_output(stored: StoredRun, change: Change) -> Slices:
    """Return what the node wrote, with the fields of `--set` changed. Raises `InputError`."""

    async def find(store: Store) -> Activation:
        _, rebuilt = await rebuild_run(store, stored.flow.plan, stored.run_id)
        return forks.find_activation(rebuilt.run, change.start)

    activation = query_store(stored.journal, find)
    changed = _parse_values(change.values, list_written_fields(activation))
    return change_output(activation, changed)


def _parse_values(values: Sequence[str], known: Mapping[str, FieldInfo]) -> Json:
    """Return the values of `--set FIELD=VALUE` by field. Raises `InputError`."""
    parsed: Json = {}
    for text in values:
        name, equals, value = text.partition("=")
        field = known.get(name)
        if not equals or field is None:
            problem = (
                f"there is no field '{name}'" if equals else "write FIELD=VALUE, as in score=9"
            )
            raise InputError(f"--set {text}: {problem}. {did_you_mean(name, known)}")
        parsed[name] = value if field.annotation is str else _parse_value(value)
    return parsed


def _parse_value(text: str) -> Any:
    """Return the value of a JSON text, or the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return text
