"""Flows in a list, and one flow with all that is needed to begin a run of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphorch.views.flows.flow_estimate import FlowEstimate
from graphorch.views.flows.flow_nodes import FlowNode


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """A flow: its `name` in paths, and the name of its graph, which its runs have.

    `reference` is how it was named on the command line, `about` what its file says of it, `input`
    and `output` the names of their models, and `nodes` their number at the top of the flow.
    """

    name: str
    flow: str
    reference: str
    about: str
    input: str
    output: str
    nodes: int
    has_sample: bool


@dataclass(frozen=True, slots=True)
class FlowList:
    """All flows that can be run."""

    flows: list[FlowRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """A signal that the flow takes: its name, and the schema of what it carries."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPage:
    """One flow.

    `schema` is the JSON schema of the input, `output_schema` that of the output; None for a model
    without one, whose input is plain JSON. `sample` is an input to begin with, None without one.
    `estimate` is for one run with the models of the flow, or of this server.
    """

    row: FlowRow
    schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    sample: dict[str, Any] | None
    nodes: list[FlowNode]
    signals: list[SignalRow]
    estimate: FlowEstimate


@dataclass(frozen=True, slots=True)
class InputMistake:
    """What is wrong with a value of an input, and where: a JSON pointer."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCheck:
    """Whether a run can begin with an input: all that is wrong with it, and what the run costs.

    `input` is the input as the flow reads it, with its defaults; None if it does not fit.
    """

    fits: bool
    mistakes: list[InputMistake]
    input: dict[str, Any] | None
    estimate: FlowEstimate
