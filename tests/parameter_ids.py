"""Names of the parameters of tests that are the same in every process."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def format_id(value: object) -> str:
    """Return the text of a value without the address of an object: at most 40 characters."""
    return _ADDRESS.sub("", repr(value))[:40]
