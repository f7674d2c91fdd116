"""Letters to a run that another process may drive, and what the sender prints about them."""

from __future__ import annotations

from typing import Any

from graphorch.cli.json_output import to_json_line
from graphorch.cli.terminal import print_output, print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.store import Store
from graphorch.text import shorten_run_id


async def has_owner(store: Store, run_id: str) -> bool:
    """Return whether another process drives a run."""
    return (await store.read_head(run_id)).is_under_way


def require_no_output(output: str, model: str) -> None:
    """Raise `InputError` for options that only matter to a process that drives the run."""
    for name, value in (("-o", output), ("--model", model)):
        if value:
            raise InputError(
                f"{name} {value} has no effect on a run that another process drives. Leave it out."
            )


def report_sent(
    run_id: str, what: str, described: dict[str, Any], *, as_json: bool, is_taken_in: bool
) -> None:
    """Print what became of a letter to a run that is driven elsewhere.

    `what` is what was sent, for people, and `described` the same for programs.
    """
    if as_json:
        print_output(to_json_line({"run_id": run_id, **described, "is_taken_in": is_taken_in}))
        return
    name, what = shorten_run_id(run_id), sanitize_line(what, 400)
    if is_taken_in:
        print_status(f"the process that drives run {name} took in the {what}")
    else:
        print_status(f"the {what} is stored; the owner of run {name} takes it in")
