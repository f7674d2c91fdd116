"""Answer to a gate, in a module of its own: only runs with gates pay for this pydantic model."""

from __future__ import annotations

from pydantic import BaseModel


class Approval(BaseModel):
    """Answer to a gate."""

    approved: bool
    reason: str = ""
