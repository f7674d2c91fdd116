"""The figures of single runs, from the same rows as the statistics over many.

Spans that a forked run took over from another one are not counted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from graphorch.trace.spans.index import SpanIndex


class RunSums(NamedTuple):
    """Figures of one run.

    `seconds` are those in which a process drove it. `visits` counts activations of nodes, `errors`
    those of nodes and calls of tools that failed, `questions` those that wait for a person. In
    `estimated` calls not all of the tokens were reported. Dollars of `unpriced` requests are not
    known, and not part of `usd`; `booked_usd` is what a budget counts.
    """

    status: str
    reason: str
    seconds: float | None
    budget: float | None
    visits: int
    errors: int
    questions: int
    calls: int
    input_tokens: int
    output_tokens: int
    estimated: int
    usd: float
    unpriced: int
    booked_usd: float


_SQL: Final = """
    SELECT t.run_id, t.status, t.reason, t.seconds, t.budget,
        coalesce(sum(s.copied = 0 AND s.kind = 'node'), 0),
        coalesce(sum(s.copied = 0 AND s.kind IN ('node', 'tool')
            AND s.status IN ('failed', 'handled')), 0),
        coalesce(sum(s.kind = 'ask' AND s.status = 'waiting' AND s.seconds IS NULL), 0),
        coalesce(sum(s.copied = 0 AND s.kind = 'call'), 0),
        total(iif(s.copied = 0 AND s.kind = 'call', s.input_tokens, 0)),
        total(iif(s.copied = 0 AND s.kind = 'call', s.output_tokens, 0)),
        total(iif(s.copied = 0 AND s.kind = 'call', s.estimated, 0)),
        total(iif(s.copied = 0 AND s.kind = 'call', s.usd, 0)),
        total(iif(s.copied = 0 AND s.kind = 'call', s.unpriced, 0)),
        total(iif(s.copied = 0 AND s.kind = 'call', s.booked_usd, 0))
    FROM traces t LEFT JOIN spans s ON s.run = t.id
    WHERE t.run_id IN ({places}) GROUP BY t.id
"""


def sum_runs(index: SpanIndex, run_ids: Sequence[str]) -> dict[str, RunSums]:
    """Return the figures of those of some runs that the index holds, by id."""
    rows = index.query(_SQL.format(places=", ".join("?" * len(run_ids))), run_ids)
    return {run_id: _build_sums(*figures) for run_id, *figures in rows}


def _build_sums(*figures: Any) -> RunSums:
    sums = RunSums._make(figures)
    # SQLite's `total` gives floats, and never fails where integers overflow.
    return sums._replace(
        input_tokens=int(sums.input_tokens),
        output_tokens=int(sums.output_tokens),
        estimated=int(sums.estimated),
        unpriced=int(sums.unpriced),
    )
