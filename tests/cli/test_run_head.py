"""Head of a run: a run whose process is gone has crashed."""

from __future__ import annotations

from tests.cli.flows import (
    copy_crashed_run,
)
from tests.cli.shell import Shell


def test_killed_run_is_crashed_and_resumes(shell: Shell) -> None:
    """A run whose process was killed is shown as crashed, and can be resumed."""
    run_id = copy_crashed_run(shell)
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[:3] == [
        run_id,
        "crashed",
        "crashing",
    ]
    command = ("resume", "crashing.py", run_id, "--db", "r.sqlite")
    ended = shell(*command, "--model", "default")  # the embedded model in place of the one it names
    assert ended.code == 0
    assert "split started" not in ended.err
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[1] == "succeeded"
