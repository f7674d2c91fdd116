"""Open questions of a run, each with the digest of what is asked.

An answer is bound to that digest: if what would run is not what a person has read, the answer is
refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from graphorch.journal.records import Record
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.runs.steps import StepRow

Body: TypeAlias = Mapping[str, Any]

QuestionKind: TypeAlias = Literal["question", "approval", "call"]
"""`question` asks for an answer of its own; `approval` is a gate of a node; `call` of a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """An open question.

    `id` is that of the activation that asks, at `path`. `digest` stands for what is asked: the
    text, and the tool with the arguments that run if a person agrees. `asked_at` and `expires` are
    in seconds since 1970; None: it does not expire. `seq` is the record that asks. Of a call of a
    tool: the name of the `tool`, the `agent` that calls it, its `arguments`, and its `effect`
    (`pure`, `idempotent`, `once`).
    """

    id: str
    path: str
    kind: QuestionKind
    text: str
    digest: str
    seq: int
    asked_at: float
    expires: float | None
    tool: str = ""
    agent: str = ""
    arguments: dict[str, Any] | None = None
    effect: str = ""


def compute_digest(
    activation: str, text: str, expires: float | None, arguments: object, consent: str = ""
) -> str:
    """Return the digest of a question as its records hold it, before anything is hidden in it.

    32 hexadecimal digits of the SHA-256.
    """
    asked = [activation, text, expires, arguments, consent]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(slots=True)
class _Asked:
    """What is asked, and the record that does."""

    seq: int
    body: Body


class QuestionReader:
    """Reads what is asked, and what calls of tools run with, from records in their order."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}  # by the id of the activation
        self._effects: dict[str, str] = {}  # of calls of tools, by path

    def take(self, record: Record, body: Body) -> None:
        """Read a record that is what its kind declares."""
        if record.kind == "asked":
            self._asked[body["id"]] = _Asked(record.seq, body)
        elif record.kind == "tools":
            above = f"{body['path']}/{body['label']}"
            for call in body["calls"]:
                self._effects[f"{above}/{call['tool']}#{call['index']}"] = call["effect"]

    def build_rows(
        self, steps: Iterable[StepRow], asks: frozenset[str], redaction: Redaction
    ) -> list[QuestionRow]:
        """Return a row for each of `steps` that asks; `asks` are the steps that only ask.

        What is secret is hidden in the row, and part of its digest.
        """
        return [self._build_row(step, asks, redaction) for step in steps if step.asks]

    def _build_row(self, step: StepRow, asks: frozenset[str], redaction: Redaction) -> QuestionRow:
        asked = self._asked[step.activation]
        body = asked.body
        text, expires, consent = str(body["text"]), body["expires"], body.get("consent", "")
        kind: QuestionKind = "question" if step.path in asks else "approval"
        return QuestionRow(
            id=step.activation,
            path=step.path,
            kind="call" if step.tool else kind,
            text=redaction.text(text),
            digest=compute_digest(step.activation, text, expires, step.arguments, consent),
            seq=asked.seq,
            asked_at=float(body["at"]),
            expires=expires,
            tool=step.tool,
            agent=step.agent,
            arguments=redaction.data(step.arguments),
            effect=self._effects.get(step.path, ""),
        )
