"""Results as tables: what a run found in full, against what is aimed at, and the short form for the README.

A figure is the median over the rounds. A ratio is taken within each round, and the median of those is shown: what changed on the machine
between two rounds does not show in it.
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

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
LISTENING = tuple(system for system in SYSTEMS if system.is_watched)
SHORT = ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W11", "W12")


@dataclass(slots=True)
class Results:
    """Every row of a run, found by workload, size and system."""

    about: dict[str, str]
    rows: list[dict[str, Any]]

    @classmethod
    def load(cls, file: Path) -> Results:
        """Read what `run` wrote."""
        read = json.loads(file.read_text())
        return cls(read["about"], read["rows"])

    def of(self, workload: Workload, size: Size, system: System) -> dict[int, dict[str, Any]]:
        """The rows with figures, by round."""
        wanted = (workload.name, size, system.name)
        return {
            row["round"]: row
            for row in self.rows
            if (row["workload"], row["size"], row["system"]) == wanted and "value" in row
        }

    def why_not(self, workload: Workload, size: Size, system: System) -> str:
        """Why there is no figure."""
        wanted = (workload.name, size, system.name)
        found = [
            row.get("cannot") or row.get("error")
            for row in self.rows
            if (row["workload"], row["size"], row["system"]) == wanted
        ]
        return str(found[0]) if found else "not measured"

    def median(self, workload: Workload, size: Size, system: System, what: str) -> float | None:
        """The median over the rounds."""
        values = [row[what] for row in self.of(workload, size, system).values() if what in row]
        return statistics.median(values) if values else None

    def ratio(
        self, workload: Workload, size: Size, system: System, to: System, what: str
    ) -> float | None:
        """The median over the rounds of how many times more one takes than another one."""
        mine, others = self.of(workload, size, system), self.of(workload, size, to)
        values = [
            mine[number][what] / others[number][what]
            for number in mine
            if number in others and what in mine[number] and others[number].get(what)
        ]
        return statistics.median(values) if values else None

    def best_peer(self, workload: Workload, size: Size, what: str) -> tuple[System, float] | None:
        """The fastest of the others, and how many times more it takes than graphorch."""
        found = [
            (peer, ratio)
            for peer in PEERS
            if (ratio := self.ratio(workload, size, peer, OURS, what)) is not None
        ]
        return min(found, key=lambda item: item[1], default=None)


def clock_of(workload: Workload) -> str:
    """The key of the time that is compared."""
    return "cpu" if workload.clock == "cpu" else "value"


def shown(value: float | None) -> str:
    """A figure with three digits that matter."""
    if value is None:
        return "–"
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def lines_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


# ---- everything ----------------------------------------------------------------------------------
def full(results: Results) -> str:
    """A table per workload: wall time with its extremes over the rounds, and processor time, each with its ratio to the hand-written program."""
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
            parts += [f"### {workload.name}: {workload.titled('N')}", "", *lines_of(head, rows), ""]
            parts += [f"- {line}" for line in _reasons(results, workload)]
    return "\n".join(parts)


def _cell(results: Results, workload: Workload, size: Size, system: System) -> str:
    rows = list(results.of(workload, size, system).values())
    if not rows:
        return "n/a"
    walls = [row["value"] for row in rows]
    spread = f" [{shown(min(walls))}–{shown(max(walls))}]" if len(rows) > 1 else ""
    texts = [
        f"{shown(statistics.median(walls))}{spread}{_times(results, workload, size, system, 'value')}"
    ]
    texts.append(
        f"{shown(results.median(workload, size, system, 'cpu'))}{_times(results, workload, size, system, 'cpu')}"
    )
    for key, unit, scale in (("bytes", "KiB on disk", 1024), ("kib", "KiB a run", 1)):
        if (value := results.median(workload, size, system, key)) is not None:
            texts.append(f"{shown(value / scale)} {unit}")
    if results.median(workload, size, system, "left_running"):
        texts.append(
            f"{shown(results.median(workload, size, system, 'left_running'))} still running"
        )
    return " · ".join(texts)


def _times(results: Results, workload: Workload, size: Size, system: System, what: str) -> str:
    ratio = (
        None
        if system is HAND or workload.kind in ("build", "import")
        else results.ratio(workload, size, system, HAND, what)
    )
    return "" if ratio is None else f" ×{shown(ratio)}"


def _reasons(results: Results, workload: Workload) -> list[str]:
    found = {
        (system.title, results.why_not(workload, size, system))
        for size in workload.sizes
        for system in SYSTEMS
        if not results.of(workload, size, system)
    }
    return sorted(f"{title}: {why}" for title, why in found if why != "not measured")


# ---- what is aimed at ----------------------------------------------------------------------------
LISTENER = 2.5  # with one listener to all events, so many times what is aimed at without
FLAT = 1.1


def against_targets(results: Results) -> str:
    """Each figure that is aimed at, beside what was measured by the clock that counts and by the other one."""
    rows = [
        row
        for workload in WORKLOADS
        if results.of(workload, workload.sizes[-1], OURS)
        for row in _aims(results, workload)
    ]
    return "\n".join(lines_of(["", "figure", "aim", "measured", "by the other clock", ""], rows))


def _aims(results: Results, workload: Workload) -> list[list[str]]:
    size, title = workload.sizes[-1], workload.titled(workload.sizes[-1])
    clocks = ("cpu", "value") if workload.clock == "cpu" else ("value", "cpu")
    by_hand = [results.ratio(workload, size, OURS, HAND, clock) for clock in clocks]
    rows: list[list[str]] = []
    if workload.hand is not None:
        rows.append(_at_most(workload, f"{title}: × by hand", workload.hand, *by_hand))
        if any(system.takes_part(workload.name) for system in LISTENING):
            listening = [
                results.ratio(workload, size, LISTENING[0], HAND, clock) for clock in clocks
            ]
            rows.append(
                _at_most(
                    workload, "the same with one listener", workload.hand * LISTENER, *listening
                )
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
        told = f"times faster than {best[0].title}"
        rows.append(
            [
                workload.name,
                told,
                f"≥ {workload.peer:g}",
                shown(best[1]),
                shown(again),
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
    """How many times more the largest size takes than the smallest."""
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
        shown(value),
        "" if other is None else shown(other),
        verdict,
    ]


def _verdict(share: float) -> str:
    return "reached" if share >= 1 else f"missed {shown(1 / share)} ×"


# ---- the README ----------------------------------------------------------------------------------
def short(results: Results) -> str:
    """One row per workload, each figure with its ratio to the hand-written program, and what one has to know to read it."""
    systems = [system for system in SYSTEMS if not system.is_watched]
    rows: list[list[str]] = []
    for workload in WORKLOADS:
        size = workload.sizes[-1]
        if workload.name in SHORT and results.of(workload, size, OURS):
            rows.append(
                [
                    f"{workload.titled(size)}, {workload.unit}",
                    *(_short_cell(results, workload, size, system) for system in systems),
                ]
            )
    about = results.about
    names = [f"{system.title} {about[system.name]}" for system in systems if about.get(system.name)]
    count = len({row["round"] for row in results.rows})
    told = (
        f"Medians of {count} rounds on Python {about['python']} ({about['platform']}, {about['processors']} processors, shared with other work), "
        "and how many times the hand-written program takes within a round. In each round every system runs in a process of its own, in an order "
        "that changes, and every answer is checked. Processor time where nothing sleeps or waits for a disk, wall time elsewhere. "
        f"{', '.join(names)}; `python -m tests.benchmarks` measures it again."
    )
    return "\n".join([*lines_of(["", *(system.title for system in systems)], rows), "", told])


def _short_cell(results: Results, workload: Workload, size: Size, system: System) -> str:
    value = results.median(workload, size, system, clock_of(workload))
    if value is None:
        return "–"
    return f"{shown(value)}{_times(results, workload, size, system, clock_of(workload))}"


def put_between_marks(text: str, table: str) -> str:
    """A document with the table between its two marks. Raises `SystemExit` if it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the README has no lines {BEGIN} and {END} for the table to go between")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
