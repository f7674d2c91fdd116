"""What happened to a question of a run, as a function of the user hears of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

QuestionChange: TypeAlias = Literal["opened", "answered", "expired", "withdrawn"]


@dataclass(frozen=True, slots=True)
class QuestionEvent:
    """A question was opened, answered or withdrawn, or its time was over (`expired`).

    `id` names the question for `flow.answer` and `flow.send_answer`, and `path` is where in the run
    it is asked. An answer is an instance of `answer_type`; after `expires` it is too late for one.
    `reason` says why a question was withdrawn. `at` and `expires` are in seconds since the epoch.
    """

    kind: QuestionChange
    flow: str
    run_id: str
    id: str
    path: str
    node: str
    text: str
    answer_type: type[BaseModel]
    expires: float | None
    tags: Mapping[str, str]
    at: float
    reason: str = ""

    @property
    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of an answer, such as a form in a browser is made of."""
        return self.answer_type.model_json_schema()


OnQuestion: TypeAlias = Callable[[QuestionEvent], object]
"""Hears of questions; a plain function or an async one."""
