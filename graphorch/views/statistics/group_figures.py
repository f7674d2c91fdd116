"""The figures of groups of a selection, joined from the statistics by their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.group_sums import NO_SUMS, GroupSums, sum_groups
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.analysis.statistics import (
    MIN_FOR_P99,
    Calls,
    Key,
    Quantiles,
    Runs,
    Steps,
    Tools,
)
from graphorch.trace.spans.index import SpanIndex
from graphorch.views.statistics.figures import FigureRow

_OF_CALLS: Final = frozenset({"model"})  # groups that only model calls belong to
_OF_ACTORS: Final = frozenset({"agent"})  # groups of what calls models or tools


@dataclass(frozen=True, slots=True)
class _Tables:
    """The statistics of one grouping, by key."""

    calls: Mapping[Key, Calls]
    steps: Mapping[Key, Steps]
    tools: Mapping[Key, Tools]
    runs: Mapping[Key, Runs]
    sums: Mapping[Key, GroupSums]


def measure_groups(
    index: SpanIndex, by: Sequence[str], selection: Selection, *, with_runs: bool = False
) -> list[FigureRow]:
    """Return the figures of each group, the most expensive one first.

    `with_runs` adds those of whole runs, which only groups of runs have.
    """
    words = set(by)
    has_nodes = words.isdisjoint(_OF_CALLS)
    tables = _Tables(
        calls={row.key: row for row in statistics.calls(index, by, selection)},
        steps={row.key: row for row in statistics.steps(index, by, selection)} if has_nodes else {},
        tools={row.key: row for row in statistics.tools(index, by, selection)} if has_nodes else {},
        runs={row.key: row for row in statistics.runs(index, by, selection)} if with_runs else {},
        sums=sum_groups(index, by, selection),
    )
    keys = {**dict.fromkeys(tables.calls), **dict.fromkeys(tables.tools)}
    if has_nodes and words.isdisjoint(_OF_ACTORS):
        keys |= dict.fromkeys([*tables.steps, *tables.runs])
    # What was only served from the record of another run belongs to the table as well.
    keys |= {key: None for key, sums in tables.sums.items() if sums.served}
    rows = [_join(key, tables) for key in keys]
    rows.sort(key=lambda row: row.key)
    rows.sort(key=lambda row: (row.usd or 0.0, row.unpriced, row.seconds), reverse=True)
    return rows


def measure_all(index: SpanIndex, selection: Selection, *, with_runs: bool = False) -> FigureRow:
    """Return the figures of a whole selection."""
    rows = measure_groups(index, (), selection, with_runs=with_runs)
    return rows[0] if rows else _join((), _Tables({}, {}, {}, {}, {}))


def _join(key: Key, tables: _Tables) -> FigureRow:
    calls, steps = tables.calls.get(key), tables.steps.get(key)
    tools, runs = tables.tools.get(key), tables.runs.get(key)
    sums = tables.sums.get(key, NO_SUMS)
    if tables.steps or tables.tools:
        errors = steps.failed + steps.handled if steps is not None else 0
        errors += tools.failed + tools.errors_read if tools is not None else 0
    else:
        errors = calls.failed if calls is not None else 0
    unpriced = calls.unpriced if calls is not None else 0
    usd = calls.usd if calls is not None else 0.0
    return FigureRow(
        key=key,
        usd=None if unpriced and not usd else usd,
        unpriced=unpriced,
        errors=errors,
        served=sums.served,
        seconds=sums.seconds,
        runs=sums.runs,
        newest_run=sums.newest_run,
        calls=calls
        and replace(calls, latency=_mark(calls.latency), first_token=_mark(calls.first_token)),
        steps=steps and replace(steps, latency=_mark(steps.latency)),
        tools=tools and replace(tools, latency=_mark(tools.latency)),
        of_runs=runs and replace(runs, latency=_mark(runs.latency)),
    )


def _mark(quantiles: Quantiles) -> Quantiles:
    """Return quantiles without a 99th percentile that too few values would make."""
    return quantiles if quantiles.count >= MIN_FOR_P99 else replace(quantiles, p99=None)
