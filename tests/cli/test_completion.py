"""What a shell offers for flows and runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from graphorch.cli.completion import complete_flow
from tests.cli.flows import run_json
from tests.cli.shell import PROGRAM, Shell


def offer(shell: Shell, *words: str, kind: str = "bash") -> list[str]:
    """Return what the program offers for the last word, as the shell's script asks it."""
    line = " ".join(["graphorch", *words])
    asked = {
        "_GRAPHORCH_COMPLETE": f"complete_{kind}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": line,
    }
    ended = subprocess.run(
        PROGRAM,
        cwd=shell.here,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


def test_shell_is_offered_flows_and_runs(shell: Shell) -> None:
    """Files with flows, `last`, and the short ids of the runs of the journal are offered."""
    shell.write("essay.py")
    shell.here.joinpath("other.py").write_text("print()")
    assert offer(shell, "run", "e") == ["essay.py"]
    assert offer(shell, "timeline", "") == []
    run = run_json(shell, "run", "essay.py", "--topic", "t", "--durable")
    assert offer(shell, "timeline", "") == ["last", run["run_id"][:8]]
    assert offer(shell, "why", "essay.py", run["run_id"][:2]) == [run["run_id"][:8]]
    assert offer(shell, "why", "essay.py", run["run_id"][:9]) == [run["run_id"]]
    assert offer(shell, "timeline", "--db", "no.sqlite", "") == []


def test_commands_are_offered(shell: Shell) -> None:
    """Commands and subcommands are offered without importing them."""
    assert offer(shell, "tim") == ["timeline"]
    assert "prune" in offer(shell, "runs", "")


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_script_of_shell_is_printed(
    shell: Shell, shell_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script that `--install-completion` installs can be read first."""
    # The shell that the tests run in, if any, does not matter: it is named.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    ended = shell("--show-completion", shell_name)
    assert (ended.code, "_GRAPHORCH_COMPLETE" in ended.out) == (0, True)


def test_flows_are_offered_by_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is completed part by part; hidden folders and files that are no flows are left out."""
    monkeypatch.chdir(tmp_path)
    for name in ("flows/deep", ".hidden", "empty"):
        Path(name).mkdir(parents=True)
    Path("flows/a.py").write_text("from graphorch import Graph")
    Path("flows/b.py").write_text("")
    Path("flows/c.txt").write_text("graphorch")
    assert complete_flow("") == ["empty/", "flows/"]
    assert complete_flow("flows/") == ["flows/a.py", "flows/deep/"]
    assert complete_flow(f"{tmp_path}/flows/a") == [f"{tmp_path}/flows/a.py"]
    assert complete_flow("nowhere/") == []
