"""`graphorch fork`: a copy of a run up to a node."""

from __future__ import annotations

from tests.cli.flows import (
    finish_run,
    run_json,
)
from tests.cli.shell import Shell


def test_fork_stops_before_node(shell: Shell) -> None:
    """A fork is a new run that stands before its node, and can be resumed."""
    run_id = finish_run(shell)
    ended = shell("fork", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")
    new_id = ended.out.strip()
    assert (
        ended.err
        == f"a copy of run {run_id[:8]} up to 'end'; resume with: graphorch resume ask.py "
        f"{new_id[:8]} --db r.sqlite\n"
    )
    assert (
        shell("resume", "ask.py", new_id, "--db", "r.sqlite", "-q").out == "1 words on tides, yes\n"
    )
    assert (
        run_json(shell, "fork", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")["parent"]
        == run_id
    )
