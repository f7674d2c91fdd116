"""The names by which a server may be reached, as they stand in the headers of requests.

A page whose host name was rebound to this machine sends its own name as the host, and no origin at
all with a GET. So the Host header is compared whole, with the port, on every request.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from graphorch.errors import InputError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


def write_host(host: str) -> str:
    """Return a host name or address as it stands in a URL: IPv6 in brackets, in lower case."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host.lower()
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def list_hosts(scheme: str, hosts: Iterable[str], port: int) -> frozenset[str]:
    """Return the values of Host by which a server on a port is reached under some names.

    A browser leaves the port out if it is that of the scheme.
    """
    names = [write_host(host) for host in hosts]
    with_port = {f"{name}:{port}" for name in names}
    return frozenset(with_port | set(names) if _DEFAULT_PORTS[scheme] == port else with_port)


def list_origins(scheme: str, hosts: Iterable[str], port: int) -> frozenset[str]:
    """Return the values of Origin of the pages of such a server."""
    suffix = "" if _DEFAULT_PORTS[scheme] == port else f":{port}"
    return frozenset(f"{scheme}://{write_host(host)}{suffix}" for host in hosts)


def parse_public_url(url: str) -> tuple[str, str, int]:
    """Return the scheme, the host and the port of the URL by which people reach a proxy.

    Raises `InputError` for anything but https://HOST[:PORT], or http:// on this machine.
    """
    example = "Write the address that people open, such as https://runs.example.com"
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise InputError(f"--behind-proxy {url}: not an address. {example}") from None
    host = parts.hostname or ""
    if not (host and port) or parts.username or parts.query or parts.fragment:
        raise InputError(f"--behind-proxy {url}: not an address. {example}")
    if parts.path not in ("", "/"):
        raise InputError(
            f"--behind-proxy {url}: the page has to be at the root of its host, not below "
            f"{parts.path}. Give it a host name of its own. {example}"
        )
    if parts.scheme == "http" and write_host(host) not in LOOPBACK_NAMES:
        raise InputError(
            f"--behind-proxy {url}: over plain http, anyone on the way reads the token and every "
            f"run. {example}"
        )
    return parts.scheme, host, port
