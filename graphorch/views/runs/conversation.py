"""A run as a conversation, page by page: who said what to whom, in causal order, with its cost."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.trace.conversation.turns import TurnKind
from graphorch.views.runs.calls import AskedTool, Message
from graphorch.views.runs.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """One thing that was said or done in a run.

    `speaker` and `to` are paths of nodes, models, `caller`, `outside`, `person` or `run`; `level`
    is the depth of the speaker. Of a model call, `messages` are new in the request, after `shared`
    ones of the request before; `text` is the answer, with the calls of tools as lines of it. Of a
    node, `text` is the update as JSON. Of a call of a tool, `arguments` are what it ran with, as
    JSON, and `text` is what the model reads. `at` is in seconds since 1970. `cut` is the number of
    characters that were left out: record `seq` has them all.
    """

    seq: int
    kind: TurnKind
    speaker: str
    to: list[str]
    level: int
    at: float
    text: str
    path: str
    attempt: int
    messages: list[Message]
    shared: int
    tools: list[AskedTool]
    model: str
    usage: Usage | None
    usd_source: str
    seconds: float | None
    decision: str
    masked: list[str]
    note: str
    arguments: str
    cut: int


@dataclass(frozen=True, slots=True)
class TurnPage:
    """Turns after a record; `next` is the `after` of the page that follows, None on the last.

    `seq` is the last record of the run that was read.
    """

    turns: list[TurnRow]
    next: int | None
    seq: int
