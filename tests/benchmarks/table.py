"""Results as tables: in full, and against the targets.

A figure is the median over the rounds. A ratio is the median of the ratios within each round, so
that changes of the machine between two rounds do not show in it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.systems import HAND, OURS, PEERS, SYSTEMS, System
from tests.benchmarks.workloads import WORKLOADS, Size, Workload

OBSERVED = tuple(system for system in SYSTEMS if system.is_watched)


@dataclass(slots=True)
class Results:
    """Rows of a run of the benchmarks, looked up by workload, size and system."""

    about: dict[str, str]
    rows: list[dict[str, Any]]

    @classmethod
    def load(cls, file: Path) -> Results:
        """Read a file that `run` wrote."""
        read = json.loads(file.read_text())
        return cls(read["about"], read["rows"])

    def of(self, workload: Workload, size: Size, system: System) -> dict[int, dict[str, Any]]:
        """Return the rows with figures, by round."""
        wanted = (workload.name, size, system.name)
        return {
            row["round"]: row
            for row in self.rows
            if (row["workload"], row["size"], row["system"]) == wanted and "value" in row
        }

    def why_not(self, workload: Workload, size: Size, system: System) -> str:
        """Return the reason why there is no figure."""
        wanted = (workload.name, size, system.name)
        reasons = [
            row.get("cannot") or row.get("error")
            for row in self.rows
            if (row["workload"], row["size"], row["system"]) == wanted
        ]
        return str(reasons[0]) if reasons else "not measured"

    def median(self, workload: Workload, size: Size, system: System, what: str) -> float | None:
        """Return the median over the rounds."""
        values = [row[what] for row in self.of(workload, size, system).values() if what in row]
        return statistics.median(values) if values else None

    def ratio(
        self, workload: Workload, size: Size, system: System, to: System, what: str
    ) -> float | None:
        """Return how many times more a system takes than another: the median over the rounds."""
        mine, others = self.of(workload, size, system), self.of(workload, size, to)
        values = [
            mine[number][what] / others[number][what]
            for number in mine
            if number in others and what in mine[number] and others[number].get(what)
        ]
        return statistics.median(values) if values else None

    def best_peer(self, workload: Workload, size: Size, what: str) -> tuple[System, float] | None:
        """Return the fastest of the others, and how many times more it takes than graphorch."""
        ratios = [
            (peer, ratio)
            for peer in PEERS
            if (ratio := self.ratio(workload, size, peer, OURS, what)) is not None
        ]
        return min(ratios, key=lambda item: item[1], default=None)


def format_figure(value: float | None) -> str:
    """Return a figure with three significant digits."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


# ---- everything ----------------------------------------------------------------------------------
def format_results(results: Results) -> str:
    """Return a table for each workload.

    A cell is the wall time with its extremes over the rounds and the processor time, each with its
    ratio to the hand-written program.
    """
    parts: list[str] = []
    for workload in WORKLOADS:
        systems = [
            system
            for system in SYSTEMS
            if any(results.of(workload, size, system) for size in workload.sizes)
        ]
        if systems:
            head = [f"{workload.unit}, wall · processor", *(str(size) for size in workload.sizes)]
            rows = [
                [system.title, *(_cell(results, workload, size, system) for size in workload.sizes)]
                for system in systems
            ]
            parts += [
                f"### {workload.name}: {workload.titled('N')}",
                "",
                *format_table(head, rows),
                "",
            ]
            parts += [f"- {line}" for line in _reasons(results, workload)]
    return "\n".join(parts)


def _cell(results: Results, workload: Workload, size: Size, system: System) -> str:
    rows = list(results.of(workload, size, system).values())
    if not rows:
        return "n/a"
    walls = [row["value"] for row in rows]
    spread = f" [{format_figure(min(walls))}–{format_figure(max(walls))}]" if len(rows) > 1 else ""
    wall_ratio = _times(results, workload, size, system, "value")
    cpu_ratio = _times(results, workload, size, system, "cpu")
    cpu = results.median(workload, size, system, "cpu")
    texts = [
        f"{format_figure(statistics.median(walls))}{spread}{wall_ratio}",
        f"{format_figure(cpu)}{cpu_ratio}",
    ]
    for key, unit, scale in (("bytes", "KiB on disk", 1024), ("kib", "KiB a run", 1)):
        if (value := results.median(workload, size, system, key)) is not None:
            texts.append(f"{format_figure(value / scale)} {unit}")
    if left_running := results.median(workload, size, system, "left_running"):
        texts.append(f"{format_figure(left_running)} still running")
    return " · ".join(texts)


