"""Turns of a conversation as data: who said or did something, to whom, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from graphorch.text import format_cost

TurnKind: TypeAlias = Literal[
    "input",
    "enters",
    "calls",
    "unanswered",
    "writes",
    "fails",
    "skips",
    "cancelled",
    "asks",
    "answers",
    "returns",
    "signals",
    "resumes",
    "stops",
    "ends",
]
"""`calls` and `unanswered` are model calls; `asks` and `answers` are questions to a person.

`returns` is a call of a tool with its result, and `signals` a signal that came.
"""

CALLER, OUTSIDE, PERSON, RUN = "caller", "outside", "person", "run"
"""Speakers that are neither a node nor a model."""


class ToolUse(NamedTuple):
    """A tool call that a model asks for; `arguments` are JSON as text."""

    id: str
    name: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.name}({self.arguments})"


@dataclass(frozen=True, slots=True)
class Utterance:
    """One message of a prompt, with its role there.

    `answers` is the id of the tool call whose result it is. `is_known`: a turn of its own has said
    it before, such as the result of a tool.
    """

    role: str
    text: str
    calls: tuple[ToolUse, ...] = ()
    answers: str = ""
    is_known: bool = field(default=False, compare=False)


@dataclass(slots=True)
class Turn:
    """One thing that was said or done in a run.

    `speaker` and `to` are paths of nodes, models, `caller`, `outside`, `person` or `run`; `level`
    is the depth of the speaker. For a model call `prompt` holds the messages that were new in the
    request; `earlier` are those before, which the previous request had too, and `shared` counts
    them. `text` is the answer, with `calls` as lines of it (`answer` is without them). For a node
    that wrote something `text` is the update as JSON. For a tool call `arguments` are what it ran
    with as JSON, and `text` is what the model reads of it. `masked` names the findings of
    guardrails, never the values.
    """

    seq: int
    kind: TurnKind
    speaker: str
    to: tuple[str, ...]
    level: int
    at: float
    text: str = ""
    path: str = ""
    attempt: int = 0
    prompt: tuple[Utterance, ...] = ()
    shared: int = 0
    earlier: tuple[Utterance, ...] = ()
    answer: str = ""
    calls: tuple[ToolUse, ...] = ()
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    usd_source: str = ""
    seconds: float | None = None
    decision: str = ""
    masked: tuple[str, ...] = ()
    note: str = ""
    arguments: str = ""

    @property
    def is_model_call(self) -> bool:
        """Return whether a model was called, with or without an answer."""
        return self.kind in ("calls", "unanswered")

    @property
    def is_charged_failure(self) -> bool:
        """Return whether a model call got no answer and may have cost something all the same."""
        return self.kind == "unanswered" and bool(self.usd or self.usd_source == "none")

    @property
    def price(self) -> str:
        """Dollars of a model call as text."""
        return format_cost(self.usd, int(self.usd_source == "none"), decimals=6)
