"""Figures of many runs, by group and over time.

The rows inside are those of `graphorch stats`: both are made by `graphorch.trace.analysis`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from graphorch.trace.analysis.statistics import Calls, Runs, Steps, Tools
from graphorch.views.runs.run_row import UnreadableRun

Grouping: TypeAlias = Literal["agent", "model", "tag", "node", "flow"]
"""What the figures are grouped by; a node is told from those of other flows by its flow."""

Bucket: TypeAlias = Literal["hour", "day", "month"]
"""A span of time whose figures are added up."""

MOST_ROWS: Final = 500
"""Rows of a table or of a heat map; those that follow are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """Figures of one group.

    - `key` are the parts of its name: of a node its flow and its path without indices of map items.
      Empty parts are what has no such name, such as runs without the tag.
    - `usd` are the dollars that are known, None if some requests have no known price and the others
      were free; `unpriced` counts those requests.
    - `errors` are activations of nodes and calls of tools that failed, also if an error edge
      carried on or the model was told. By model they are calls that failed.
    - `served` counts the model calls whose answers were taken over from the record of another run,
      which cost nothing again; they are no part of `calls`.
    - `seconds` are those of the nodes and the tools in it; a tool works while its agent does.
    - `runs` took part, and `newest_run` is the id of the one that began last.
    - A 99th percentile is None where it would be made of less than 100 values. Rows are None where
      nothing of their kind belongs to the group: models have no nodes. `of_runs` is there by flow
      and by tag, of the runs that began in the window.
    """

    key: tuple[str, ...]
    usd: float | None
    unpriced: int
    errors: int
    served: int
    seconds: float
    runs: int
    newest_run: str
    calls: Calls | None
    steps: Steps | None
    tools: Tools | None
    of_runs: Runs | None


@dataclass(frozen=True, slots=True)
class TimeFigures:
    """Figures of one hour, day or month; `began` and `ended` are seconds since 1970."""

    began: float
    ended: float
    figures: FigureRow


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Runs that are in no figure: those that cannot be read, and how many were erased."""

    unreadable: list[UnreadableRun]
    erased: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of the runs in a journal.

    `tag` is the name that they are grouped by, if they are grouped by a tag, and `tags` are the
    names that runs have. `total` is of all groups together, those beyond `rows` too, which `more`
    counts. `times` are those in which something happened.
    """

    by: Grouping
    tag: str
    tags: list[str]
    rows: list[FigureRow]
    more: int
    total: FigureRow
    bucket: Bucket
    times: list[TimeFigures]
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class HeatCell:
    """Figures of a node in one column; `column` counts from 0. See `FigureRow` for the others."""

    column: int
    visits: int
    errors: int
    seconds: float
    usd: float | None
    unpriced: int
    calls: int
    latency_p50: float | None
    newest_run: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A node, or a tool of an agent, over time; what did not happen has no cell."""

    flow: str
    node: str
    kind: Literal["node", "tool"]
    cells: list[HeatCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Where time, money and errors are: nodes, those with the most seconds first, by time.

    `times` are the beginnings and ends of the columns. `more` nodes are left out.
    """

    bucket: Bucket
    times: list[tuple[float, float]]
    rows: list[HeatRow]
    more: int
    left_out: LeftOut
