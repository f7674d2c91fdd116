"""What an endpoint says about its own limits: how much of them is left, and until when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateStatus:
    """State of the limits of one model at an endpoint; None where it says nothing.

    So many requests and tokens are left of their limits, and the full limit is back after so many
    seconds.
    """

    requests: float | None = None
    requests_limit: float | None = None
    requests_reset: float | None = None
    tokens: float | None = None
    tokens_limit: float | None = None
    tokens_reset: float | None = None
