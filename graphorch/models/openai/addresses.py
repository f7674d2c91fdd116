"""Addresses of model endpoints: whether a text is one, and whether a key may be sent there.

A message never repeats an address, because it may hold a secret.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

# What a server that needs no key is given, since its variable must not be empty.
NO_KEY = "none"


def find_url_problem(url: str) -> str:
    """Return why a text is not a base URL, or ""."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is not an address: it begins with http:// or https:// and names a host"
    if parts.username is not None or parts.query or parts.fragment:
        return "holds more than a host and a path (a user, a password, a query or a fragment)"
    if not url.isprintable() or " " in url:
        return "holds a space or a control character"
    if parts.path.rstrip("/").endswith(("/chat/completions", "/completions", "/responses")):
        return "ends with the path of a request; it ends before that, mostly in /v1"
    return ""


def find_plaintext_problem(url: str, key: str) -> str:
    """Return why a key must not be sent to a base URL, or "".

    Plain http shows it to everyone on the way, so it goes only to this machine.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or key.lower() in ("", NO_KEY) or is_loopback(parts.hostname or ""):
        return ""
    return "would send its key over plain http, where others can read it"


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name or number alone."""
    if host.rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
