"""Problems of the servers of tools in a configuration.

A value that stands where the name of a variable belongs may be a secret, and is never repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from graphorch.models.config.schema import ServerConfig
from graphorch.models.config.server_names import (
    SERVER_NAME_RULE,
    is_header_name,
    is_server_name,
    is_variable_name,
)
from graphorch.models.guardrails.client import secrets
from graphorch.models.openai.addresses import find_plaintext_problem, find_url_problem

Loc: TypeAlias = tuple[str | int, ...]
Problem: TypeAlias = tuple[Loc, str]

_OF_PROGRAM: Final = ("args", "env", "env_from", "cwd")
_OF_ADDRESS: Final = ("bearer_env", "headers_env")
_VARIABLE: Final = (
    "it is not the name of an environment variable. Write the name, and set the variable to the "
    "secret."
)


def find_server_problems(servers: Mapping[str, ServerConfig]) -> Iterator[Problem]:
    """Yield every error of servers that fit their schema."""
    for name, server in servers.items():
        loc = ("mcp", name)
        if not is_server_name(name):
            yield loc, f"that cannot name a server. {SERVER_NAME_RULE}"
        yield from _check_kind(server, loc)
        yield from _check_variables(server, loc)
        if server.url is not None:
            yield from _check_address(server, server.url, (*loc, "url"))


def find_server_doubts(servers: Mapping[str, ServerConfig]) -> Iterator[Problem]:
    """Yield what is odd about servers and may be meant."""
    detector = secrets()
    for name, server in servers.items():
        for variable, value in server.env.items():
            if any(True for _ in detector.find(value)):
                yield (
                    ("mcp", name, "env", variable),
                    "its value looks like a secret. Take it out of the file: set the variable in "
                    f'the environment, and write env_from = ["{variable}"].',
                )


def _check_kind(server: ServerConfig, loc: Loc) -> Iterator[Problem]:
    """Yield what is wrong unless a server is either a program or an address."""
    given = server.model_fields_set
    if server.command is None and server.url is None:
        yield loc, 'nothing says where it is. Add command = "…" or url = "https://…".'
        return
    if server.command is not None and server.url is not None:
        yield loc, "it has a command and a url. Keep one of them."
        return
    kind, others = ("url", _OF_PROGRAM) if server.command is None else ("command", _OF_ADDRESS)
    for key in others:
        if key in given:
            yield (*loc, key), f"it has no effect on a server with a {kind}. Take it out."


def _check_variables(server: ServerConfig, loc: Loc) -> Iterator[Problem]:
    for variable in server.env:
        if not is_variable_name(variable):
            yield (*loc, "env"), _VARIABLE
    for place, variable in enumerate(server.env_from):
        if not is_variable_name(variable):
            yield (*loc, "env_from", place), _VARIABLE
    if server.bearer_env is not None and not is_variable_name(server.bearer_env):
        yield (*loc, "bearer_env"), _VARIABLE
    for header, variable in server.headers_env.items():
        if not is_header_name(header):
            yield (*loc, "headers_env"), "a key is not the name of a header."
        if not is_variable_name(variable):
            yield (*loc, "headers_env", header), _VARIABLE


def _check_address(server: ServerConfig, url: str, loc: Loc) -> Iterator[Problem]:
    has_secret = server.bearer_env is not None or bool(server.headers_env)
    if problem := find_url_problem(url):
        yield loc, f"it {problem}."
    elif has_secret and (problem := find_plaintext_problem(url, "a secret")):
        yield loc, f"it {problem}. Use https, or an address of this machine."
