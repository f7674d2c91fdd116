"""Nodes of a pool on the workers of a Dask cluster: a module for `dask worker --preload`.

    dask worker tcp://scheduler:8786 --preload graphorch.dask report.py --db URL --pool gpu

What follows the module is for it: the flows whose nodes run there, as `graphorch worker` takes
them, the database of their runs, to which results go, and the pools. A node is found in the
worker's own copy of the flow; what a job sends chooses no code. Nodes run on as many threads as the
worker has (`--nthreads`). The runs themselves are driven by `graphorch worker report.py --pool
gpu=dask://scheduler:8786`, with the same database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from graphorch.cli.flow_loader import AnyFlow, load_flow
from graphorch.cli.journals import locate_journal
from graphorch.distributed.dask.node_host import NodeHost
from graphorch.distributed.node_handler import WorkerFlow
from graphorch.errors import GraphError, InputError, JournalError
from graphorch.graph.options import is_pool
from graphorch.journal.address import EXAMPLE
from graphorch.runs.options import check_resources

_ATTRIBUTE = "graphorch_host"  # of a worker of Dask


def _load_flows(_: click.Context, __: click.Parameter, names: Sequence[str]) -> list[AnyFlow]:
    try:
        flows = [load_flow(name).flow for name in names]
        for flow in flows:
            check_resources(flow.plan, None)
        return flows
    except (GraphError, InputError) as error:
        raise _Refused(str(error)) from None


def _find_database(_: click.Context, __: click.Parameter, db: str) -> str:
    """Return the URL of a database; on the command line, of one that can be used now."""
    from graphorch.distributed.postgres.preparation import check_database

    try:
        address = locate_journal(db).address
        if not address.is_database:
            raise InputError(
                "Nodes of a pool need the PostgreSQL database of their runs, to which results go. "
                f"Write --db {EXAMPLE}, or set GRAPHORCH_DB."
            )
        if not _is_in_worker():
            asyncio.run(check_database(address.text))
    except (InputError, JournalError) as error:
        raise _Refused(str(error)) from None
    return address.text


def _is_in_worker() -> bool:
    """Return whether Dask has started the worker, which then waits for a database that is away."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check_pools(_: click.Context, __: click.Parameter, pools: Sequence[str]) -> Sequence[str]:
    wrong = [pool for pool in pools if not is_pool(pool)]
    if wrong:
        raise _Refused(f"--pool {wrong[0]!r:.80} is not the name of a pool, such as gpu.")
    return pools


class _Refused(click.ClickException):
    """Error that `dask worker` prints as one line before it ends."""

    exit_code = 2


@click.command(help=__doc__)
@click.argument("flows", nargs=-1, required=True, metavar="FLOW", callback=_load_flows)
@click.option("--db", default="", callback=_find_database)
@click.option("--pool", "pools", multiple=True, required=True, callback=_check_pools)
async def dask_setup(worker: Any, flows: Sequence[AnyFlow], db: str, pools: Sequence[str]) -> None:
    """Have a worker of Dask run nodes of pools."""
    host = NodeHost(worker, [WorkerFlow(flow.plan) for flow in flows], pools)
    setattr(worker, _ATTRIBUTE, host)
    await host.begin(db)


async def dask_teardown(worker: Any) -> None:
    """Interrupt what runs on a worker that closes; others begin it again."""
    host: NodeHost | None = getattr(worker, _ATTRIBUTE, None)
    if host is not None:
        await host.end()
