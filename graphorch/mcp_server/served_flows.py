"""Flows as tools: name, description, and the schemas of input and output."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_types import Tool

from graphorch.flow.flow import Flow
from graphorch.mcp_server.schemas import build_schema
from graphorch.mcp_server.tool_names import build_tool_name, check_unique
from graphorch.text import shorten_run_id


@dataclass(frozen=True, slots=True)
class ServedFlow:
    """A flow that is served as a tool.

    `reference` names it on the command line, and `about` says what it is for, for a model that
    chooses among tools. `format_command` returns a command for this flow and its journal:
    `format_command("resume", "1a2b3c4d")`.
    """

    flow: Flow[Any, Any, Any]
    reference: str
    about: str
    format_command: Callable[..., str]

    @property
    def tool_name(self) -> str:
        """Name of the tool."""
        return build_tool_name(self.flow.name)

    def build_tool(self) -> Tool:
        """Return the tool. Raises `InputError` for a flow whose input or output has no schema."""
        plan = self.flow.plan
        input_schema = build_schema(plan.input, "validation")
        if plan.input.model_config.get("extra") != "allow":
            input_schema["additionalProperties"] = False  # an argument of another name is refused
        return Tool(
            name=self.tool_name,
            title=self.flow.name,
            description=self._describe(),
            input_schema=input_schema,
            output_schema=build_schema(plan.output, "serialization"),
        )

    def _describe(self) -> str:
        plan = self.flow.plan
        takes, gives = plan.input.__name__, plan.output.__name__
        text = self.about.strip() or f"Run the flow '{self.flow.name}': {takes} → {gives}."
        return f"{text}\n\nEach call is a run of its own, with all that it does."

    def format_resume(self, run_id: str, *options: str) -> str:
        """Return the command that resumes a run."""
        command = self.format_command("resume", shorten_run_id(run_id))
        return " ".join([command, *options])

    def format_answer(self, run_id: str, question: str) -> str:
        """Return the command that answers a question."""
        return self.format_command("answer", shorten_run_id(run_id), question, value="VALUE")

    def format_send(self, run_id: str, signal: str, key: str) -> str:
        """Return the command that sends a signal."""
        value = f"VALUE --key {shlex.quote(key)}" if key else "VALUE"
        return self.format_command("send", shorten_run_id(run_id), signal, value=value)


def index_flows(flows: Sequence[ServedFlow]) -> Mapping[str, tuple[ServedFlow, Tool]]:
    """Return flows and their tools by the names of the tools, in their order.

    Raises `InputError` if two would have one name, or one has no schema.
    """
    check_unique([(served.flow.name, served.reference) for served in flows])
    return {served.tool_name: (served, served.build_tool()) for served in flows}
