"""What the commands for workers need: a database, and flows that need no resources."""

from __future__ import annotations

from collections.abc import Iterable

from graphorch.cli.journals import locate_journal
from graphorch.cli.run_request import JournalPlace
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
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


def refuse_resources(plans: Iterable[Plan]) -> None:
    """Raise `InputError` for a flow that needs resources, which only a program can make."""
    for plan in plans:
        for path, expected in plan.resources:
            raise InputError(
                f"Node '{path}' of flow '{plan.name}' needs resources of type "
                f"{expected.__name__}, which a command cannot make. Start its workers from a "
                f"program: Worker(flow, url=…, resources={expected.__name__}(…))."
            )
