"""Everything about one run that its page shows at once, without its long texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphorch.views.runs.letters import LetterRow
from graphorch.views.runs.nodes import NodeRow
from graphorch.views.runs.questions import QuestionRow
from graphorch.views.runs.run_row import RunRow
from graphorch.views.runs.waits import KeptSignals, WaitRow


@dataclass(frozen=True, slots=True)
class FlowFit:
    """Whether the code of a run's flow is at hand, and is the graph that wrote the run.

    `is_loaded`: a flow of that name was named on the command line. `fits`: its graph wrote the
    records, or can read them through its migrations. Otherwise `problem` says what differs, and
    `command` is the command line that loads it, with FILE for what only a person knows.
    """

    name: str
    is_loaded: bool
    fits: bool
    problem: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """One run: its row, its nodes, and what it waits for.

    `seq` is the last record that this was made of: what follows is asked for `after` it. `nodes`
    are in the order in which the run came to them. `faults` name the records that are not what
    their kind declares, and were left out. `input` is that of the run, with secrets hidden and long
    texts cut (`input_cut`: characters left out). `output` is the result of a run that has one and
    whose flow is loaded and fits, else None; it is cut likewise. With `output_left_out` the run is
    so long that its output is read by itself (`RunOutput`). `copied` is the number of records
    that were taken over from run `row.parent`, of which the activation at `forked_at` runs anew.
    `after` is the run that this one follows in a conversation, `model` what replaces the model of
    every agent. `format` is that of the journal in which it is written.
    """

    row: RunRow
    seq: int
    flow: FlowFit
    nodes: list[NodeRow]
    questions: list[QuestionRow]
    waits: list[WaitRow]
    kept_signals: list[KeptSignals]
    letters: list[LetterRow]
    faults: list[str]
    input: Any
    input_cut: int
    output: Any
    output_cut: int
    output_left_out: bool
    error: str
    fingerprint: str
    format: int
    copied: int
    forked_at: str
    after: str
    model: str


@dataclass(frozen=True, slots=True)
class RunOutput:
    """The output of a run with secrets hidden, and long texts cut by `cut` characters.

    None of a run without one. `is_left_out`: it was not read, since that takes long.
    """

    value: Any = None
    cut: int = 0
    is_left_out: bool = False
