"""`graphorch mcp`: serve flows as tools over the Model Context Protocol."""

from __future__ import annotations

import asyncio
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, TextIO

import typer

from graphorch.cli.endpoints import list_all_models, open_endpoints
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import LoadedFlow, load_flow
from graphorch.cli.journals import locate_journal, query_store
from graphorch.cli.run_request import JournalPlace, RunRequest
from graphorch.cli.shared_options import Activations, ConfigFile, Db, Debug, Model, Seconds, Usd
from graphorch.cli.terminal import print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.records import RunQuery


def mcp(
    flows: Annotated[
        list[str],
        typer.Argument(
            metavar="FLOW",
            help="path.py, path.py:name or module:name; one or several",
            show_default=False,
        ),
    ],
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    config: ConfigFile = "",
    db: Db = "",
    leg: Annotated[
        float,
        typer.Option(
            "--leg",
            metavar="SECONDS",
            help="After so long without an end, tell the client to call again for the rest. Keep "
            "it below the client's own timeout, which often is 60 seconds.",
        ),
    ] = 45.0,
    debug: Debug = False,
) -> None:
    """Serve flows as tools of an MCP client, over standard input and output.

    The client starts this command itself. In its configuration, write the command `graphorch` with
    the arguments `mcp`, `/path/of/flow.py`, `--db`, `/path/of/runs.sqlite`.

    Each FLOW is one tool: its arguments are the flow's input, its result the flow's output. The
    docstring of the flow's file describes it to the model that chooses among tools. Each call is a
    run in the journal, with the limits given here. It goes on when the client leaves, and a server
    that was started again knows it. If a flow asks a person, the client shows the question as a
    form; an answer that does not fit is asked for again. A client without forms is told the
    command that answers. A call that the client cancels stops its run, which `graphorch resume`
    continues. A call that names its run, by `graphorch/run_id` in `_meta`, may be repeated: it is
    one run.

    Clients of protocol 2026-07-28 and of those before it are served. What flows print goes to
    standard error. Beside the journal lies the key that seals what clients carry between two legs
    of a call, in the file FILE.mcp-key; for a database it is in ~/.local/state/graphorch.

    Exit codes: 0 the client left, 2 wrong usage, configuration or journal, 3 a graph does not
    build, 130 and 143 ended by a signal.
    """
    with exit_on_error(debug=debug):
        if not 0 < leg < math.inf:
            raise InputError(f"--leg {leg}: not a time. Write seconds, such as --leg 45.")
        if importlib.util.find_spec("mcp") is None:
            raise InputError(
                "`graphorch mcp` needs the package mcp. Install it: pip install 'graphorch[mcp]'"
            )
        from graphorch.mcp_server.stdio import claim_standard_streams

        # From here on, nothing but the protocol writes to standard output: flows print at will.
        with claim_standard_streams() as (reader, writer):
            loaded = [load_flow(flow) for flow in flows]
            plans = [item.flow.plan for item in loaded]
            journal = locate_journal(db)
            models = list_all_models(plans, model)
            client = open_endpoints(config, *plans, models=models, journal=journal)
            request = RunRequest(
                model=model,
                usd=usd,
                seconds=seconds,
                activations=activations,
                config=config,
                client=client,
                journal=journal,
            )
            query_store(journal, lambda store: store.list_runs(RunQuery(limit=1)))
            _serve(loaded, request, journal, leg, reader, writer)


def _serve(
    loaded: Sequence[LoadedFlow],
    request: RunRequest,
    journal: JournalPlace,
    leg: float,
    reader: TextIO,
    writer: TextIO,
) -> None:
    """Serve flows until their client leaves. Raises `InputError` for flows that cannot be tools."""
    from graphorch.mcp_server.call_state import read_key
    from graphorch.mcp_server.served_flows import ServedFlow
    from graphorch.mcp_server.served_runs import ServedRuns
    from graphorch.mcp_server.server import build_server
    from graphorch.mcp_server.stdio import serve

    served = [
        ServedFlow(
            item.flow,
            item.reference,
            item.about,
            replace(request, flow=item.reference).format_command,
        )
        for item in loaded
    ]
    runs = ServedRuns(journal.durable, request.build_run_options())
    server, calls = build_server(served, runs, key=read_key(journal.address), leg_seconds=leg)
    names = ", ".join(sanitize_line(item.tool_name) for item in served)
    where = sanitize_line(journal.address.shown, 200)
    print_status(f"serving over MCP: {names}; runs are kept in {where}")
    if reader.isatty():
        print_status(
            "note: this is a terminal, and the protocol is for programs: an MCP client starts "
            "this command itself. Ctrl-C ends it."
        )
    asyncio.run(serve(server, calls, runs, reader, writer))
