"""The command line as a whole: help that imports little, and usage errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from graphorch import __version__
from graphorch.cli.app import COMMANDS, load_command
from tests.cli.shell import FLOW, Shell, run_program


def loaded_modules(*arguments: str) -> set[str]:
    """Return the modules that a process has imported after it ran a command."""
    code = (
        "import sys\nfrom graphorch.cli.app import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit:\n    print('MODULES', *sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stdout.split("MODULES")[1].split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_no_command(option: str) -> None:
    """Neither `--help` nor `--version` imports a command, or anything that only commands need."""
    modules = loaded_modules(option)
    assert "typer" in modules
    assert not {"pydantic", "networkx", "openai", "graphviz", "rich", "graphorch.flow"} & modules
    assert not [name for name in modules if name.startswith("graphorch.cli.commands")]


def test_command_help_loads_only_that_command() -> None:
    """The help of a command imports the module of that command and of no other one."""
    entries = {location.partition(":")[0] for location, _ in COMMANDS.values()}
    modules = loaded_modules("render", "--help")
    assert entries & modules == {COMMANDS["render"][0].partition(":")[0]}


@pytest.mark.parametrize("words", COMMANDS)
def test_command_table_entries_load(words: str) -> None:
    """Each entry of the table can be imported."""
    assert load_command(words).callback is not None


@pytest.mark.parametrize("words", COMMANDS)
def test_options_are_lower_case(words: str) -> None:
    """Options are named where they are declared: typer 0.27 makes `--STATUS` of a metavar."""
    names = [name for parameter in load_command(words).params for name in parameter.opts]
    assert [name for name in names if name.startswith("--") and name != name.lower()] == []


def test_help_lists_every_command(shell: Shell) -> None:
    """Each command is listed, and its own help explains its exit codes."""
    ended = shell("--help")
    assert ended.code == 0
    for command in (
        "run",
        "check",
        "render",
        "show",
        "runs",
        "resume",
        "answer",
        "send",
        "replay",
        "rerun",
        "fork",
        "policies",
    ):
        assert f"\n  {command} " in ended.out
        assert "Exit codes" in " ".join(shell(command, "--help").out.split())


def test_version_is_package_version(shell: Shell) -> None:
    """`--version` prints the version of the package."""
    assert shell("--version").out == f"graphorch {__version__}\n"


@pytest.mark.parametrize(
    "arguments, message",
    [(["rnu"], "No such command 'rnu'"), (["run"], "FLOW"), (["show", "a.py", "--nope"], "--nope")],
)
def test_wrong_usage_exits_with_2(shell: Shell, arguments: list[str], message: str) -> None:
    """Unknown commands, missing arguments and unknown options exit with 2."""
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_ascii_terminal_gets_escapes(shell: Shell) -> None:
    """A terminal that lacks a character gets its escape."""
    shell.write("essay.py")
    ended = asyncio.run(
        run_program(
            "run",
            "essay.py",
            "--topic",
            "größe",
            here=shell.here,
            environment={"PYTHONIOENCODING": "ascii"},
        )
    )
    assert (ended.code, ended.out) == (0, "1 words on gr\\xf6\\xdfe\n")


def test_closed_pipe_stops_run(shell: Shell, tmp_path: Path) -> None:
    """A reader that leaves early gets no traceback, and the run stops."""
    endless = """
import asyncio
@node
async def endless(draft: Draft) -> Draft:
    return await asyncio.Event().wait()
"""
    shell.write(
        "essay.py",
        endless + FLOW.replace("chain(write)", 'chain(write, write.named("again"), endless)'),
    )
    program = f"{sys.executable} -c 'from graphorch.cli.app import main; main()'"
    script = f"{program} run essay.py --topic x --events | head -c 5"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, '{"eve')
    assert "Traceback" not in ended.stderr
