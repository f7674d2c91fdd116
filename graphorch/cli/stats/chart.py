"""Chart of statistics: bars, lines over time, or the distribution of latencies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from graphorch.render.charts import Series, bar_chart, distribution_chart, line_chart
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.analysis.statistics import Table
from graphorch.trace.spans.index import SpanIndex

_SEPARATOR = " · "  # between the parts of a group's name


def draw_chart(index: SpanIndex, topic: str, selection: Selection, table: Table[Any]) -> str:
    """Return the SVG of a topic's chart. Raises `InputError` without the extra `charts`."""
    by = table.by
    measure = _choose_measure(topic)
    rows = table.records()
    if topic == "steps":
        latencies = statistics.spread(index, by, selection)
        series = [Series(_SEPARATOR.join(key), values) for key, values in latencies.items()]
        title = f"Latency by {', '.join(by)}"
        return distribution_chart(series, title=title, unit="seconds")
    title = f"{measure} by {', '.join(by)}"
    if by[0] in ("day", "hour"):
        return line_chart(_build_series(rows, by, measure), title=title, unit=measure)
    names = [_name_group(row, by) for row in rows]
    values = [float(row[measure] or 0) for row in rows]
    return bar_chart(names, values, title=title, unit=measure)


def _choose_measure(topic: str) -> str:
    if topic in ("calls", "runs"):
        return "usd"
    if topic == "tools":
        return "calls"
    return "rounds" if topic == "loops" else "count"


def _name_group(row: dict[str, Any], by: Sequence[str]) -> str:
    return _SEPARATOR.join(str(row[name]) or "–" for name in by)


def _build_series(rows: Sequence[dict[str, Any]], by: Sequence[str], measure: str) -> list[Series]:
    """Return a line over time for each group; the first part of the key is the time."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        point = (_parse_utc(str(row[by[0]])), float(row[measure] or 0))
        lines.setdefault(_name_group(row, by[1:]), []).append(point)
    series: list[Series] = []
    for name, points in lines.items():
        points.sort()
        series.append(Series(name, [value for _, value in points], [at for at, _ in points]))
    return series


def _parse_utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
