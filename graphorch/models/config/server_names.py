"""Names of servers of tools, with which the names of their tools begin: `server__tool`."""

from __future__ import annotations

import re
from typing import Final

LONGEST_SERVER: Final = 32  # characters, of the 64 that the name of a tool may have
SEPARATOR: Final = "__"
SERVER_NAME_RULE: Final = (
    "Use up to 32 letters, digits, '-' and '_', with a letter or digit at both ends and no '__'."
)
_SERVER_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def is_server_name(name: object) -> bool:
    """Return whether a text can name a server.

    Without `__`, and with a letter or digit at both ends, two servers never share a prefix.
    """
    if not isinstance(name, str) or len(name) > LONGEST_SERVER or SEPARATOR in name:
        return False
    return _SERVER_NAME.fullmatch(name) is not None


def is_variable_name(name: object) -> bool:
    """Return whether a text can name an environment variable."""
    return isinstance(name, str) and _VARIABLE.fullmatch(name) is not None


def is_header_name(name: object) -> bool:
    """Return whether a text can name an HTTP header."""
    return isinstance(name, str) and _HEADER.fullmatch(name) is not None
