"""The state of a run after a record, and what that record changed in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field before and after; `was_set` is False if it had no value. A secret one is hidden."""

    field: str
    before: Any
    after: Any
    was_set: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The state after record `seq`: what every branch had written by then.

    `path` is that of the sub-flow or map item in which the record happened, "" for the run, and
    `inside` the state there. `changes` are those of the record. Long texts are cut, and `cut` is
    the number of characters left out. `running` are the paths of the activations that were under
    way.
    """

    seq: int
    status: str
    state: dict[str, Any]
    path: str
    inside: dict[str, Any] | None
    changes: list[FieldChange]
    running: list[str]
    cut: int
