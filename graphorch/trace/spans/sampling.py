"""Which runs are recorded: a share of them, and always those that someone will ask about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from graphorch.errors import InputError
from graphorch.trace.spans.model import Trace

_FAILURES = frozenset({"failed", "stopped", "crashed", "partial"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Rules by which runs are kept.

    `share` of the runs (0 to 1) are kept, chosen by their id, so that all processes choose the same
    ones; and beside them those that did not succeed (`failures`), those that took `slow` seconds or
    longer, and those that cost `usd` dollars or more. Raises `InputError` for a share outside 0…1.
    """

    share: float = 1.0
    failures: bool = True
    slow: float | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"Sampling(share={self.share!r}): a share is a number from 0 to 1.")

    def includes(self, run_id: str) -> bool:
        """Return whether a run is kept for its id alone, regardless of its outcome."""
        key = run_id.encode("utf-8", "replace")
        digest = hashlib.blake2b(key, digest_size=6, person=b"graphorch draw").digest()
        return int.from_bytes(digest) / 2**48 < self.share

    def keeps(self, trace: Trace) -> bool:
        """Return whether a run is kept, by its id or by its outcome so far."""
        if self.includes(trace.run_id):
            return True
        if self.failures and trace.status in _FAILURES:
            return True
        if self.slow is not None and (trace.seconds or 0.0) >= self.slow:
            return True
        return self.usd is not None and sum(call.usd for call in trace.paid_calls) >= self.usd
