"""`graphorch runs export`: write a run as one HTML file, which needs neither server nor journal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from graphorch.cli.completion import complete_flow
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable, print_written, write_text
from graphorch.cli.flow_loader import LoadedFlow, load_flow
from graphorch.cli.journals import find_stored_run, is_flow_name, query_store, require_journal
from graphorch.cli.run_request import JournalPlace
from graphorch.cli.shared_options import Db, Debug, RunId
from graphorch.cli.terminal import print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.validation import check_run_id


def export(
    context: typer.Context,
    run: RunId = "last",
    flow: Annotated[
        str,
        typer.Argument(
            metavar="[FLOW]",
            help="path.py, path.py:name or module:name; without it, no state and no reasons",
            show_default=False,
            autocompletion=complete_flow,
        ),
    ] = "",
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write this file, all of it or nothing; - is standard output.",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Write a run as one HTML file to share: its page, without a server.

    The file holds the picture, timeline, calls, conversation and records of the run as it is now,
    and with FLOW also its state after each record, reasons and critical path. It makes no request.
    Secret fields are hidden as on the page of `graphorch serve`; all else that the run holds is in
    the file. What a large run has too much of is left out, and named.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run, 3 the graph does not
    build.
    """
    with exit_on_error(debug=debug):
        check_output(output, is_forced=force)
        if is_flow_name(run):
            raise InputError(
                f"'{run}' is not the id of a run. The run comes first: "
                f"`graphorch runs export {flow or 'RUN'} {run} -o run.html`."
            )
        journal = require_journal(db or context.obj)
        check_run_id(run)
        head = query_store(journal, lambda store: find_stored_run(store, run))
        with contextlib.redirect_stdout(sys.stderr):  # what modules print
            loaded = load_flow(flow) if flow else None
        if loaded is not None and loaded.flow.name != head.flow:
            raise InputError(
                f"Run {head.run_id} is one of the flow '{head.flow}', and {loaded.reference} "
                f"defines '{loaded.flow.name}'. Name the flow that wrote the run, or none."
            )
        write_run(journal, head.run_id, loaded, output)


def check_output(output: str, *, is_forced: bool) -> None:
    """Raise `InputError` unless the file can be written, and nothing is lost by it."""
    if not output:
        raise InputError("-o is missing. Name the file: `graphorch runs export RUN -o run.html`.")
    if output == "-":
        return
    check_writable(output)
    if Path(output).is_file() and not is_forced:
        raise InputError(
            f"The file '{output}' exists. Name another one, or give --force to replace it."
        )


def write_run(journal: JournalPlace, run_id: str, loaded: LoadedFlow | None, output: str) -> None:
    """Write a run, and say what is left out. Raises `InputError` and `JournalError`."""
    from graphorch.server.export.exporting import export_run
    from graphorch.server.served_flow import ServedFlow

    flows = [ServedFlow(loaded.flow, loaded.reference)] if loaded else []
    exported = asyncio.run(export_run(journal.address, run_id, flows))
    if exported.problem:
        print_status(f"note: {sanitize_line(exported.problem, 400)}")
    for note in exported.notes:
        print_status(f"note: not in the file: {sanitize_line(note, 400)}")
    if output == "-":
        # As bytes: in another encoding the hashes of its policy would not fit.
        sys.stdout.buffer.write(exported.content.encode())
        sys.stdout.buffer.flush()
        return
    write_text(output, exported.content)
    print_written(output)
