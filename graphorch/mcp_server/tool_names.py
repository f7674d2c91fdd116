"""Names of flows as names of tools, which models and clients accept up to 64 plain characters.

The same flow has the same name in every process: nothing depends on the order of the flows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from graphorch.errors import InputError

LONGEST: Final = 64  # characters; several providers of models refuse a longer name
_HASH_DIGITS: Final = 8
_OTHERS = re.compile(r"[^A-Za-z0-9_-]+")


def build_tool_name(flow: str) -> str:
    """Return the name of the tool of a flow: letters, digits, `_` and `-` of its name.

    Everything else becomes `_`. A name without any of these, or that is too long, ends with a hash
    of the flow's name.
    """
    name = _OTHERS.sub("_", flow).strip("_")
    if name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(flow.encode("utf-8", "backslashreplace")).hexdigest()[:_HASH_DIGITS]
    head = name[: LONGEST - _HASH_DIGITS - 1].rstrip("_") or "flow"
    return f"{head}_{digest}"


def check_unique(flows: Sequence[tuple[str, str]]) -> None:
    """Raise `InputError` if two flows, given as name and reference, would be one tool."""
    by_tool: dict[str, tuple[str, str]] = {}
    for name, reference in flows:
        tool = build_tool_name(name)
        other = by_tool.setdefault(tool, (name, reference))
        if other != (name, reference):
            raise InputError(
                f"Flow '{other[0]}' of {other[1]} and flow '{name}' of {reference} would both be "
                f"the tool '{tool}'. Give one of the graphs another name, or serve them apart."
            )
        if sum(1 for given in flows if given == (name, reference)) > 1:
            raise InputError(f"{reference} is named twice. Name each flow once.")
