"""Servers that are started as programs, over real pipes, most of them hostile."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from graphorch.agents.mcp.declaration import McpLimits
from graphorch.agents.mcp.errors import (
    CallTimedOut,
    ConnectionLost,
    ListingRefused,
    McpError,
    ServerUnavailable,
    ToolFailed,
)
from graphorch.agents.mcp.server import McpServer
from tests.agents.mcp.servers import (
    call_tools,
    start_hostile,
    try_tool,
    use,
)

ROOT = Path(__file__).parents[4]
ERAS = pytest.mark.parametrize("era", [(), ("--modern",)], ids=["2025", "2026"])


def fail_to_list(server: McpServer) -> McpError:
    """Return the error of a server that cannot be used."""

    async def work(server: McpServer) -> McpError:
        with pytest.raises(McpError) as caught:
            await server.take_listing()
        return caught.value

    return use(server, work)


def is_running(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return not re.search(r"^State:\s+Z", status, re.MULTILINE)


def wait_until_gone(pid: int) -> bool:
    """Return whether a process ends within two seconds."""
    for _ in range(200):
        if not is_running(pid):
            return True
        time.sleep(0.01)
    return False


@ERAS
def test_server_answers_both_revisions(era: tuple[str, ...]) -> None:
    """A server of either revision is listed and called; null and odd signs arrive as they are."""
    text, odd = call_tools(start_hostile(*era), "echo", "märchen / erzählen", text="hé", none=None)
    assert json.loads(str(text)) == {"text": "hé", "none": None}
    assert odd == "märchen / erzählen"


@ERAS
def test_failure_of_tool_is_told(era: tuple[str, ...]) -> None:
    """What a server reports as an error is a text for the model, and the server goes on."""
    failed, echo = call_tools(start_hostile(*era), "fail", "echo")
    assert isinstance(failed, ToolFailed)
    assert str(failed) == "no such file"
    assert echo == "{}"


@ERAS
def test_large_answer_is_refused_alone(era: tuple[str, ...]) -> None:
    """An answer of 50 MB is not kept, the call is told so, and the server goes on."""
    server = start_hostile(*era)
    large, echo = call_tools(server, "large", "echo", text="50000000")
    assert isinstance(large, ToolFailed)
    assert re.fullmatch(
        r"it ran, and its answer is too large: 50,000,\d+ bytes, and 10,000,000 are read",
        str(large),
    )
    assert echo == '{"text": "50000000"}'


@ERAS
def test_bytes_without_text_are_refused_alone(era: tuple[str, ...]) -> None:
    """An answer that is no UTF-8 fails its call, with the place, and no other."""
    broken, echo = call_tools(start_hostile(*era), "bytes", "echo")
    assert isinstance(broken, ToolFailed)
    assert "its answer cannot be read, and it may have run: it is not UTF-8 text (byte 52)" in str(
        broken
    )
    assert echo == "{}"


@ERAS
def test_broken_promise_is_told(era: tuple[str, ...]) -> None:
    """A result that does not fit the server's own schema is told with what it said."""
    (lie,) = call_tools(start_hostile(*era), "lie")
    assert isinstance(lie, ToolFailed)
    assert "n: 'many' is not of type 'integer'. It said: n is many" in str(lie)


@ERAS
def test_death_in_call_is_not_repeated(era: tuple[str, ...], tmp_path: Path) -> None:
    """A server that dies in a call is named with its last words; the next call starts it anew."""
    note = tmp_path / "calls"
    server = start_hostile(*era, "--note", str(note), env={"PAPER_KEY": "pk-123456"})
    lost, echo = call_tools(server, "die", "echo")
    assert isinstance(lost, ConnectionLost)
    assert str(lost) == (
        "MCP server 'files' was lost while 'die' ran, so whether it took effect is not known. "
        "It exited with status 3. The end of its standard error: 'fatal: out of paper, key ***'."
    )
    assert echo == "{}"
    assert note.read_text() == "die {}\necho {}\n"


def test_silent_call_is_given_up(tmp_path: Path) -> None:
    """A call without an answer ends after its time, once, and says that it may have acted."""
    note = tmp_path / "calls"
    (late,) = call_tools(start_hostile("--note", str(note), seconds=0.3), "sleep", text="0.6")
    assert isinstance(late, CallTimedOut)
    assert "did not answer the call of 'sleep' within 0.3 s" in str(late)
    assert note.read_text() == 'sleep {"text": "0.6"}\n'


def test_late_answer_is_dropped() -> None:
    """An answer that comes after its call was given up is nobody else's."""

    async def work(server: McpServer) -> list[Any]:
        late = await try_tool(server, "sleep", text="0.4")
        await asyncio.sleep(0.4)
        return [late, await try_tool(server, "echo")]

    late, echo = use(start_hostile(seconds=0.3), work)
    assert isinstance(late, CallTimedOut)
    assert echo == "{}"


