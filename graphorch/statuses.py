"""Statuses of runs and the named sets of them, each declared once.

A status is stored and printed as its plain text, so these are types and sets, not classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

RunStatus: TypeAlias = Literal[
    "running", "waiting", "stopped", "failed", "succeeded", "partial", "cancelled"
]
"""Status of a run.

`waiting` for a person or a timer; `stopped` by a limit, a person or a store.
"""

RUN_STATUSES: Final[tuple[RunStatus, ...]] = (
    "running",
    "waiting",
    "stopped",
    "failed",
    "succeeded",
    "partial",
    "cancelled",
)

FINAL_STATUSES: Final[frozenset[str]] = frozenset({"succeeded", "partial", "cancelled"})
"""Nothing follows: the run cannot be resumed."""

RESUMABLE_STATUSES: Final[frozenset[str]] = frozenset({"failed", "stopped", "waiting"})
"""At rest, and may be resumed."""

HALTED_STATUSES: Final[frozenset[str]] = frozenset({"failed", "stopped"})
"""At rest although there was more to do; an answer alone does not continue the run."""

SUCCESS_STATUSES: Final[frozenset[str]] = frozenset({"succeeded", "partial"})
"""The run reached its end and has an output; `partial` if branches were left out on the way."""

UNFINISHED_STATUSES: Final[frozenset[str]] = frozenset({"running", "waiting"})
"""The run has not come to its end, and nothing stopped it."""

COUNTED_AS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "succeeded": ("succeeded", "partial"),
        "failed": ("failed", "stopped", "crashed"),
        "cancelled": ("cancelled",),
        "waiting": ("waiting",),
        "running": ("running",),
    }
)
"""What runs are counted as, with the statuses of each; `crashed` is a run whose process is gone.

A run that failed and was undone is cancelled: nothing of it is left to resume.
"""

HANDED_OVER: Final = "handed over"
"""Why a run was stopped that another worker is to go on with at once."""

BETWEEN_OWNERS: Final[frozenset[str]] = frozenset({"crashed", HANDED_OVER})
"""Reasons why a run was stopped without anybody asking for it: whoever takes it goes on."""

LIMITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "activations": "more nodes ran than Limits(activations=…) allows",
        "seconds": "it took longer than its limit in seconds allows",
    }
)
"""What happened when a run reached the limit of this name; those of money explain themselves."""

TOOL_OUTCOMES: Final[Mapping[str, str]] = {
    "failed": "error told",
    "refused": "refused",
    "answered": "answered",
}
"""Words for what the model reads of a tool call, where that is no result; see `ToolOutcome`."""
