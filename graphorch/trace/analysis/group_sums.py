"""What the statistics of a group are made of, beside their rows: runs, seconds, served answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from graphorch.trace.analysis.selection import (
    Selection,
    build_conditions,
    build_groups,
    list_columns,
)
from graphorch.trace.spans.index import SpanIndex

_SEARCHED: Final = "s.kind IN ('node', 'tool', 'call', 'request')"
_ENDED: Final = "s.kind IN ('node', 'tool') AND s.status IN ('ok', 'failed', 'handled')"
# A call stands for its requests, and is counted once whichever of them served it.
_CALL: Final = "s.run || ':' || iif(s.kind = 'call', s.id, s.parent)"
_IS_SERVED: Final = "s.copied = 1 AND s.kind IN ('call', 'request') AND s.has_requests = 0"


class GroupSums(NamedTuple):
    """Figures of one group.

    `runs` took part in it, of which `newest_run` began last; "" if none did. `served` counts the
    model calls that runs took over from the record of another run, which cost nothing again.
    `seconds` are those of the activations of nodes and of the calls of tools that ended.
    """

    runs: int
    served: int
    seconds: float
    newest_run: str


NO_SUMS: Final = GroupSums(0, 0, 0.0, "")


def sum_groups(
    index: SpanIndex, by: Sequence[str], selection: Selection
) -> dict[tuple[str, ...], GroupSums]:
    """Return the figures of each group of nodes, calls and tools, by its key."""
    groups = build_groups(by, utc_offset=selection.utc_offset)
    conditions = build_conditions(selection)
    columns = list_columns(by)
    # Of the columns without an aggregate, SQLite returns those of the row with the maximum.
    rows = index.query(
        f"""
        SELECT {columns}, count(DISTINCT iif(copied = 0, run, NULL)), count(DISTINCT served),
            total(seconds), max(iif(copied = 0, began, NULL)), iif(copied = 0, run_id, '')
        FROM (
            SELECT {groups.sql}, s.run, t.run_id, t.began, s.copied,
                iif({_IS_SERVED}, {_CALL}, NULL) AS served,
                iif(s.copied = 0 AND {_ENDED}, s.seconds, 0) AS seconds
            FROM spans s JOIN traces t ON t.id = s.run
            WHERE {_SEARCHED}{conditions.sql}
        ) GROUP BY {columns}
        """,
        (*groups.values, *conditions.values),
    )
    width = len(by) or 1
    return {tuple(str(part) for part in row[: len(by)]): _build_sums(*row[width:]) for row in rows}


def _build_sums(runs: int, served: int, seconds: float, _: Any, newest_run: str) -> GroupSums:
    return GroupSums(runs, served, seconds, newest_run)


def find_bounds(index: SpanIndex, selection: Selection) -> tuple[float, float] | None:
    """Return when the first and the last span of a selection began; None if there is none."""
    conditions = build_conditions(selection)
    sql = f"""
        SELECT min(s.began), max(s.began) FROM spans s JOIN traces t ON t.id = s.run
        WHERE {_SEARCHED} AND s.began > 0{conditions.sql}
    """
    [(first, last)] = index.query(sql, conditions.values)
    return None if first is None else (first, last)


def list_tag_names(index: SpanIndex) -> list[str]:
    """Return the names of the tags of all runs, those of most runs first."""
    sql = """
        SELECT key, count(*) FROM traces t, json_each(t.tags)
        GROUP BY key ORDER BY count(*) DESC, key
    """
    return [str(name) for name, _ in index.query(sql)]
