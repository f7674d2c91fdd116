"""Values of functions beside the state: failures for handlers and `gather`, and calls of tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict


class Failure(BaseModel):
    """Parameter of a handler beside its slices: the failure that led to it.

    It travels on the error edge and is not part of the state.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    node: str
    path: str
    error: str  # the name of the exception's type
    message: str
    attempt: int = 1  # the one that failed for good


@dataclass(frozen=True, slots=True)
class Missing:
    """Item of a map without a result, and why. `index` counts the items from 0."""

    index: int
    reason: str


class ToolArguments(BaseModel):
    """What a tool is called with, by name, as plain JSON that fits its parameters."""

    arguments: dict[str, Any]


UNANSWERED: Final = "Refused: no person decided about this call of"
"""Beginning of what a model reads about a call that no person answered in time."""


class ToolOutcome(BaseModel):
    """What a model reads after it called a tool.

    `outcome` is "ok" for what the tool returned, "failed" for an error that the model is told,
    "refused" for a call that a person did not approve, or not in time, and "answered" for a text
    that a person gave instead of calling the tool.
    """

    outcome: Literal["ok", "failed", "refused", "answered"] = "ok"
    text: str


def is_unanswered(update: object) -> bool:
    """Return whether the update in a record is that of a tool call not answered in time."""
    match update:
        case {"outcome": "refused", "text": str(text)}:
            return text.startswith(UNANSWERED)
        case _:
            return False


class ToolState(ToolArguments, ToolOutcome):
    """State of the one step that a tool call is."""
