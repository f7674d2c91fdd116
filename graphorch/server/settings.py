"""What a server is asked to do: how it is reached, by whom, and how much at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How much a server takes on at once, and how long it waits for a client.

    `runs` are those under way that requests began. A request waits `body_seconds` for its whole
    body, and `send_seconds` for a client that does not read. `head_seconds` is how long a
    connection may stay without a whole request.
    """

    requests: int = 64
    streams: int = 32
    runs: int = 32
    connections: int = 256
    body_bytes: int = MIB
    body_depth: int = 64
    body_seconds: float = 10.0
    head_seconds: float = 10.0
    send_seconds: float = 30.0
    heartbeat_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server is reached, and what it allows.

    `hosts` are the values of the Host header that it answers to, in lower case and with the port;
    `origins` are those of its own pages. `token` opens the API. A server that `is_read_only` begins
    and changes nothing. `model` is the one that runs ask instead of their own, if any.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    token: str = field(repr=False)
    is_read_only: bool = True
    model: str = ""
    limits: ServerLimits = field(default_factory=ServerLimits)
