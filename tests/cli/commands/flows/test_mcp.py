"""`graphorch mcp`: what keeps a server from starting is one message, and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import FLOW, run_program
from tests.cli.shell import Shell as Shell
from tests.mcp_server.serving import run


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["essay.py", "--leg", "0"], 2, "--leg 0.0: not a time"),
        (["essay.py", "--leg", "nan"], 2, "--leg nan: not a time"),
        (["nowhere.py"], 2, "nowhere.py does not exist"),
        (["essay.py", "essay.py"], 2, "essay.py:flow is named twice"),
        (["essay.py", "other.py"], 2, "would both be the tool 'essay'"),
        (["broken.py"], 3, "does not build"),
        (["essay.py", "--db", "essay.py"], 2, "essay.py"),
        (["essay.py", "--usd", "-1"], 2, "usd"),
    ],
)
@pytest.mark.slow
def test_server_that_cannot_start_says_why(
    shell: Shell, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """Nothing is written to standard output, and the message names what to mend."""
    shell.write("essay.py")
    shell.write("other.py", FLOW.replace("flow =", "second ="))
    shell.write("broken.py", FLOW.replace(".chain(write)", ".chain(write, write)"))

    async def main() -> None:
        ended = await run_program("mcp", *arguments, here=tmp_path, stdin_data=b"")
        assert (ended.code, ended.out) == (code, ""), ended.err
        assert message in ended.err
        assert "Traceback" not in ended.err

    run(main)


@pytest.mark.slow
def test_client_that_never_speaks_ends_server(shell: Shell, tmp_path: Path) -> None:
    """An empty standard input is a client that left: the server ends, and its journal is there."""
    shell.write("essay.py")

    async def main() -> None:
        ended = await run_program("mcp", "essay.py", here=tmp_path, stdin_data=b"")
        assert (ended.code, ended.out) == (0, "")
        assert "serving over MCP: essay; runs are kept in" in ended.err
        assert tmp_path.joinpath("graphorch.sqlite").exists()

    run(main)


WITHOUT_MCP = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *others: None if name == "mcp" else find(name, *others)
from graphorch.cli.app import main
main()
"""


def test_missing_package_is_named(shell: Shell, tmp_path: Path) -> None:
    """Without the extra, the message says what to install."""
    shell.write("essay.py")
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_MCP, "mcp", "essay.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "pip install 'graphorch[mcp]'" in ended.stderr