@pytest.mark.parametrize(
    ("behaviour", "kind", "problem"),
    [
        (
            "exit",
            ServerUnavailable,
            "'files' ended before it was ready. It exited with status 2. The end of its standard "
            "error: 'usage: this server needs a licence'.",
        ),
        ("endless-pages", ListingRefused, "never ends: it gives page after page"),
        ("no-schema", ListingRefused, "does not follow the protocol: tools.0.inputSchema"),
        ("old", ServerUnavailable, "Unsupported protocol version from the server: 1999-01-01"),
    ],
)
def test_unusable_server_is_named(behaviour: str, kind: type[McpError], problem: str) -> None:
    """A server that cannot be used is said to be so before any call."""
    error = fail_to_list(start_hostile(behaviour))
    assert type(error) is kind
    assert problem in str(error)


def test_mute_server_is_given_up() -> None:
    """A server that says nothing is given up and ended."""
    error = fail_to_list(start_hostile("mute", start_seconds=0.3))
    assert str(error) == "MCP server 'files' was not ready within 0.3 s."


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("no-such-program", "there is no program 'no-such-program'. Install it, or give its path."),
        ("/", "'/' cannot be run (Permission denied)."),
    ],
)
def test_unknown_program_is_named(command: str, problem: str) -> None:
    """A program that cannot be started is named."""
    error = fail_to_list(McpServer.stdio("files", command))
    assert isinstance(error, ServerUnavailable)
    assert str(error) == f"MCP server 'files' cannot start: {problem}"


def test_missing_folder_is_named() -> None:
    """A folder that is not there is not mistaken for a missing program."""
    error = fail_to_list(McpServer.stdio("files", sys.executable, cwd="/no/such/folder"))
    assert "its folder '/no/such/folder' does not exist" in str(error)


@pytest.mark.parametrize("behaviour", ["noise", "flood"])
def test_noise_is_survived(behaviour: str) -> None:
    """Lines that are no messages, and 5 MB on standard error, disturb nothing."""
    assert call_tools(start_hostile(behaviour), "echo") == ["{}"]


def test_endless_line_is_survived() -> None:
    """A program that writes without end and without a line is given up, in bounded memory."""
    limits = McpLimits(start_seconds=0.5, bytes=10_000)
    error = fail_to_list(McpServer.stdio("files", "cat", ["/dev/zero"], limits=limits))
    assert "was not ready within 0.5 s" in str(error)


def test_pages_are_all_read() -> None:
    """A list that comes in pages is read to its end."""

    async def work(server: McpServer) -> list[str]:
        return [tool.name for tool in (await server.take_listing()).tools]

    assert use(start_hostile("pages"), work) == [f"files__tool{page}" for page in range(5)]


def test_list_has_limit() -> None:
    """More tools than the limit are refused, not cut."""
    error = fail_to_list(start_hostile("many", limits=McpLimits(tools=49)))
    assert "'files' lists more than 49 tools" in str(error)


def test_environment_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server sees what was declared and what programs need, and no other variable."""
    monkeypatch.setenv("BANK_PASSWORD", "hunter22")
    monkeypatch.setenv("FILES_KEY", "fk-123456")
    server = start_hostile(env={"LEVEL": "7"}, env_from=["FILES_KEY"])
    seen = json.loads(str(call_tools(server, "environment")[0]))
    assert seen["LEVEL"] == "7"
    assert seen["FILES_KEY"] == "fk-123456"
    assert "BANK_PASSWORD" not in seen
    needed = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE"}
    assert set(seen) <= needed | {"TZ", "LEVEL", "FILES_KEY"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system does not list processes")
@pytest.mark.parametrize(
    "behaviour",
    [(), pytest.param(("stubborn",), marks=pytest.mark.slow)],
    ids=["gentle", "stubborn"],
)
def test_end_leaves_no_process(behaviour: tuple[str, ...], tmp_path: Path) -> None:
    """When the server is let go, it and its children are gone, also if they ignore SIGTERM."""
    note = tmp_path / "calls"
    call_tools(start_hostile("child", *behaviour, "--note", str(note)), "echo")
    pid = int(note.read_text().split()[1])
    assert wait_until_gone(pid)


PROGRAM = """
import asyncio, sys
from tests.agents.mcp.servers import call_tool, start_hostile

async def main():
    server = start_hostile("child", "--note", sys.argv[1])
    async with server.held():
        await call_tool(server, "echo")
        print("ready", flush=True)
        await call_tool(server, "sleep")

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system does not list processes")
def test_interrupt_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a call ends the server and its children, and the program."""
    note = tmp_path / "calls"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(note)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        errors = program.communicate(timeout=20)[1]
        assert time.monotonic() - began < 10
    finally:
        program.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "ExceptionGroup" not in errors
    assert wait_until_gone(int(note.read_text().split()[1]))
