"""Servers that a configuration declares, found when a run needs them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from graphorch import InputError
from graphorch.agents.mcp.configured import declare_configured
from graphorch.agents.mcp.declaration import (
    HttpAddress,
    McpLimits,
    ServerDeclaration,
    StdioLaunch,
)
from graphorch.agents.mcp.server import McpServer
from graphorch.models.config.loader import parse_config, read_config
from graphorch.models.config.router import Router
from tests.agents.mcp.servers import HOSTILE, call_tool
from tests.agents.mcp.test_servers_in_flows import Caller, build, fail, run

PROGRAM = {"command": sys.executable, "args": [HOSTILE]}


def test_program_is_declared() -> None:
    """Every key of a program reaches its declaration."""
    table = {
        **PROGRAM,
        "env": {"LEVEL": "1"},
        "env_from": ["KEY"],
        "cwd": "/tmp",
        "trust": True,
        "limits": {"seconds": 5.0, "start_seconds": 6.0, "bytes": 7, "tools": 8},
    }
    assert declare_configured("files", parse_config({"mcp": {"files": table}})) == (
        ServerDeclaration(
            "files",
            StdioLaunch(sys.executable, (HOSTILE,), {"LEVEL": "1"}, ("KEY",), "/tmp"),
            trust=True,
            limits=McpLimits(seconds=5.0, start_seconds=6.0, bytes=7, tools=8),
        )
    )


def test_address_is_declared() -> None:
    """Every key of an address reaches its declaration."""
    url = "https://tracker.example/mcp"
    table = {"url": url, "bearer_env": "TOKEN", "headers_env": {"X-Team": "TEAM"}}
    assert declare_configured("tracker", parse_config({"mcp": {"tracker": table}})) == (
        ServerDeclaration("tracker", HttpAddress(url, "TOKEN", {"X-Team": "TEAM"}))
    )


def test_unknown_server_is_named() -> None:
    """A name that the configuration does not have is answered with those that it has."""
    config = parse_config({"mcp": {"files": PROGRAM}})
    with pytest.raises(InputError, match=r"no MCP server 'fiels'.*Did you mean 'files'"):
        declare_configured("fiels", config)


def test_folder_is_relative_to_file(tmp_path: Path) -> None:
    """A relative folder is seen from the file that names it."""
    file = tmp_path / "graphorch.toml"
    file.write_text('[mcp.files]\ncommand = "npx"\ncwd = "data"\n')
    launch = declare_configured("files", read_config(file)).transport
    assert isinstance(launch, StdioLaunch)
    assert launch.cwd == str(tmp_path / "data")


def test_agent_uses_configured_server() -> None:
    """An agent names a server, and the configuration of the run says what it is."""
    flow = build(*McpServer.configured("files").tools("echo"))
    caller = Caller("files__echo")

    class Configured(Router):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            return await caller.complete(request, on_text)

        def check_call(self, name: str, payer: Any = None) -> None: ...

    client = Configured(parse_config({"mcp": {"files": PROGRAM}}), environment={})
    assert run(flow, client).draft == '{"text": "hi"}'
    other = Configured(parse_config({"mcp": {"filez": PROGRAM}}), environment={})
    error = fail(flow, other)
    assert "There is no MCP server 'files' in the configuration" in str(error)


def test_file_of_directory_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was found in the directory starts no program before its person trusts it."""
    monkeypatch.chdir(tmp_path)
    note = tmp_path / "calls"
    arguments = json.dumps([HOSTILE, "--note", str(note)])
    command = json.dumps(sys.executable)
    Path("graphorch.toml").write_text(f"[mcp.files]\ncommand = {command}\nargs = {arguments}\n")
    error = fail(build(McpServer.configured("files")), Caller("files__echo"))
    assert "is not trusted" in str(error)
    assert "which programs are started, and where arguments and tokens go" in str(error)
    assert not note.exists()


def test_equal_declarations_share_connection(tmp_path: Path) -> None:
    """Runs with one configuration use one connection."""
    note = tmp_path / "starts"
    table = {**PROGRAM, "args": [HOSTILE, "child", "--note", str(note)]}
    server = McpServer.configured("files")

    async def main() -> list[str]:
        held = [server.hold(parse_config({"mcp": {"files": table}})) for _ in range(2)]
        try:
            return [await call_tool(one, "echo") for one in held]
        finally:
            for one in held:
                await one.let_go()

    assert asyncio.run(main()) == ["{}", "{}"]
    assert note.read_text().count("child") == 1
