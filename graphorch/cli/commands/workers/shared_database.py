"""The database that the commands for workers need."""

from __future__ import annotations

from graphorch.cli.journals import locate_journal
from graphorch.cli.run_request import JournalPlace
from graphorch.errors import InputError
from graphorch.journal.address import EXAMPLE


def require_database(command: str, db: str) -> JournalPlace:
    """Return the database that `--db` names, or GRAPHORCH_DB. Raises `InputError` for a file."""
    journal = locate_journal(db)
    if not journal.address.is_database:
        got = f"got the file {db}" if db else "and none is named"
        raise InputError(
            f"`graphorch {command}` needs a PostgreSQL database, which workers share, {got}. "
            f"Write --db {EXAMPLE}, or set GRAPHORCH_DB; `graphorch db init` prepares it."
        )
    return journal
