"""An open question of a run, as it is kept with its activation."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class PendingQuestion:
    """An open question: its text, the type of its answer, and when it expires.

    `expires` is in seconds since the epoch; None is never. `consent` is what an approval agrees to,
    of a tool that is not what it was offered as.
    """

    text: str
    answer: type[BaseModel]
    expires: float | None = None
    consent: str = ""
