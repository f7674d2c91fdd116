"""Failures as the user's functions read them: handlers of `on_error` edges and `gather` of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
