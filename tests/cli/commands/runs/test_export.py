"""`graphorch runs export`: a run as one file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.cli.flows import finish_run
from tests.cli.shell import Shell, run_program
from tests.server.export.exporting import read_about, read_groups


def test_run_is_written_whole(shell: Shell) -> None:
    """A file has the page of the run, and with its flow the state and the reasons."""
    run_id = finish_run(shell)
    ended = shell("runs", "export", "last", "-o", "run.html", "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "")
    assert "written to run.html" in ended.err
    content = (shell.here / "run.html").read_text("utf-8")
    assert read_about(content)["run"] == run_id
    assert "state" not in read_groups(content)
    ended = shell("runs", "export", run_id, "ask.py", "-o", "with.html", "--db", "r.sqlite")
    assert ended.code == 0
    assert "state" in read_groups((shell.here / "with.html").read_text("utf-8"))
    assert [name for name in shell.list_files() if name.endswith(".part")] == []


def test_file_is_replaced_by_force_only(shell: Shell) -> None:
    """A file that exists stays as it is, unless --force is given."""
    finish_run(shell)
    (shell.here / "run.html").write_text("mine")
    ended = shell("runs", "export", "last", "-o", "run.html", "--db", "r.sqlite")
    assert ended.code == 2
    assert "--force" in ended.err
    assert (shell.here / "run.html").read_text() == "mine"
    ended = shell("runs", "export", "last", "-o", "run.html", "--force", "--db", "r.sqlite")
    assert ended.code == 0
    assert (shell.here / "run.html").read_text("utf-8").startswith("<!doctype html>")


def test_standard_output_is_exact(shell: Shell) -> None:
    """`-o -` prints the file and nothing else, in UTF-8 whatever the terminal writes."""
    run_id = finish_run(shell)
    source = (shell.here / "ask.py").read_text()
    (shell.here / "ask.py").write_text(f"{source}\nprint('a module that prints')\n")
    command = ("runs", "export", run_id, "ask.py", "-o", "-", "--db", "r.sqlite")
    latin = {"PYTHONIOENCODING": "latin-1"}
    ended = asyncio.run(run_program(*command, here=shell.here, environment=latin))
    assert ended.code == 0
    assert ended.out.startswith("<!doctype html>")
    assert ended.out.endswith("</html>\n")
    assert "a module that prints" in ended.err
    assert "…" in ended.out


def test_packages_of_servers_are_not_needed(shell: Shell) -> None:
    """A run is written where neither starlette nor uvicorn is installed."""
    finish_run(shell)
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['starlette', 'uvicorn', 'mcp']))\n"
        "from graphorch.cli.app import main\nmain()"
    )
    command = ("runs", "export", "last", "ask.py", "-o", "run.html", "--db", "r.sqlite")
    ended = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert "state" in read_groups((shell.here / "run.html").read_text("utf-8"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("last",), "-o is missing"),
        (("nobody", "-o", "run.html"), "no run"),
        (("last", "-o", "nowhere/run.html"), "Cannot write"),
        (("last", "-o", "."), "it is a directory"),
        (("ask.py", "last", "-o", "run.html"), "The run comes first"),
        (("last", "other.py", "-o", "run.html"), "defines 'essay'"),
        (("last", "missing.py", "-o", "run.html"), "missing.py"),
    ],
)
def test_mistakes_are_named(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    """What is wrong is one message with exit code 2, and no file."""
    finish_run(shell)
    shell.write("other.py")
    ended = shell("runs", "export", *arguments, "--db", "r.sqlite")
    assert ended.code == 2
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert not (shell.here / "run.html").exists()


def test_damaged_run_is_refused(shell: Shell) -> None:
    """A run whose records were altered is an error that names it, and no file."""
    run_id = finish_run(shell)
    with closing(sqlite3.connect(shell.here / "r.sqlite")) as raw, raw:
        raw.execute("UPDATE records SET body = x'7b7d' WHERE run = 1 AND seq = 3")
    ended = shell("runs", "export", run_id, "-o", "run.html", "--db", "r.sqlite")
    assert ended.code == 2
    assert "record 3: it is not what was written" in ended.err
    assert not (shell.here / "run.html").exists()


def test_pipe_is_written_to(shell: Shell) -> None:
    """A device that exists is no file that could be lost."""
    finish_run(shell)
    assert shell("runs", "export", "last", "-o", os.devnull, "--db", "r.sqlite").code == 0
