"""Ready-made graphs: six patterns, each with the cure for its known failure.

They are functions over a builder; users call them as methods of `Graph`.
"""

from __future__ import annotations

from graphorch.patterns.errors import (
    Declined,
    GateRejected,
    PlanRefused,
    ScoreOutside,
    TasksDeclined,
    Unjudged,
)
from graphorch.patterns.types import (
    Chosen,
    Digest,
    Feedback,
    Gaps,
    Gated,
    GateVerdict,
    Repeat,
    Round,
    Stop,
)

__all__ = [
    "Chosen",
    "Declined",
    "Digest",
    "Feedback",
    "Gaps",
    "GateRejected",
    "GateVerdict",
    "Gated",
    "PlanRefused",
    "Repeat",
    "Round",
    "ScoreOutside",
    "Stop",
    "TasksDeclined",
    "Unjudged",
]  # fmt: skip
