"""What a shell offers while a command is typed: files with flows, and the runs of a journal.

A shell that is completing has no place for messages: where nothing can be offered, nothing is.
"""

from __future__ import annotations

from pathlib import Path

import typer

_MOST_RUNS = 50
_MOST_BYTES = 1_000_000  # of a file that is looked into


def complete_flow(incomplete: str) -> list[str]:
    """Return the folders, and the Python files that name graphorch, whose paths begin like this."""
    folder, _, beginning = incomplete.rpartition("/")
    here = Path(f"{folder}/" if folder or incomplete.startswith("/") else ".")
    prefix = incomplete[: len(incomplete) - len(beginning)]
    try:
        found = sorted(path for path in here.iterdir() if path.name.startswith(beginning))
        return [
            f"{prefix}{path.name}" + "/" * path.is_dir()
            for path in found
            if (path.is_dir() and path.name[0] not in "._") or _may_hold_flow(path)
        ]
    except OSError:
        return []


def _may_hold_flow(path: Path) -> bool:
    if path.suffix != ".py" or path.stat().st_size > _MOST_BYTES:
        return False
    return b"graphorch" in path.read_bytes()


def complete_run(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest runs whose ids begin like this, each with its flow, status and time."""
    # only a completion needs them: they take longer to import than most commands
    from graphorch.cli.journals import query_store
    from graphorch.cli.run_head import format_status, format_time
    from graphorch.cli.run_request import JournalPlace
    from graphorch.errors import GraphorchError
    from graphorch.journal.records import RunQuery
    from graphorch.runs.stores import resolve_address
    from graphorch.text import SHORT_ID, shorten_run_ids

    try:
        journal = JournalPlace(resolve_address(context.params.get("db") or True))
        if journal.address.is_missing:
            return []
        page = query_store(journal, lambda store: store.list_runs(RunQuery(limit=_MOST_RUNS)))
    except GraphorchError:
        return []
    ids = [head.run_id for head in page.runs]
    # who has typed more than the short id wants all of it
    words = shorten_run_ids(ids) if len(incomplete) <= SHORT_ID else ids
    offered = [
        (word, f"{head.flow}, {format_status(head)}, {format_time(head.created_at)}")
        for word, head in zip(words, page.runs, strict=True)
        if word.startswith(incomplete)
    ]
    newest = [("last", "the newest run")] if page.runs and "last".startswith(incomplete) else []
    return [*newest, *offered]
