"""What went wrong, as functions of the user may read it: the handler of an `on_error` edge, and the `gather` of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Failure(BaseModel):
    """A parameter of a handler beside its slices; it travels on the error edge and is no part of the state."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    node: str
    path: str
    error: str  # the name of the exception's type
    message: str
    attempt: int = 1  # the one that failed for good


@dataclass(frozen=True, slots=True)
class Missing:
    """An item of a map that has no result, and why. `index` counts the items from 0."""

    index: int
    reason: str
