"""Names under which models call the tools of MCP servers: `server__tool`.

A name depends on nothing but the server's and the tool's name, so it is the same in every run and
whatever else is connected.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from graphorch.models.config.server_names import SEPARATOR

LONGEST: Final = 64  # characters that endpoints accept
_DIGITS: Final = 8  # of the hash: enough for one server's tools to differ
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")


def name_tool(server: str, tool: str) -> str:
    """Return the name of a tool for models, of at most 64 of `A-Za-z0-9_-`.

    A name that has to be changed or cut ends with a hash of both names.
    """
    plain = f"{server}{SEPARATOR}{tool}"
    readable = _FORBIDDEN.sub("_", plain)
    if readable == plain and len(plain) <= LONGEST:
        return plain
    digest = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "backslashreplace")).hexdigest()
    return f"{readable[: LONGEST - _DIGITS - 1]}_{digest[:_DIGITS]}"
