"""A comparison as a table for people, and as plain values for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from graphorch.cli.cases import Case
from graphorch.cli.comparison import FEW, RESAMPLES, Comparison, Figure, Row
from graphorch.cli.estimating import aligned, dollars
from graphorch.cli.safe import one_line


def as_values(comparison: Comparison, cases: Sequence[Case]) -> dict[str, Any]:
    """Everything, every run included; a figure that is not known is null."""
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


def in_words(comparison: Comparison) -> str:
    """The table, and what it rests on."""
    lines = [
        f"{letter}: {one_line(title, 120)}"
        for letter, title in zip("AB", comparison.titles, strict=True)
    ]
    head = ["", "A", "B", "B less A", ""]
    rows = [
        [
            row.name,
            shown(row, row.first),
            shown(row, row.second),
            shown(row, row.difference, sign="+"),
            row.verdict,
        ]
        for row in comparison.rows
    ]
    cases, failed = (
        len(comparison.pairs),
        [sum(bool(pair[side].error) for pair in comparison.pairs) for side in (0, 1)],
    )
    notes = [
        f"{cases} cases; in brackets the 95 % interval by resampling the cases ({RESAMPLES:,} times, seed {comparison.seed})"
    ]
    if any(failed):
        notes.append(
            f"failed: {failed[0]} of A, {failed[1]} of B; quality and seconds are of the {comparison.answered} cases that both answered"
        )
    if comparison.answered < FEW:
        notes.append(
            f"fewer than {FEW} cases were answered by both: nothing is concluded from them"
        )
    if comparison.rows[0].name != "quality":
        notes.append(
            "no --score, so nothing is said about quality: cheaper or faster is not better by itself"
        )
    return "\n".join([*lines, "", *aligned([head, *rows]), "", *notes, *_first_errors(comparison)])


def _first_errors(comparison: Comparison) -> list[str]:
    """The most frequent reason of each flow's failures."""
    told: list[str] = []
    for side, letter in enumerate("AB"):
        errors = [one_line(pair[side].error, 160) for pair in comparison.pairs if pair[side].error]
        if errors:
            most = max(dict.fromkeys(errors), key=errors.count)
            told.append(f"{letter} failed most often with: {most}")
    return told


def shown(row: Row, figure: Figure, *, sign: str = "") -> str:
    """A figure with its interval."""
    if not figure.is_known:
        return "–"
    show = SHOWS[row.name]
    return f"{show(figure.value, sign)} [{show(figure.low, sign)}, {show(figure.high, sign)}]"


def _number(value: float, sign: str) -> str:
    return f"{value:{sign}.3g}" if abs(value) < 1000 else f"{value:{sign},.0f}"


def _seconds(value: float, sign: str) -> str:
    return (
        f"{value:{sign}.3f}"
        if abs(value) < 1
        else f"{value:{sign}.2f}"
        if abs(value) < 100
        else f"{value:{sign},.0f}"
    )


def _dollars(value: float, sign: str) -> str:
    return ("-" if value < 0 else sign if value else "") + dollars(abs(value))


def _percent(value: float, sign: str) -> str:
    return f"{value:{sign}.0%}"


SHOWS: Mapping[str, Callable[[float, str], str]] = {
    "quality": _number, "dollars a run": _dollars, "seconds, P50": _seconds, "seconds, P90": _seconds, "failed runs": _percent,
}  # fmt: skip
