"""Open questions of a run, each with the digest of what is asked.

An answer is bound to that digest: if what would run is not what a person has read, the answer is
refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

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