def _times(results: Results, workload: Workload, size: Size, system: System, what: str) -> str:
    if system is HAND or workload.kind in ("build", "import"):
        return ""
    ratio = results.ratio(workload, size, system, HAND, what)
    return "" if ratio is None else f" ×{format_figure(ratio)}"


def _reasons(results: Results, workload: Workload) -> list[str]:
    reasons = {
        (system.title, results.why_not(workload, size, system))
        for size in workload.sizes
        for system in SYSTEMS
        if not results.of(workload, size, system)
    }
    return sorted(f"{title}: {why}" for title, why in reasons if why != "not measured")


# ---- targets -------------------------------------------------------------------------------------
OBSERVER_FACTOR = 2.5  # targets with an observer are so many times larger
FLAT = 1.1


def compare_with_targets(results: Results) -> str:
    """Return a table of the targets, with the measured figures by both clocks."""
    rows = [
        row
        for workload in WORKLOADS
        if results.of(workload, workload.sizes[-1], OURS)
        for row in _aims(results, workload)
    ]
    return "\n".join(
        format_table(["", "figure", "aim", "measured", "by the other clock", ""], rows)
    )


def _aims(results: Results, workload: Workload) -> list[list[str]]:
    size, title = workload.sizes[-1], workload.titled(workload.sizes[-1])
    clocks = ("cpu", "value") if workload.clock == "cpu" else ("value", "cpu")
    by_hand = [results.ratio(workload, size, OURS, HAND, clock) for clock in clocks]
    rows: list[list[str]] = []
    if workload.hand is not None:
        rows.append(_at_most(workload, f"{title}: × by hand", workload.hand, *by_hand))
        if any(system.takes_part(workload.name) for system in OBSERVED):
            observed = [results.ratio(workload, size, OBSERVED[0], HAND, clock) for clock in clocks]
            rows.append(
                _at_most(workload, "with one observer", workload.hand * OBSERVER_FACTOR, *observed)
            )
    if workload.most is not None:
        rows.append(
            _at_most(
                workload,
                f"{title}, {workload.unit}",
                workload.most,
                *(results.median(workload, size, OURS, clock) for clock in clocks),
            )
        )
    if (
        workload.peer is not None
        and (best := results.best_peer(workload, size, clocks[0])) is not None
    ):
        again = results.ratio(workload, size, best[0], OURS, clocks[1])
        title = f"times faster than {best[0].title}"
        rows.append(
            [
                workload.name,
                title,
                f"≥ {workload.peer:g}",
                format_figure(best[1]),
                format_figure(again),
                _verdict(best[1] / workload.peer),
            ]
        )
    if workload.hand_bytes is not None:
        rows.append(
            _at_most(
                workload,
                "× bytes of a bare log",
                workload.hand_bytes,
                results.ratio(workload, size, OURS, HAND, "bytes"),
            )
        )
    if workload.kib is not None:
        rows.append(
            _at_most(
                workload, "KiB a run", workload.kib, results.median(workload, size, OURS, "kib")
            )
        )
    if workload.name in ("W13", "W14"):
        grown = (_growth(results, workload, clock) for clock in clocks)
        rows.append(
            _at_most(
                workload,
                f"{workload.titled('N')}: {size} against {workload.sizes[0]}",
                FLAT,
                *grown,
            )
        )
    return rows


def _growth(results: Results, workload: Workload, what: str) -> float | None:
    """Return how many times more the largest size takes than the smallest."""
    few, many = (
        results.of(workload, size, OURS) for size in (workload.sizes[0], workload.sizes[-1])
    )
    ratios = [many[number][what] / few[number][what] for number in few if number in many]
    return statistics.median(ratios) if ratios else None


def _at_most(
    workload: Workload, what: str, aim: float, value: float | None, other: float | None = None
) -> list[str]:
    verdict = "not measured" if value is None else _verdict(aim / value)
    return [
        workload.name,
        what,
        f"≤ {aim:g}",
        format_figure(value),
        "" if other is None else format_figure(other),
        verdict,
    ]


def _verdict(share: float) -> str:
    return "reached" if share >= 1 else f"missed {format_figure(1 / share)} ×"
