"""Model calls and what they cost: the sums of a run, a node or an activation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphorch.trace.spans.model import Span


@dataclass(slots=True)
class Usage:
    """Model calls, failed ones too, that a run paid for itself.

    `usd` are the dollars that are known; `unpriced` counts the requests whose dollars are not, so a
    cost with some of them is never shown as `usd` alone. `booked_usd` is what budgets count, with
    the worst case of those. Tokens are those of all requests; in `estimated` calls not all of them
    were reported, and the others are guessed from the length of the texts.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0
    usd: float = 0.0
    unpriced: int = 0
    booked_usd: float = 0.0

    def add(self, call: Span) -> None:
        """Count the span of a model call."""
        self.calls += 1
        self.input_tokens += call.input_tokens
        self.output_tokens += call.output_tokens
        self.estimated += call.estimated
        self.usd += call.usd
        self.unpriced += call.unpriced
        self.booked_usd += call.booked_usd


def sum_usage(calls: Iterable[Span]) -> Usage:
    """Return what some spans of model calls used."""
    usage = Usage()
    for call in calls:
        usage.add(call)
    return usage
