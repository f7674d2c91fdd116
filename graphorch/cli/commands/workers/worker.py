"""`graphorch worker`: take runs and nodes of a database, beside other workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from graphorch.cli.commands.workers.shared_database import refuse_resources, require_database
from graphorch.cli.endpoints import list_all_models, open_endpoints
from graphorch.cli.exit_codes import INTERRUPTED, exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.shared_options import ConfigFile, Db, Debug
from graphorch.cli.terminal import print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.workers.worker import Worker

_SECONDS_TO_LEAVE = 2.0  # after the second signal


def work(
    flows: Annotated[
        list[str],
        typer.Argument(
            metavar="FLOW",
            help="path.py, path.py:name or module:name; one or several",
            show_default=False,
        ),
    ],
    db: Db = "",
    slots: Annotated[
        int,
        typer.Option("--slots", metavar="NUMBER", help="Run at most this many nodes at once."),
    ] = 100,
    runs: Annotated[
        int, typer.Option("--runs", metavar="NUMBER", help="Own at most this many runs at once.")
    ] = 200,
    pool: Annotated[
        list[str] | None,
        typer.Option(
            "--pool",
            metavar="NAME[=URL]",
            help='Also run nodes with pool="NAME", for which this machine has what they need. '
            "Or NAME=dask://HOST:PORT: send them to a scheduler of Dask, whose workers run `dask "
            "worker HOST:PORT --preload graphorch.dask FLOW --db URL --pool NAME`. Repeatable.",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="SECONDS",
            help="When it is to stop, nodes may finish for so long before they are interrupted.",
        ),
    ] = 30.0,
    attempts: Annotated[
        int,
        typer.Option(
            "--attempts",
            metavar="NUMBER",
            help="Stop a run that ended its worker so often without getting on.",
        ),
    ] = 5,
    config: ConfigFile = "",
    debug: Debug = False,
) -> None:
    """Take runs of flows that were submitted to a database, and drive them.

    Start as many workers as you like, on any machine that reaches the database. Each takes runs of
    its own flows only, in the version that its files hold, or that they can migrate. If a worker
    dies, others go on with its runs within seconds.

    SIGTERM or Ctrl-C: it takes nothing new, lets nodes finish within the grace, and hands its runs
    over to other workers. A second signal interrupts the nodes that run here; others repeat them.

    Exit codes: 0 it was stopped and handed all over, 2 wrong usage, configuration or database, 3 a
    graph does not build, 75 it was cut off from the database and another worker goes on: start it
    again, 130 stopped by a second signal.
    """
    with exit_on_error(debug=debug):
        journal = require_database("worker", db)
        loaded = [load_flow(flow).flow for flow in flows]
        plans = [flow.plan for flow in loaded]
        refuse_resources(plans)
        client = open_endpoints(config, *plans, models=list_all_models(plans), journal=journal)
        pools, clusters = _read_pools(pool or ())
        worker = Worker(
            *loaded,
            url=journal.durable,
            slots=slots,
            runs=runs,
            pools=pools,
            clusters=clusters,
            grace=grace,
            attempts=attempts,
            client=client,
        )
        with contextlib.redirect_stdout(sys.stderr):  # what nodes print
            signals = asyncio.run(_run(worker, journal.address.shown))
    raise typer.Exit(INTERRUPTED if signals > 1 else 0)


def _read_pools(given: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the pools that this worker serves, and those of clusters with their schedulers."""
    pools: list[str] = []
    clusters: dict[str, str] = {}
    for text in given:
        name, mark, url = text.partition("=")
        if not mark:
            pools.append(name)
        elif clusters.setdefault(name, url) != url:
            raise InputError(f"--pool {name} has two schedulers: {clusters[name]} and {url}.")
    return pools, clusters


async def _run(worker: Worker, shown: str) -> int:
    """Run a worker until a signal stops it; return how many signals came."""
    loop = asyncio.get_running_loop()
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        worker.stop(now=signals > 1)
        if signals == 1:
            print_status(
                "stopping: running nodes may finish, and other workers go on with the runs; "
                "a second signal interrupts them"
            )
        elif signals == 2:
            loop.call_later(_SECONDS_TO_LEAVE, os._exit, INTERRUPTED)

    # On Windows, asyncio knows no handlers of signals: Ctrl-C cancels the worker.
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
    running = asyncio.ensure_future(worker.run())
    ready = asyncio.ensure_future(worker.wait_until_ready())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        versions = ", ".join(worker.versions)
        print_status(
            sanitize_line(f"worker {worker.name} takes runs of {versions} from {shown}", 1_000)
        )
    ready.cancel()
    await running
    return signals
