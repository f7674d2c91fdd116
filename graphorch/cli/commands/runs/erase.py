"""`graphorch runs erase`: delete the content of one run."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import query_store, require_journal
from graphorch.cli.shared_options import Db, Debug
from graphorch.cli.terminal import print_status


def erase(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The whole id of a run.", show_default=False)
    ],
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Delete all that a run read and wrote, for good. It stays in the list, with hashes to verify.

    Exit codes: 0 done, 2 wrong usage or journal, or the run is under way.
    """
    with exit_on_error(debug=debug):
        query_store(require_journal(db or context.obj), lambda store: store.erase(run))
        print_status(f"the content of run {run} was deleted; its name, times and hashes remain")
