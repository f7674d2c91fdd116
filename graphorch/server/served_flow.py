"""A flow that a server may run, and its name in paths."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from graphorch.flow.flow import Flow
from graphorch.mcp_server.tool_names import build_tool_name, check_unique

AnyFlow: TypeAlias = Flow[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class ServedFlow:
    """A flow that was named on the command line.

    `reference` is how it was named there (`path.py:name`), `about` what its file says of it, and
    `sample` an input to begin with, if its file has one. `write_command` returns a command for this
    flow and its journal: `write_command("resume", "1a2b3c4d")`.
    """

    flow: AnyFlow
    reference: str
    about: str = ""
    sample: BaseModel | None = None
    write_command: Callable[..., str] | None = None

    @property
    def name(self) -> str:
        """Name of the flow in paths: as the tool that it would be."""
        return build_tool_name(self.flow.name)

    def format_command(self, name: str, *words: str, value: str = "") -> str:
        """Return a command of the command line for this flow; `value` is quoted already."""
        if self.write_command is not None:
            return self.write_command(name, *words, value=value)
        quoted = [shlex.quote(word) for word in (self.reference, *words)]
        return " ".join(["graphorch", name, *quoted, *([value] if value else [])])


def index_flows(flows: Sequence[ServedFlow]) -> Mapping[str, ServedFlow]:
    """Return flows by their names in paths. Raises `InputError` if two would have the same."""
    check_unique([(served.flow.name, served.reference) for served in flows])
    return {served.name: served for served in flows}
