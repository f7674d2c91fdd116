"""Events of a run as data: a record that was added to it, with the moments that it tells of."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphorch.views.runs.moments import Moment
from graphorch.views.runs.run_row import RunRow


@dataclass(frozen=True, slots=True)
class RecordAdded:
    """A record of a run, by its number and kind, and what became of activations with it."""

    run_id: str
    seq: int
    kind: str
    moments: list[Moment] = field(default_factory=list[Moment])


@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run as it is now; sent when its status changes, or figures of its row.

    `is_final`: nothing follows.
    """

    run_id: str
    row: RunRow
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class RunGone:
    """A run that was deleted with its records."""

    run_id: str


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A piece of the answer that a model is writing, at the path of the node that asked it.

    It is a preview, in no record, and pieces of a run that another process drives do not come.
    `is_new`: it replaces what was shown at this path; otherwise it follows it. A new piece without
    text: nothing is written there any more.
    """

    run_id: str
    path: str
    text: str
    is_new: bool
