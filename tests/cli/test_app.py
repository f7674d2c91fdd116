"""The command line as a whole: help that comes at once, and usage errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from graphorch import __version__
from graphorch.cli.app import COMMANDS, load_command
from tests.cli.shell import FLOW, Shell, program


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
def test_help_and_version_load_no_command(option: str) -> None:
    """Neither imports a command or anything that only commands need."""
    modules = loaded_modules(option)
    assert "typer" in modules
    assert not {"pydantic", "networkx", "openai", "graphviz", "rich", "graphorch.flow"} & modules
    assert not [name for name in modules if name.startswith("graphorch.cli.commands")]


def test_help_of_command_loads_only_that_command() -> None:
    """The help of a command imports the module of that command and of no other one."""
    entries = {location.partition(":")[0] for location, _ in COMMANDS.values()}
    modules = loaded_modules("render", "--help")
    assert entries & modules == {COMMANDS["render"][0].partition(":")[0]}


@pytest.mark.parametrize("words", COMMANDS)
def test_command_table_names_existing_functions(words: str) -> None:
    """Each entry of the table can be imported, and its command has the name that was typed."""
    assert load_command(words).callback is not None


def test_help_names_every_command(shell: Shell) -> None:
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
        "replay",
        "rerun",
        "fork",
        "policies",
    ):
        assert f"\n  {command} " in ended.out
        assert "Exit codes" in " ".join(shell(command, "--help").out.split())


def test_the_version_is_the_packages(shell: Shell) -> None:
    assert shell("--version").out == f"graphorch {__version__}\n"


@pytest.mark.parametrize(
    "arguments, says",
    [(["rnu"], "No such command 'rnu'"), (["run"], "FLOW"), (["show", "a.py", "--nope"], "--nope")],
)
def test_wrong_usage_exits_with_2(shell: Shell, arguments: list[str], says: str) -> None:
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_a_terminal_without_unicode_gets_escapes(shell: Shell) -> None:
    shell.write("essay.py")
    ended = asyncio.run(
        program(
            "run",
            "essay.py",
            "--topic",
            "größe",
            here=shell.here,
            environment={"PYTHONIOENCODING": "ascii"},
        )
    )
    assert (ended.code, ended.out) == (0, "1 words on gr\\xf6\\xdfe\n")


def test_a_reader_that_leaves_early_gets_no_traceback(shell: Shell, tmp_path: Path) -> None:
    """Nor does the run go on: a node that would wait for ever is stopped."""
    endless = "import asyncio\n@node\nasync def endless(draft: Draft) -> Draft:\n    return await asyncio.Event().wait()\n"
    shell.write(
        "essay.py",
        endless + FLOW.replace("chain(write)", 'chain(write, write.named("again"), endless)'),
    )
    script = f"{sys.executable} -c 'from graphorch.cli.app import main; main()' run essay.py --topic x --events | head -c 5"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, '{"eve')
    assert "Traceback" not in ended.stderr
