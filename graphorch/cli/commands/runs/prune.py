"""`graphorch runs prune`: delete old runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import query_store, require_journal
from graphorch.cli.run_request import JournalPlace
from graphorch.cli.shared_options import Db, Debug, parse_age, parse_choice
from graphorch.cli.terminal import print_status, sanitize_line
from graphorch.journal.chain_key import VARIABLE
from graphorch.statuses import FINAL_STATUSES, RUN_STATUSES
from graphorch.text import plural


def prune(
    context: typer.Context,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Runs whose last change is older than this: 90s, 15m, 12h, 30d, 2w.",
            show_default=False,
        ),
    ],
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Runs with this status. Repeatable. Default: succeeded, partial, cancelled.",
        ),
    ] = None,
    any_key: Annotated[
        bool,
        typer.Option(
            "--any-key", help="Also runs of a key that GRAPHORCH_JOURNAL_KEY does not hold."
        ),
    ] = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Delete runs that are finished and old.

    Runs that could be resumed (failed, stopped, waiting) are deleted only if --status names them,
    and runs of another key than the one at hand only with --any-key.

    Exit codes: 0 done, 2 wrong usage or journal.
    """
    with exit_on_error(debug=debug):
        journal = require_journal(db or context.obj)
        prune_runs(journal, older_than, status or [], any_key=any_key)


def prune_runs(
    journal: JournalPlace, age: str, statuses: Sequence[str], *, any_key: bool = False
) -> None:
    """Delete runs whose last change is older than `age`. Raises `InputError` and `JournalError`."""
    before = time.time() - parse_age(age, "--older-than")
    chosen = [parse_choice(status, "--status", RUN_STATUSES) for status in statuses]
    if not chosen:
        chosen = [status for status in RUN_STATUSES if status in FINAL_STATUSES]
    pruned = query_store(
        journal, lambda store: store.prune(before=before, statuses=tuple(chosen), any_key=any_key)
    )
    print_status(f"deleted {plural(pruned.count, 'run')} ({', '.join(chosen)}; older than {age})")
    if pruned.refused:
        print_status(
            f"note: kept {plural(len(pruned.refused), 'run')} of another key, such as "
            f"{sanitize_line(pruned.refused[0])}: set {VARIABLE} to their key, or add --any-key"
        )
