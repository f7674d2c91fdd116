"""The guard of conftest.py works: otherwise "no network" would be a hope."""

from __future__ import annotations

import socket

import pytest


def test_a_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as client, pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 80))  # an address that is reserved for documentation


def test_looking_up_a_name_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"graphorch\.example"):
        socket.getaddrinfo("graphorch.example", 80)


def test_a_connection_to_this_machine_is_allowed() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()
