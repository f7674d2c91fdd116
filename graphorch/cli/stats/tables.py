"""Tables of statistics, for people and as CSV; with the window before, if they are compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from graphorch.cli.tables import align_columns, format_amount
from graphorch.cli.terminal import print_output, print_status, sanitize, sanitize_line
from graphorch.trace.analysis.statistics import MIN_FOR_P99, Table

Row: TypeAlias = dict[str, Any]

_MOST_ROWS = 40  # of a table for people

# topic → (heading, name of the value) of each column for people
_COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "calls": (
        ("CALLS", "calls"),
        ("FAILED", "failed"),
        ("REQUESTS", "requests"),
        ("FAILED REQ", "failed_requests"),
        ("UNUSABLE", "unusable"),
        ("RETRIES", "retries"),
        ("FALLBACKS", "fallbacks"),
        ("HEDGES", "hedges"),
        ("CACHE", "cache_hits"),
        ("TOKENS IN", "input_tokens"),
        ("OUT", "output_tokens"),
        ("ESTIMATED", "estimated"),
        ("USD", "usd"),
        ("UNPRICED", "unpriced"),
        ("BOOKED", "booked_usd"),
        ("P50 S", "latency_p50"),
        ("P90", "latency_p90"),
        ("P99", "latency_p99"),
        ("TTFT P50", "first_token_p50"),
        ("P90", "first_token_p90"),
    ),
    "steps": (
        ("VISITS", "visits"),
        ("FAILED", "failed"),
        ("HANDLED", "handled"),
        ("SKIPPED", "skipped"),
        ("ATTEMPTS", "attempts"),
        ("FAILED ATT", "failed_attempts"),
        ("P50 S", "latency_p50"),
        ("P90", "latency_p90"),
        ("P99", "latency_p99"),
    ),
    "tools": (
        ("CALLS", "calls"),
        ("FAILED", "failed"),
        ("TOLD", "errors_read"),
        ("REFUSED", "refused"),
        ("ATTEMPTS", "attempts"),
        ("SECONDS", "seconds"),
        ("P50 S", "latency_p50"),
        ("P90", "latency_p90"),
        ("P99", "latency_p99"),
    ),
    "errors": (
        ("WHAT", "what"),
        ("ERROR", "error"),
        ("COUNT", "count"),
        ("RUNS", "runs"),
        ("FOR EXAMPLE", "example_run"),
        ("", "example"),
    ),
    "runs": (
        ("RUNS", "runs"),
        ("SUCCEEDED", "succeeded"),
        ("FAILED", "failed"),
        ("CANCELLED", "cancelled"),
        ("WAITING", "waiting"),
        ("RUNNING", "running"),
        ("CALLS", "calls"),
        ("TOKENS", "tokens"),
        ("ESTIMATED", "estimated"),
        ("USD", "usd"),
        ("UNPRICED", "unpriced"),
        ("BOOKED", "booked_usd"),
        ("OF BUDGET", "budget_used"),
        ("P50 S", "latency_p50"),
        ("P90", "latency_p90"),
        ("P99", "latency_p99"),
    ),
    "loops": (
        ("LOOP", "loop"),
        ("RUNS", "runs"),
        ("ROUNDS", "rounds"),
        ("MOST", "most"),
        ("EXHAUSTED", "exhausted"),
    ),
    "findings": (
        ("KIND", "kind"),
        ("WHERE", "where"),
        ("ACTION", "action"),
        ("COUNT", "count"),
        ("CALLS", "calls"),
    ),
}
# values whose change a comparison shows
_COMPARED = (
    "calls",
    "visits",
    "runs",
    "count",
    "rounds",
    "usd",
    "unpriced",
    "booked_usd",
    "latency_p50",
    "latency_p90",
)
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def join_windows(table: Table[Any], before: Table[Any] | None) -> list[Row]:
    """Return flat rows, with the value of the window before beside each compared value."""
    rows = table.records()
    if before is None:
        return rows
    # match the groups of both windows by their keys
    old_rows = {_key(row, table.by): row for row in before.records()}
    all_rows = [*rows, *old_rows.values()]
    compared = [name for name in _COMPARED if all_rows and name in all_rows[0]]
    for row in rows:
        old = old_rows.pop(_key(row, table.by), {})
        row |= {f"{name}_before": old.get(name) for name in compared}
    # groups that have no row in the window itself
    for old in old_rows.values():
        key = {name: old[name] for name in table.by}
        rows.append(key | {f"{name}_before": old[name] for name in compared})
    return rows


def _key(row: Row, by: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in by)


# ---- CSV -----------------------------------------------------------------------------------------
def list_csv_columns(table: Table[Any], *, is_compared: bool) -> list[str]:
    """Return the columns of a table as CSV, also of one without rows."""
    compared = [name for name in _COMPARED if is_compared and name in table.columns]
    return [*table.columns, *(f"{name}_before" for name in compared)]


def format_csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return rows as CSV with a header of these names, safe to open in a spreadsheet."""
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _escape_formula(value) for name, value in row.items()})
    return sanitize(file.getvalue().rstrip("\n"))


def _escape_formula(value: Any) -> Any:
    """Return a cell that a spreadsheet does not take for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    return value


# ---- for people ----------------------------------------------------------------------------------
def print_tables(tables: Mapping[str, Table[Any]], before: Mapping[str, Table[Any]]) -> None:
    """Print the tables that have rows, each under its topic if there are several."""
    shown = 0
    for topic, table in tables.items():
        rows = join_windows(table, before.get(topic))
        if not rows:
            continue
        if len(tables) > 1:
            print_output(f"\n{topic}" if shown else topic)
        shown += 1
        columns = list(_COLUMNS[topic])
        if topic in before:
            columns += _columns_before(rows)
        lines = _format_table(table.by, columns, rows[:_MOST_ROWS])
        print_output(sanitize("\n".join(lines)))
        if len(rows) > _MOST_ROWS:
            hidden = len(rows) - _MOST_ROWS
            print_output(f"and {hidden:,} more rows; --format csv has them all")
    if not shown:
        print_status("nothing in this window: no run in the journal did any of it")


def _columns_before(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the columns of the window before that some row has a value for."""
    names = [name for name in _COMPARED if any(f"{name}_before" in row for row in rows)]
    return [(f"{name.upper()} BEFORE", f"{name}_before") for name in names]


def _format_table(
    by: Sequence[str], columns: Sequence[tuple[str, str]], rows: Sequence[Row]
) -> list[str]:
    headings = [name.upper() for name in by] + [heading for heading, _ in columns]
    lines = [headings]
    for row in rows:
        key = [sanitize_line(str(row.get(name) or "–"), 60) for name in by]
        lines.append(key + [_format_cell(row, name) for _, name in columns])
    return align_columns(lines)


def _format_cell(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None or (name.endswith("_p99") and _count_values(row, name) < MIN_FOR_P99):
        return "–"
    if name.startswith("usd"):
        return format_amount(value, row.get(f"unpriced{name[3:]}") or 0)
    if name.startswith("booked_usd"):
        return format_amount(value, 0)
    if name == "budget_used":
        return f"{value:.0%}"
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else sanitize_line(str(value), 80)


def _count_values(row: Row, quantile: str) -> int:
    """Return how many values a quantile such as `latency_p99` is made of."""
    return row.get(f"{quantile[:-4]}_count") or 0
