"""`graphorch critical`: show the critical path of a run, and what would shorten it."""

from __future__ import annotations

from dataclasses import asdict

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import (
    check_argument_order,
    find_stored_run,
    query_store,
    require_journal,
)
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import AsJson, Db, Debug, FlowName, RunId
from graphorch.cli.tables import align_columns
from graphorch.cli.terminal import print_output, sanitize, sanitize_line
from graphorch.journal.store import Store
from graphorch.trace.analysis.critical_path import CriticalPath, LimitGain
from graphorch.views.reasons.critical_path import RunCriticalPath, read_critical_path

_MOST_LINES = 30  # of the path, and of the table
_HEADINGS = ("STEP", "VISITS", "SECONDS", "ON THE PATH", "SLACK", "RUN IF TWICE AS FAST")


def critical(
    flow: FlowName, run: RunId = "last", as_json: AsJson = False, db: Db = "", debug: Debug = False
) -> None:
    """Show what a run's time went into.

    That is: which nodes the run had to wait for, how much longer the others could have taken, and
    how long it would take with another concurrency limit, or with a node twice as fast.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run, 3 the graph does not
    build.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        check_argument_order("critical", flow, run)
        print_critical_path(flow, run, db, as_json=as_json)


def print_critical_path(flow: str, run_id: str, db: str, *, as_json: bool) -> None:
    """Print the critical path of a run.

    Raises `InputError`, `JournalError`, `ReplayDiverged`, and `GraphError` if the flow does not
    build.
    """
    journal, plan = require_journal(db), load_flow(flow).flow.plan

    async def read(store: Store) -> RunCriticalPath:
        head = await find_stored_run(store, run_id)
        return read_critical_path(await store.load(head.run_id), plan)

    found = query_store(journal, read)
    if as_json:
        print_output(to_json_line({"run_id": found.run_id, **asdict(found.path)}))
    else:
        print_output(sanitize(format_critical_path(found.path)))


def format_critical_path(path: CriticalPath) -> str:
    """Return a critical path for people: its nodes, the slack of all steps, and the limits."""
    lines = [
        f"the run took {path.measured:.3f} s; its critical path is {path.seconds:.3f} s "
        f"of {path.busy:.3f} s of work",
        "",
    ]
    for node, seconds in path.path[:_MOST_LINES]:
        lines.append(f"  {seconds:9.3f} s  {sanitize_line(node, 100)}")
    if len(path.path) > _MOST_LINES:
        lines.append(f"  and {len(path.path) - _MOST_LINES} more")
    rows = [
        (
            sanitize_line(slack.step, 60),
            str(slack.visits),
            f"{slack.seconds:.3f}",
            f"{slack.critical_seconds:.3f}",
            f"{slack.slack:.3f}",
            f"{slack.twice_as_fast:.3f}",
        )
        for slack in path.steps[:_MOST_LINES]
    ]
    if not rows:
        return f"the run took {path.measured:.3f} s, and none of its nodes took any time of it"
    lines += ["", *align_columns([_HEADINGS, *rows]), ""]
    lines += [_format_gain(gain) for gain in path.limits[:_MOST_LINES]]
    limits = ", ".join(f"{limit}: {seconds:.3f} s" for limit, seconds in path.with_limit.items())
    lines.append(
        f"with this many nodes of the run at once: {limits}; "
        f"without such a limit: {path.without_limit:.3f} s"
    )
    return "\n".join(lines)


def _format_gain(gain: LimitGain) -> str:
    """Return what a limit costs: `map 'each' runs 2 at once; with 4 the run would take 0.6 s`."""
    return (
        f"{sanitize_line(gain.limit, 60)} runs {gain.at_once} at once; "
        f"with {2 * gain.at_once} the run would take {gain.twice_as_wide:.3f} s, "
        f"without a limit {gain.without:.3f} s"
    )
