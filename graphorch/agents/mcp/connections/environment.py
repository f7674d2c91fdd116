"""What a server sees of this process's environment, and what of it must not be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from graphorch.agents.mcp.declaration import HttpAddress, ServerDeclaration, StdioLaunch
from graphorch.agents.mcp.errors import ServerUnavailable
from graphorch.text import join_limited

# What programs need to run at all; the second line is for Windows.
NEEDED: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("APPDATA", "COMSPEC", "LOCALAPPDATA", "PATHEXT", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP"),
)
HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 4  # characters: a shorter value would hide parts of ordinary words


def build_environment(
    server: ServerDeclaration, launch: StdioLaunch, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that a started server sees.

    Raises `ServerUnavailable` for a variable that the server needs and that is not set.
    """
    _require_variables(server, launch.env_from, environment)
    needed = {name: environment[name] for name in NEEDED if name in environment}
    passed = {name: environment[name] for name in launch.env_from}
    return {**needed, **passed, **launch.env}


def build_headers(
    server: ServerDeclaration, address: HttpAddress, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers that hold secrets.

    Raises `ServerUnavailable` for a variable that is not set, or holds what no header may.
    """
    headers = dict(address.headers_env)
    _require_variables(server, list_variables(server), environment)
    values = {header: environment[variable].strip() for header, variable in headers.items()}
    if address.bearer_env is not None:
        values["Authorization"] = f"Bearer {environment[address.bearer_env].strip()}"
    for header, value in values.items():
        if not value.isascii() or not value.isprintable():
            raise ServerUnavailable(
                f"The variable for the header {header} of MCP server '{server.name}' holds signs "
                "that no header may have. Set it to the plain value.",
                server=server.name,
            )
    return values


def list_variables(server: ServerDeclaration) -> tuple[str, ...]:
    """Return the names of the variables with secrets that a server needs."""
    transport = server.transport
    if isinstance(transport, StdioLaunch):
        return transport.env_from
    bearer = () if transport.bearer_env is None else (transport.bearer_env,)
    return (*bearer, *transport.headers_env.values())


def list_secrets(server: ServerDeclaration, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that no message may show, the longest first."""
    values = {environment.get(name, "").strip() for name in list_variables(server)}
    if isinstance(server.transport, StdioLaunch):
        values |= set(server.transport.env.values())
    return tuple(sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True))


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return a text with every secret in it replaced."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _require_variables(
    server: ServerDeclaration, names: Iterable[str], environment: Mapping[str, str]
) -> None:
    missing = [name for name in names if not environment.get(name, "").strip()]
    if missing:
        raise ServerUnavailable(
            f"MCP server '{server.name}' needs {join_limited(missing, 5)}, which is not set. "
            "Set it in the environment of this program.",
            server=server.name,
        )
