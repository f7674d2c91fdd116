"""Where a server listens: its socket, its address, and the names by which it is reached."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from graphorch.errors import InputError
from graphorch.server.gate.hosts import (
    LOOPBACK_NAMES,
    list_hosts,
    list_origins,
    parse_public_url,
    write_host,
)

DEFAULT_PORT: Final = 8460
_BACKLOG: Final = 128


@dataclass(frozen=True, slots=True)
class Reachability:
    """How a server is to be reached: an address of this machine, TLS, and a proxy before it.

    `certificate` and `key` are files, and `proxy` is the URL by which people reach a proxy that
    passes requests on.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    certificate: str = ""
    key: str = ""
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """An open socket, the address to open in a browser, and the names that requests may use."""

    socket: socket.socket
    url: str
    hosts: frozenset[str]
    origins: frozenset[str]


def listen(reach: Reachability) -> Listener:
    """Open the socket of a server.

    Raises `InputError` for a host that is not known or not of this machine, for a port that is
    taken, and for a place beyond loopback without TLS or a proxy.
    """
    proxy = parse_public_url(reach.proxy) if reach.proxy else None
    if bool(reach.certificate) != bool(reach.key):
        raise InputError("--certificate and --key belong together. Give both files, or neither.")
    if not 0 <= reach.port < 2**16:
        raise InputError(f"--port {reach.port}: not a port. Write 1 to 65535, or 0 for a free one.")
    address = _resolve(reach)
    ip = ip_address(address[1][0].partition("%")[0])
    if not ip.is_loopback and not (proxy or reach.certificate):
        raise InputError(
            f"--host {reach.host} is reached from other machines, where the token and every run "
            "would be readable on the way. Give --certificate FILE and --key FILE for TLS, or "
            "--behind-proxy URL if a proxy with TLS is before it."
        )
    if ip.is_unspecified and not proxy:
        raise InputError(
            f"--host {reach.host} means every address of this machine, and a server answers only "
            "to names that it knows. Give the name or address that people open, or "
            "--behind-proxy URL."
        )
    opened = _open(reach, *address)
    port = opened.getsockname()[1]
    scheme = "https" if reach.certificate else "http"
    names = LOOPBACK_NAMES if ip.is_loopback else () if ip.is_unspecified else (reach.host,)
    hosts, origins = list_hosts(scheme, names, port), list_origins(scheme, names, port)
    url = f"{scheme}://{write_host(reach.host)}:{port}"
    if proxy is not None:
        public, host, public_port = proxy
        hosts |= list_hosts(public, [host], public_port)
        origins |= list_origins(public, [host], public_port)
        (url,) = list_origins(public, [host], public_port)
    return Listener(opened, f"{url}/", hosts, origins)


def _resolve(reach: Reachability) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return the first address of a host, IPv4 before IPv6. Raises `InputError`."""
    host = reach.host.strip("[]")
    with suppress(ValueError):  # a name is looked up, an address is not
        family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
        return family, (host, reach.port)
    try:
        found = socket.getaddrinfo(host, reach.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(
            f"--host {reach.host}: no address is known for this name. Write 127.0.0.1, or a name "
            "or address of this machine."
        ) from None
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, (str(address[0]), int(address[1]))


def _open(
    reach: Reachability, family: socket.AddressFamily, address: tuple[str, int]
) -> socket.socket:
    """Open and bind a socket. Raises `InputError`."""
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        raise InputError(_explain(error, reach)) from None
    opened.setblocking(False)
    return opened


def _explain(error: OSError, reach: Reachability) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {reach.port} is taken: another program listens there, perhaps another "
            "`graphorch serve`. Choose another with --port, or --port 0 for any that is free."
        )
    if error.errno == errno.EACCES:
        return f"Port {reach.port} is not allowed for this user. Choose one from 1024 on."
    return (
        f"--host {reach.host}: the server cannot listen there: {error.strerror}. Write 127.0.0.1, "
        "or a name or address of this machine."
    )
