"""`graphorch workers`: who lives, what they do, and which versions of flows still have runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from graphorch.cli.commands.workers.shared_database import require_database
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_head import format_time
from graphorch.cli.shared_options import AsJson, Db, Debug
from graphorch.cli.tables import align_columns
from graphorch.cli.terminal import print_output, print_status, sanitize_line
from graphorch.text import plural
from graphorch.workers.overview import Overview, UnservedNodes, VersionOverview, read_overview

_WORKERS = ("WORKER", "PROCESS", "SINCE", "RUNS", "NODES", "POOLS", "TAKES")
_VERSIONS = ("FLOW", "VERSION", "RUNS", "WORKERS", "QUEUED", "LAG")
_SHORT = 8  # characters of a version
_MOST_PROBLEMS = 10


def list_workers(db: Db = "", as_json: AsJson = False, debug: Debug = False) -> None:
    """Show the workers of a database, and the versions of flows whose runs they take.

    A version is a graph: a flow whose graph has changed is another one, and its runs stay with
    workers that have it, or that can migrate it. A version can be retired once it has no runs.

    Exit codes: 0 done, 2 wrong usage or database.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        journal = require_database("workers", db)
        overview = asyncio.run(read_overview(journal.durable))
        if as_json:
            print_output(to_json_line(_describe(overview)))
        else:
            _print(overview)
    raise typer.Exit(0)


def _describe(overview: Overview) -> dict[str, Any]:
    return {
        "workers": [asdict(worker) for worker in overview.workers],
        "versions": [asdict(version) for version in overview.versions],
        "unserved": [asdict(nodes) for nodes in overview.unserved],
        "problems": dict(overview.problems),
    }


def _print(overview: Overview) -> None:
    if not overview.workers:
        print_output("no worker lives")
    else:
        rows = [
            (
                worker.name,
                f"{worker.host} {worker.pid}",
                format_time(worker.started_at),
                f"{worker.runs}/{worker.most_runs}",
                f"{worker.used_slots}/{worker.slots}",
                ", ".join(worker.pools) or "-",
                ", ".join(_shorten(kind) for kind in worker.kinds),
            )
            for worker in overview.workers
        ]
        print_output(_align(_WORKERS, rows))
    if overview.versions:
        print_output("")
        print_output(_align(_VERSIONS, [_format_version(each) for each in overview.versions]))
    for version in overview.versions:
        if version.runs and not version.workers:
            print_status(
                f"note: no living worker takes the runs of {sanitize_line(version.flow, 80)}@"
                f"{version.fingerprint[:_SHORT]}: start one whose file holds that version, or one "
                "that migrates it"
            )
        for run_id, problem in list(version.problems.items())[:_MOST_PROBLEMS]:
            print_status(f"note: run {run_id} is held back: {sanitize_line(problem, 600)}")
    for nodes in overview.unserved:
        print_status(f"note: {sanitize_line(_explain_unserved(nodes), 600)}")
    for url, problem in overview.problems.items():
        print_status(f"note: what waits at {url} is not known: {sanitize_line(problem, 600)}")


def _explain_unserved(nodes: UnservedNodes) -> str:
    """Return that nodes wait for a worker that does not live, and how to start one."""
    count = plural(nodes.waiting, "node")
    flow = f"{nodes.flow}@{nodes.fingerprint[:_SHORT]}"
    if nodes.pool is None:
        return f"{count} of {flow} cannot run: no living worker has that version"
    start = f"graphorch worker FLOW --pool {nodes.pool}"
    where = ""
    if nodes.cluster:
        address = nodes.cluster.partition("://")[2]
        start = f"dask worker {address} --preload graphorch.dask FLOW --db URL --pool {nodes.pool}"
        where = f" at {nodes.cluster}"
    return (
        f"{count} of {flow}{where} in pool '{nodes.pool}' cannot run, for {nodes.lag:.0f} s by "
        f"now: no living worker serves it; start `{start}`"
    )


def _format_version(version: VersionOverview) -> tuple[str, ...]:
    statuses = ", ".join(f"{count} {status}" for status, count in version.runs.items())
    return (
        version.flow,
        version.fingerprint[:_SHORT],
        statuses or "none",
        str(version.workers),
        str(version.queued),
        f"{version.lag:.1f} s" if version.queued else "-",
    )


def _shorten(kind: str) -> str:
    flow, _, fingerprint = kind.partition(":")[2].rpartition("@")
    return f"{flow}@{fingerprint[:_SHORT]}"


def _align(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[sanitize_line(cell, 200) for cell in row] for row in rows]
    return "\n".join(align_columns([headings, *cells]))
