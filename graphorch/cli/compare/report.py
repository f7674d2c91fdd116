"""Comparison as a table for people, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from graphorch.cli.compare.cases import Case
from graphorch.cli.compare.statistics import (
    MIN_CASES,
    RESAMPLES,
    Comparison,
    ComparisonRow,
    Figure,
)
from graphorch.cli.tables import align_columns, format_small_usd
from graphorch.cli.terminal import sanitize_line


def describe_comparison(comparison: Comparison, cases: Sequence[Case]) -> dict[str, Any]:
    """Return the comparison with every run, for a program; an unknown figure is null."""
    return {
        "a": comparison.titles[0],
        "b": comparison.titles[1],
        "cases": len(comparison.pairs),
        "answered_by_both": comparison.answered,
        "figures": [asdict(row) for row in comparison.rows],
        "interval": {"level": 0.95, "resamples": RESAMPLES, "seed": comparison.seed},
        "runs": [
            {"line": case.line, "a": asdict(pair[0]), "b": asdict(pair[1])}
            for case, pair in zip(cases, comparison.pairs, strict=True)
        ],
    }


def format_comparison(comparison: Comparison) -> str:
    """Return the comparison for people: a table, and what it rests on."""
    titles = [
        f"{letter}: {sanitize_line(title, 120)}"
        for letter, title in zip("AB", comparison.titles, strict=True)
    ]
    table = [["", "A", "B", "B less A", ""]]
    for row in comparison.rows:
        table.append(
            [
                row.name,
                format_interval(row, row.first),
                format_interval(row, row.second),
                format_interval(row, row.difference, sign="+"),
                row.verdict,
            ]
        )
    lines = align_columns(table, indent=2, numeric=range(1, 5))
    notes = [*_format_notes(comparison), *_format_common_errors(comparison)]
    return "\n".join([*titles, "", *lines, "", *notes])


def _format_notes(comparison: Comparison) -> list[str]:
    notes = [
        f"{len(comparison.pairs)} cases; in brackets the 95 % interval by resampling the cases "
        f"({RESAMPLES:,} times, seed {comparison.seed})"
    ]
    failed_a = sum(bool(a.error) for a, _ in comparison.pairs)
    failed_b = sum(bool(b.error) for _, b in comparison.pairs)
    if failed_a or failed_b:
        notes.append(
            f"failed: {failed_a} of A, {failed_b} of B; quality and seconds are of the "
            f"{comparison.answered} cases that both answered"
        )
    if comparison.answered < MIN_CASES:
        notes.append(
            f"fewer than {MIN_CASES} cases were answered by both: nothing is concluded from them"
        )
    if comparison.rows[0].name != "quality":
        notes.append(
            "without --score, quality is not compared: cheaper or faster is not better by itself"
        )
    return notes


def _format_common_errors(comparison: Comparison) -> list[str]:
    """Return the most frequent error of each flow that failed."""
    lines: list[str] = []
    for side, letter in enumerate("AB"):
        runs = [pair[side] for pair in comparison.pairs]
        errors = [sanitize_line(run.error, 160) for run in runs if run.error]
        if errors:
            most_frequent = max(dict.fromkeys(errors), key=errors.count)
            lines.append(f"{letter} failed most often with: {most_frequent}")
    return lines


# ---- figures -------------------------------------------------------------------------------------
def format_interval(row: ComparisonRow, figure: Figure, *, sign: str = "") -> str:
    """Return a figure with its interval; `sign="+"` shows the sign of positive values too."""
    if not figure.is_known:
        return "–"
    value = format_value(row, figure.value, sign)
    low, high = format_value(row, figure.low, sign), format_value(row, figure.high, sign)
    return f"{value} [{low}, {high}]"


def format_value(row: ComparisonRow, value: float, sign: str = "") -> str:
    """Return a value of a row in the row's unit."""
    return _FORMATTERS[row.name](value, sign)


def _format_number(value: float, sign: str) -> str:
    return f"{value:{sign}.3g}" if abs(value) < 1000 else f"{value:{sign},.0f}"


def _format_seconds(value: float, sign: str) -> str:
    if abs(value) < 1:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.2f}" if abs(value) < 100 else f"{value:{sign},.0f}"


def _format_usd(value: float, sign: str) -> str:
    amount = format_small_usd(abs(value))
    if value < 0:
        return f"-{amount}"
    return f"{sign}{amount}" if value else amount


def _format_percent(value: float, sign: str) -> str:
    return f"{value:{sign}.0%}"


_FORMATTERS: Mapping[str, Callable[[float, str], str]] = {
    "quality": _format_number,
    "dollars a run": _format_usd,
    "seconds, P50": _format_seconds,
    "seconds, P90": _format_seconds,
    "failed runs": _format_percent,
}
