"""Where a server may listen, and what it is called there."""

from __future__ import annotations

import socket

import pytest

from graphorch.errors import InputError
from graphorch.server.listening import Reachability, listen


def test_free_port_is_named() -> None:
    """The address has the port that was found, and the server answers to the names of loopback."""
    listener = listen(Reachability(port=0))
    with listener.socket:
        host, port = listener.socket.getsockname()
    assert (host, listener.url) == ("127.0.0.1", f"http://127.0.0.1:{port}/")
    assert listener.hosts == {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
    assert f"http://localhost:{port}" in listener.origins


def test_proxy_adds_its_name() -> None:
    """People open the address of the proxy; the machine itself still has its own."""
    listener = listen(Reachability(port=0, proxy="https://runs.example"))
    with listener.socket:
        port = listener.socket.getsockname()[1]
    assert listener.url == "https://runs.example/"
    assert {"runs.example", "runs.example:443", f"127.0.0.1:{port}"} <= listener.hosts
    assert "https://runs.example" in listener.origins


def test_server_for_others_needs_proxy_or_certificate() -> None:
    """Beyond loopback nothing listens without TLS, and not on every address without a name."""
    with pytest.raises(InputError, match="reached from other machines"):
        listen(Reachability("0.0.0.0", 0))
    with pytest.raises(InputError, match="means every address"):
        listen(Reachability("0.0.0.0", 0, certificate="a.pem", key="b.pem"))
    listener = listen(Reachability("0.0.0.0", 0, proxy="https://runs.example"))
    listener.socket.close()
    assert listener.hosts == {"runs.example", "runs.example:443"}


@pytest.mark.parametrize(
    ("reach", "why"),
    [
        (Reachability(port=70_000), "not a port"),
        (Reachability(port=-1), "not a port"),
        (Reachability(port=0, certificate="a.pem"), "belong together"),
        (Reachability(port=0, key="a.pem"), "belong together"),
        (Reachability("192.0.2.1", 0, proxy="https://runs.example"), "cannot listen there"),
    ],
)
def test_wrong_place_is_refused(reach: Reachability, why: str) -> None:
    """Each wrong place has its own sentence."""
    with pytest.raises(InputError, match=why):
        listen(reach)


def test_taken_port_is_said() -> None:
    """A port on which another program listens is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"Port {port} is taken: .* --port 0"):
            listen(Reachability(port=port))
