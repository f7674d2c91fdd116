"""Which runs are told of: a share of them, and always those that somebody will ask about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from graphorch.errors import InputError
from graphorch.trace.spans.model import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """`share` of the runs (0 to 1) are kept, chosen by their id, so that everybody chooses the same ones.

    Beside them: those that did not succeed (`failures`), those that took `slow` seconds or longer, and those that cost `usd` or more. Raises
    `InputError` for a share that is none.
    """

    share: float = 1.0
    failures: bool = True
    slow: float | None = None
    usd: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"Sampling(share={self.share!r}): a share is a number from 0 to 1.")

    def chosen(self, run_id: str) -> bool:
        """Whether a run is kept whatever it does."""
        drawn = (
            int.from_bytes(
                hashlib.blake2b(
                    run_id.encode("utf-8", "replace"), digest_size=6, person=b"graphorch draw"
                ).digest()
            )
            / 2**48
        )
        return drawn < self.share

    def keeps(self, trace: Trace) -> bool:
        """Whether a run that stands like this is kept."""
        return (
            self.chosen(trace.run_id)
            or (self.failures and trace.status in ("failed", "stopped", "crashed", "partial"))
            or (self.slow is not None and (trace.seconds or 0.0) >= self.slow)
            or (
                self.usd is not None
                and sum(
                    span.usd for span in trace.spans if span.kind == "call" and not span.is_copy
                )
                >= self.usd
            )
        )
