"""Environments of servers: what they see, and what is never shown."""

from __future__ import annotations

import pytest

from graphorch.agents.mcp.connections.environment import (
    build_environment,
    build_headers,
    hide,
    list_secrets,
)
from graphorch.agents.mcp.declaration import HttpAddress, ServerDeclaration, StdioLaunch
from graphorch.agents.mcp.errors import ServerUnavailable

LAUNCH = StdioLaunch("node", env={"LEVEL": "loud"}, env_from=("KEY",))
STARTED = ServerDeclaration("files", LAUNCH)
ADDRESS = HttpAddress("https://h/mcp", "TOKEN", {"X-Key": "KEY"})
REMOTE = ServerDeclaration("tracker", ADDRESS)
HERE = {"PATH": "/bin", "HOME": "/root", "KEY": "sk-123456", "TOKEN": " t0ken\n", "OTHER": "x"}


def test_server_sees_what_was_declared() -> None:
    """A started server sees what programs need, what was declared, and nothing else."""
    assert build_environment(STARTED, LAUNCH, HERE) == {
        "PATH": "/bin",
        "HOME": "/root",
        "KEY": "sk-123456",
        "LEVEL": "loud",
    }


def test_headers_hold_secrets() -> None:
    """A token and further headers come from the environment, without spaces around them."""
    assert build_headers(REMOTE, ADDRESS, HERE) == {
        "X-Key": "sk-123456",
        "Authorization": "Bearer t0ken",
    }


@pytest.mark.parametrize("value", [None, "", "  "])
def test_missing_secret_is_named(value: str | None) -> None:
    """A variable that is not set is named before anything is started or sent."""
    environment = {**HERE, "KEY": value or ""}
    if value is None:
        del environment["KEY"]
    with pytest.raises(ServerUnavailable, match="'files' needs KEY, which is not set"):
        build_environment(STARTED, LAUNCH, environment)
    with pytest.raises(ServerUnavailable, match="'tracker' needs KEY, which is not set"):
        build_headers(REMOTE, ADDRESS, environment)


@pytest.mark.parametrize("value", ["a\nb", "märchen", "a\x00"])
def test_impossible_header_is_refused(value: str) -> None:
    """A value that no header may have is refused, and not repeated."""
    with pytest.raises(ServerUnavailable, match="holds signs that no header may have") as caught:
        build_headers(REMOTE, ADDRESS, {**HERE, "KEY": value})
    assert value not in str(caught.value)


def test_secrets_are_hidden() -> None:
    """Values from variables are replaced in what a server says, the longest first."""
    secrets = list_secrets(STARTED, HERE)
    assert hide("the key sk-123456 is loud", secrets) == "the key *** is ***"
    assert list_secrets(REMOTE, HERE) == ("sk-123456", "t0ken")
    assert list_secrets(REMOTE, {"KEY": "abc", "TOKEN": ""}) == ()
