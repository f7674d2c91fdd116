"""`graphorch runs erase`: the content of a run is deleted."""

from __future__ import annotations

from tests.cli.flows import (
    finish_run,
    run_json,
)
from tests.cli.shell import Shell


def test_erased_run_keeps_only_head(shell: Shell) -> None:
    """An erased run stays in the list, and nothing of its content stays in the file."""
    run_id = finish_run(shell)
    assert b"words on tides" in (shell.here / "r.sqlite").read_bytes()
    assert shell("runs", "erase", run_id, "--db", "r.sqlite").code == 0
    assert b"words on tides" not in b"".join(
        path.read_bytes() for path in shell.here.glob("r.sqlite*")
    )
    shown = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    assert (shown["is_erased"], shown["steps"]) == (True, [])
    assert "erased, the hashes are left" in shell("runs", "show", run_id, "--db", "r.sqlite").out
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "was erased; only its hashes are left" in ended.err
