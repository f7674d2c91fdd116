"""The answer to a gate. It stands alone because a run without gates makes no pydantic model of it."""

from __future__ import annotations

from pydantic import BaseModel


class Approval(BaseModel):
    """The answer to a gate."""

    approved: bool
    reason: str = ""
