"""`graphorch serve`: look at runs in a browser, answer and start them, and an API for programs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphorch.cli.commands.server.page_opener import open_page
from graphorch.cli.endpoints import list_all_models, open_endpoints
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import LoadedFlow, load_flow
from graphorch.cli.journals import locate_journal, query_store, require_journal
from graphorch.cli.run_request import JournalPlace, RunRequest
from graphorch.cli.shared_options import Activations, ConfigFile, Db, Debug, Model, Seconds, Usd
from graphorch.cli.terminal import print_output, print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.records import RunQuery
from graphorch.runs.options import RunOptions
from graphorch.text import plural, shorten_run_id

if TYPE_CHECKING:
    from graphorch.server.listening import Reachability

_MOST_NAMED = 10  # runs that are named at the end
_NEW_OBJECTS = 10_000  # after which Python looks for unused ones; by default 700
_DEFAULT_PORT = 8460  # as in graphorch.server.listening, which takes long to import


def serve(
    flows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FLOW]...",
            help="path.py, path.py:name or module:name; without any, runs are only read",
            show_default=False,
        ),
    ] = None,
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    config: ConfigFile = "",
    db: Db = "",
    port: Annotated[
        int, typer.Option("--port", metavar="NUMBER", help="Listen on this port; 0 is a free one.")
    ] = _DEFAULT_PORT,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="Listen on this address of the machine.")
    ] = "127.0.0.1",
    certificate: Annotated[
        str, typer.Option("--certificate", metavar="FILE", help="TLS: the certificate, as PEM.")
    ] = "",
    key: Annotated[
        str, typer.Option("--key", metavar="FILE", help="TLS: the key of the certificate, as PEM.")
    ] = "",
    behind_proxy: Annotated[
        str,
        typer.Option(
            "--behind-proxy",
            metavar="URL",
            help="The address that people open, if a proxy passes requests on to this server.",
        ),
    ] = "",
    token_file: Annotated[
        str,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Keep the token in this file of yours. Default: a new token for each start.",
        ),
    ] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything; begin and change nothing.")
    ] = False,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Do not open the page in a browser.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Show the runs of a journal in a browser, and offer them to programs.

    It prints one link and, on a terminal, opens it. The link holds a token that nothing works
    without; it is a new one for each start, unless --token-file keeps it. Programs send it in the
    header `Authorization: Bearer TOKEN`; GET /api/openapi.json describes the API.

    With FLOW, runs of these flows are begun, answered and continued there too, with the limits
    given here. Without any, or with --read-only, nothing is begun or changed.

    The server is for this machine. Beyond it, give --certificate and --key for TLS, or
    --behind-proxy with the address of a proxy that has it.

    Exit codes: 0 ended by Ctrl-C, 2 wrong usage, configuration, journal or port, 3 a graph does not
    build.
    """
    with exit_on_error(debug=debug):
        for package in ("starlette", "uvicorn"):
            if importlib.util.find_spec(package) is None:
                raise InputError(
                    f"`graphorch serve` needs the package {package}. Install it: "
                    "pip install 'graphorch[serve]'"
                )
        from graphorch.server.listening import Reachability

        reach = Reachability(host, port, certificate, key, behind_proxy)
        with contextlib.redirect_stdout(sys.stderr):  # what modules print
            loaded = [load_flow(flow) for flow in flows or ()]
        is_read_only = read_only or not loaded
        journal = require_journal(db) if is_read_only else locate_journal(db)
        request = RunRequest(
            model=model,
            usd=usd,
            seconds=seconds,
            activations=activations,
            config=config,
            journal=journal,
        )
        options = _build_options(request, loaded)
        query_store(journal, lambda store: store.list_runs(RunQuery(limit=1)))
        start = _Start(journal, loaded, options, reach, token_file, is_read_only, request)
        asyncio.run(_serve(start, opens=not no_open and sys.stdout.isatty()))


def _spare_collections() -> None:
    """Let Python look for unused cycles of objects less often in this process.

    Reading a run makes some 100,000 objects at once that are all kept. By default the collector
    looks at each of them several times meanwhile, and at every module, for nothing.
    """
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


@dataclass(frozen=True, slots=True)
class _Start:
    """What a server is started with."""

    journal: JournalPlace
    loaded: Sequence[LoadedFlow]
    options: RunOptions
    reach: Reachability
    token_file: str
    is_read_only: bool
    request: RunRequest


def _build_options(request: RunRequest, loaded: Sequence[LoadedFlow]) -> RunOptions:
    """Return the options of runs, and name the endpoints that they ask. Raises `InputError`."""
    if not loaded:
        return request.build_run_options()
    plans = [item.flow.plan for item in loaded]
    models = list_all_models(plans, request.model)
    client = open_endpoints(request.config, *plans, models=models, journal=request.journal)
    return replace(request, client=client).build_run_options()


async def _serve(start: _Start, *, opens: bool) -> None:
    """Print the link and serve until Ctrl-C. Raises `InputError` and `JournalError`."""
    from graphorch.server.app import build_app
    from graphorch.server.context import open_context
    from graphorch.server.gate.token import keep_token, make_token
    from graphorch.server.listening import listen
    from graphorch.server.served_flow import ServedFlow
    from graphorch.server.serving import Server
    from graphorch.server.settings import ServerSettings
    from graphorch.server.tool_calls import open_tools

    token = keep_token(Path(start.token_file)) if start.token_file else make_token()
    listener = listen(start.reach)
    settings = ServerSettings(
        hosts=listener.hosts,
        origins=listener.origins,
        token=token,
        is_read_only=start.is_read_only,
        model=start.request.model,
    )
    flows = [
        ServedFlow(
            item.flow,
            item.reference,
            item.about,
            item.sample,
            replace(start.request, flow=item.reference).format_command,
        )
        for item in start.loaded
    ]
    with listener.socket, contextlib.ExitStack() as stack:
        address = start.journal.address
        async with (
            open_context(settings, address, flows, start.options) as context,
            open_tools(context) as tools,
        ):
            server = Server(context, build_app(context, tools), start.reach)
            link = f"{listener.url}#token={token}"
            print_output(link)
            _describe(start)
            if opens and (page := open_page(link)) is not None:
                stack.callback(page.unlink, missing_ok=True)
            _spare_collections()
            with contextlib.redirect_stdout(sys.stderr):  # what nodes print
                stopped = await server.serve_until_signal(listener)
        _tell_stopped(stopped, start.journal.option)


def _tell_stopped(run_ids: Sequence[str], journal: str) -> None:
    """Say which runs were under way when the server ended, for people."""
    if run_ids:
        print_status(f"stopped {plural(len(run_ids), 'run')} under way; resume with:")
    for run_id in run_ids[:_MOST_NAMED]:
        print_status(f"  graphorch resume FLOW {shorten_run_id(run_id)}{journal}")
    if len(run_ids) > _MOST_NAMED:
        print_status(f"  and {len(run_ids) - _MOST_NAMED} more: graphorch runs --status stopped")


def _describe(start: _Start) -> None:
    """Say what is served, for people."""
    where = sanitize_line(start.journal.address.shown, 200)
    if start.is_read_only:
        print_status(f"serving the runs of {where}, to read only; Ctrl-C ends it")
        return
    names = ", ".join(sanitize_line(item.flow.name) for item in start.loaded)
    print_status(f"serving {names}; runs are kept in {where}; Ctrl-C ends it")
