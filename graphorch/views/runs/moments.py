"""Moments of a run: the outcomes of its activations in their order, each with its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from graphorch.views.runs.usage import Usage

MomentKind: TypeAlias = Literal[
    "input",
    "forked",
    "done",
    "handled",
    "failed",
    "retried",
    "skipped",
    "cancelled",
    "asked",
    "approved",
    "waits",
    "entered",
    "called",
    "signal",
    "ended",
]
"""What happened. `entered`: a sub-flow or map began; `called`: an agent's model asked for tools;
`retried`: an attempt failed, and another follows; `handled`: an error edge carried on, or the model
was told. `input`, `forked`, `signal` and `ended` are about the run and have no path.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What became of an activation with one record.

    `seq` is the number of that record: with it the state, the picture and the selection of a page
    are addressed. `number` counts the moments of the run from 1, `round` the activations at this
    path from 1. `node` is the name of the node, and `step` its path without the numbers of map
    items. `at` is in seconds since 1970, `seconds` how long the activation took so far. `usage` is
    that of its model calls since its last moment. `writes` are the names of the fields that it
    wrote, `to` the paths of the nodes that it led to. Of a call of a tool, `tool` is its name and
    `outcome` what the model reads of it. `is_copy`: taken over from another run. `is_late`: it
    ended after a decision that was made without it.
    """

    seq: int
    number: int
    kind: MomentKind
    at: float
    path: str = ""
    node: str = ""
    step: str = ""
    activation: str = ""
    round: int = 0
    attempts: int = 1
    seconds: float = 0.0
    usage: Usage = field(default_factory=Usage)
    writes: list[str] = field(default_factory=list[str])
    to: list[str] = field(default_factory=list[str])
    tool: str = ""
    outcome: str = ""
    text: str = ""
    is_copy: bool = False
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class MomentPage:
    """Moments after a record; `next` is the `after` of the page that follows, None on the last.

    `seq` is the last record of the run that was read, and `total` the number of all its moments.
    """

    moments: list[Moment]
    next: int | None
    seq: int
    total: int
