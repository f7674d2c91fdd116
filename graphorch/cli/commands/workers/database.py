"""`graphorch db`: prepare a PostgreSQL database for runs and workers."""

from __future__ import annotations

import asyncio

import typer

from graphorch.cli.commands.workers.shared_database import require_database
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.shared_options import Db, Debug
from graphorch.cli.terminal import print_output, sanitize_line


def check_tables(context: typer.Context, db: Db = "", debug: Debug = False) -> None:
    """Say whether a PostgreSQL database is ready for runs and workers.

    `graphorch db init` prepares one.

    Exit codes: 0 it is ready, 2 it is not, or cannot be reached.
    """
    if context.invoked_subcommand is not None:
        context.obj = db
        return
    with exit_on_error(debug=debug):
        from graphorch.distributed.postgres.preparation import check_database

        journal = require_database("db", db)
        asyncio.run(check_database(journal.durable))
        print_output(f"ready: {sanitize_line(str(journal.address), 300)}")
    raise typer.Exit(0)


def init(context: typer.Context, db: Db = "", debug: Debug = False) -> None:
    """Make the tables of graphorch in a PostgreSQL database, in a schema of their own.

    The database exists already (`createdb`). Repeated, it changes nothing, and completes what an
    earlier call left undone. The user needs the right to create in that database.

    Exit codes: 0 done, 2 wrong database, or tables of another version.
    """
    with exit_on_error(debug=debug):
        from graphorch.distributed.postgres.preparation import initialize_database

        journal = require_database("db init", db or context.obj)
        is_new = asyncio.run(initialize_database(journal.durable))
        done = "made the tables of graphorch in" if is_new else "the tables were there already in"
        print_output(f"{done} {sanitize_line(str(journal.address), 300)}")
    raise typer.Exit(0)


def upgrade(context: typer.Context, db: Db = "", debug: Debug = False) -> None:
    """Bring the tables of a PostgreSQL database to the version that this graphorch needs.

    Stop the workers of earlier versions first. What is stored stays.

    Exit codes: 0 done, 2 wrong database, or tables of a later version.
    """
    with exit_on_error(debug=debug):
        from graphorch.distributed.postgres.preparation import upgrade_database

        journal = require_database("db upgrade", db or context.obj)
        version = asyncio.run(upgrade_database(journal.durable))
        place = sanitize_line(str(journal.address), 300)
        print_output(f"upgraded the tables of version {version} in {place}")
    raise typer.Exit(0)
