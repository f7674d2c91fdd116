"""A flow that a server may run, and its name in paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    `sample` an input to begin with, if its file has one.
    """

    flow: AnyFlow
    reference: str
    about: str = ""
    sample: BaseModel | None = None

    @property
    def name(self) -> str:
        """Name of the flow in paths: as the tool that it would be."""
        return build_tool_name(self.flow.name)


def index_flows(flows: Sequence[ServedFlow]) -> Mapping[str, ServedFlow]:
    """Return flows by their names in paths. Raises `InputError` if two would have the same."""
    check_unique([(served.flow.name, served.reference) for served in flows])
    return {served.name: served for served in flows}
