"""`graphorch why`: explain what happened in a run, or what did not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import (
    check_argument_order,
    find_stored_run,
    query_store,
    require_journal,
)
from graphorch.cli.json_output import to_json_line, to_json_text
from graphorch.cli.shared_options import AsJson, Db, Debug, FlowName, RunId
from graphorch.cli.terminal import print_output, sanitize, sanitize_line
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.journal.store import Store
from graphorch.trace.analysis.explain import Reasons, list_node_names
from graphorch.views.reasons.why import Explanation, explain


def why(
    flow: FlowName,
    run: RunId = "last",
    node: Annotated[
        str,
        typer.Argument(
            metavar="NODE", help="Name or path of a node; node#2 for its second activation."
        ),
    ] = "",
    as_json: AsJson = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Explain why a node ran or did not, what it read, why that model, why that cost.

    Without NODE, explain how the run ended.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run or node, 3 the graph
    does not build.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        check_argument_order("why", flow, run)
        print_reasons(flow, run, node, db, as_json=as_json)


def print_reasons(flow: str, run_id: str, node: str, db: str, *, as_json: bool) -> None:
    """Explain a node or a run.

    Raises `InputError`, `JournalError`, `ReplayDiverged`, and `GraphError` if the flow does not
    build.
    """
    journal, plan = require_journal(db), load_flow(flow).flow.plan
    try:
        explanation = query_store(journal, lambda store: _explain(store, plan, run_id, node))
    except InputError as error:
        if node or run_id not in list_node_names(plan):
            raise
        raise InputError(
            f"{error} '{run_id}' is a node: write `graphorch why {flow} last {run_id}`."
        ) from None
    if as_json:
        print_output(to_json_line(asdict(explanation)))
        return
    for reasons in explanation.reasons:
        print_output(sanitize("\n".join(_format_reasons(reasons))))


async def _explain(store: Store, plan: Plan, word: str, node: str) -> Explanation:
    head = await find_stored_run(store, word)
    return explain(await store.load(head.run_id), plan, node)


def _format_reasons(reasons: Reasons) -> list[str]:
    lines = [f"{reasons.path or 'the run'}: {reasons.status}"]
    lines += [f"  because {line}" for line in reasons.because]
    for name, value in reasons.saw.items():
        lines.append(f"  saw {name}: {sanitize_line(to_json_text(value), 400)}")
    lines += [f"  {line}" for line in reasons.did]
    lines += [f"  model: {line}" for line in reasons.model]
    lines += [f"  cost: {line}" for line in reasons.cost]
    return lines
