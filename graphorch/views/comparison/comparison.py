"""Two runs beside each other, as data; `left` and `right` are the runs in the order asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from graphorch.views.runs.calls import ModelCall
from graphorch.views.runs.usage import Usage

Presence: TypeAlias = Literal["both", "left", "right"]
"""In which of the two runs something is."""

Aspect: TypeAlias = Literal["status", "input", "output", "route", "error", "attempts", "calls"]
"""How an activation may differ.

`status` is what became of it; `input` are the items of a map, the arguments of a tool, or the
question to a person; `output` are the fields that it wrote, and what a model reads of a tool;
`route` are the nodes that it led to; `error` are the errors of its attempts, and `attempts` their
number; `calls` are its model calls: model, prompt, answer and tools asked for. Times, prices and
ids may differ in activations that are the same.
"""

CallAspect: TypeAlias = Literal["model", "prompt", "answer", "tools", "outcome"]
"""How a model call may differ; `outcome`: one of them failed, or failed otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDifference:
    """A field that differs, with secrets hidden and long texts cut.

    A side that has no such field has None for it, and `presence` says so. With `is_beyond_cut` the
    values are equal as far as they are shown, or hidden.
    """

    field: str
    presence: Presence
    left: Any
    right: Any
    is_beyond_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSide:
    """An activation in one of the runs.

    `status` is `done`, `failed`, `handled` (an error edge carried on), `skipped`, `cancelled`,
    `waiting`, `running`, or `lost` with its process; of a call of a tool, what its model reads (see
    `ToolOutcome`). `seq` is its last record, `seconds` how long it took in all, and `usage` what
    its own model calls used. `is_served`: the run took it over from another run and paid nothing
    for it.
    """

    seq: int
    activation: str
    status: str
    attempts: int
    seconds: float
    usage: Usage
    is_served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedActivation:
    """The activation at `path` in its `round` (from 1), in one or both of the runs.

    `step` is the path without the numbers of map items, `node` the name of the node or tool, and
    `box` the id of its box in a picture, which holds the tools of its agent.
    `differs` is empty if both are the same, or only one run has it.
    """

    path: str
    step: str
    node: str
    box: str
    round: int
    presence: Presence
    differs: list[Aspect]
    left: ActivationSide | None
    right: ActivationSide | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCall:
    """A model call of an activation, in one or both of the runs.

    Calls with the same prompt belong together, else those of the same number.
    """

    number: int
    presence: Presence
    differs: list[CallAspect]
    left: ModelCall | None
    right: ModelCall | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationDifference:
    """Everything in which an activation differs between two runs.

    `inputs` and `outputs` are fields that differ, and `same` the names of the fields that were
    written alike. Routes are paths of nodes, errors those of the attempts in their order.
    """

    activation: ComparedActivation
    inputs: list[FieldDifference]
    outputs: list[FieldDifference]
    same: list[str]
    left_route: list[str]
    right_route: list[str]
    left_errors: list[str]
    right_errors: list[str]
    calls: list[ComparedCall]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the two runs: what it is, how it ended, and what it cost.

    `seq` is the last record that was read. `seconds` are those in which a process drove it, None
    before the first. `parent` is the run that it was forked from, and `served` counts the
    activations that were taken over from there.
    """

    run_id: str
    flow: str
    fingerprint: str
    status: str
    reason: str
    created_at: float
    parent: str | None
    seq: int
    seconds: float | None
    activations: int
    errors: int
    served: int
    usage: Usage
    faults: list[str]


@dataclass(frozen=True, slots=True)
class DifferenceCounts:
    """Activations that are the same in both runs, differ, or are in only one of them."""

    same: int = 0
    different: int = 0
    only_left: int = 0
    only_right: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs beside each other.

    `is_same_graph`: the same graph wrote both. `inputs` are the fields of the input that differ;
    `outputs` those of the result, where both runs have one and their flow is loaded and fits, else
    None. `counts` are of all activations, `activations` a page of them, in the order of the left
    run; `next` is the `after` of the following page, None on the last.
    """

    left: ComparedRun
    right: ComparedRun
    is_same_graph: bool
    inputs: list[FieldDifference]
    outputs: list[FieldDifference] | None
    counts: DifferenceCounts
    activations: list[ComparedActivation]
    next: int | None
