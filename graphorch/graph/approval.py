"""Answers to gates, in a module of their own: only runs with gates pay for these models."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, model_validator


class Approval(BaseModel):
    """Answer to a gate."""

    approved: bool
    reason: str = ""


class ToolApproval(Approval):
    """Answer to the question whether a tool may be called.

    An approval may change the `arguments`, all of them: they are checked like those of a model. A
    refusal tells the model the `reason`, or gives it an `answer` instead of the tool's.
    """

    arguments: dict[str, Any] | None = None
    answer: str | None = None

    @model_validator(mode="after")
    def check_parts(self) -> Self:
        """Raise `ValueError` for parts that contradict each other."""
        if self.approved and self.answer is not None:
            raise ValueError("an answer takes the place of the call, so approved has to be False")
        if not self.approved and self.arguments is not None:
            raise ValueError("arguments are for a call that is made, so approved has to be True")
        return self
