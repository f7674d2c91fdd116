"""The guard of conftest.py works: otherwise "no network" would be a hope."""

from __future__ import annotations

import socket

import pytest


def test_foreign_connection_is_refused() -> None:
    """A connection to another machine is refused."""
    with socket.socket() as client, pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 80))  # an address that is reserved for documentation


def test_name_lookup_is_refused() -> None:
    """Looking up a name is refused."""
    with pytest.raises(pytest.fail.Exception, match=r"graphorch\.example"):
        socket.getaddrinfo("graphorch.example", 80)


def test_local_connection_is_allowed() -> None:
    """A connection to this machine is allowed."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()
