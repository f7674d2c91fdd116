"""Overlay of a run: marks on the boxes and lines of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from graphorch.render.picture.model import Picture

Status = Literal["done", "running", "waiting", "failed", "at_bound", "cancelled", "not_reached"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Status of a box in a run, and sums over its visits; `note` replaces these as second line.

    `unpriced` requests have dollars that are not known, and not part of `usd`. `failed` visits are
    among `visits`; a map has `items`, of which `items_done` succeeded. A note on a failure stands
    only if all visits failed. `hint` is more text, for those who ask.
    """

    status: Status
    visits: int = 0
    seconds: float | None = None
    tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    note: str = ""
    failed: int = 0
    items: int = 0
    items_done: int = 0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Swatch:
    """A colour (`red,green,blue`) with an opacity that some boxes have, and what it means."""

    colour: str
    opacity: float
    word: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """Marks by the ids of boxes and groups, the ids of the lines that were taken, and a title.

    `remarks` are sentences that stand below it. With `swatches` the boxes have colours of their own
    instead of statuses; no lines were taken then, since it is not one run that is shown.

    A box without a mark counts as not reached, unless it is one that nothing runs in:
    `complete_overlay` gives those their marks.
    """

    marks: Mapping[str, Mark]
    taken: frozenset[str] = frozenset()
    title: str = ""
    remarks: tuple[str, ...] = ()
    swatches: tuple[Swatch, ...] = ()


def complete_overlay(picture: Picture, overlay: Overlay) -> Overlay:
    """Return the overlay with marks for start, end, decisions and joins, and their short lines.

    Nothing runs in those, so a run has no record of them. They follow from what happened around
    them. Marks that are given stay.
    """
    if overlay.swatches:
        return overlay
    marks = dict(overlay.marks)
    kinds = {box.id: box.kind for box in picture.boxes}
    reached = {id_ for id_, mark in marks.items() if mark.status != "not_reached"}
    taken = overlay.taken | {
        line.id
        for line in picture.lines
        if kinds[line.source] in ("start", "join") and line.target in reached
    }
    used = {line.source for line in picture.lines if line.id in taken}
    taken |= {
        line.id
        for line in picture.lines
        if kinds[line.target] == "decision" and line.target in used
    }
    touched = {
        end for line in picture.lines if line.id in taken for end in (line.source, line.target)
    }
    for box in picture.boxes:
        begun = box.id in touched or (box.kind == "start" and box.group is None and bool(reached))
        if begun and box.kind in ("start", "end", "decision", "join"):
            marks.setdefault(box.id, Mark("done"))
    return replace(overlay, marks=marks, taken=taken)


def second_line(mark: Mark) -> str:
    """Return the line under a name, such as `3× · 1.2 s`: known figures above zero."""
    has_success = mark.status == "failed" and mark.failed < mark.visits
    if mark.note and not has_success:
        return mark.note
    if mark.status == "not_reached":
        return "not reached"
    parts = [count_visits(mark)]
    if mark.seconds is not None:
        parts.append(format_seconds(mark.seconds))
    if mark.tokens:
        parts.append(f"{format_count(mark.tokens)} tok")
    if mark.usd or mark.unpriced:
        parts.append(format_cost(mark.usd, mark.unpriced))
    return " · ".join(part for part in parts if part) or mark.status.replace("_", " ")


def count_visits(mark: Mark) -> str:
    """Return how often a box was visited, or what became of its items: `1 of 3 failed`."""
    if mark.status == "cancelled" and not mark.visits:
        return "interrupted"
    if mark.items and mark.items_done < mark.items:
        return f"{mark.items_done} of {mark.items} items"
    if mark.items:
        return f"{mark.items} item{'s' * (mark.items > 1)}"
    if mark.failed and mark.visits > 1:
        return f"{mark.failed} of {mark.visits} failed"
    return f"{mark.visits}×" if mark.visits else ""


def format_seconds(seconds: float) -> str:
    """Return a short duration: `45 ms`, `1.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_count(count: int) -> str:
    """Return a count of at most four characters: `940`, `1.4k`, `12k`, `3.1M`."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size * 0.9995:
            scaled = count / size
            digits = 1 if scaled < 9.95 else 0
            return f"{scaled:.{digits}f}{unit}"
    return str(count)


def format_cost(usd: float, unpriced: int) -> str:
    """Return dollars, and a question mark for what is not known of them: `$0.011 + ?`."""
    if not unpriced:
        return format_usd(usd)
    return f"{format_usd(usd)} + ?" if usd else "$ ?"


def format_usd(usd: float) -> str:
    """Return dollars with the digits that matter: `$12.30`, `$0.011`, `<$0.0001`."""
    if usd >= 1:
        return f"${usd:,.2f}"
    if usd >= 0.01:
        return f"${usd:.3f}"
    if usd >= 0.0001:
        return f"${usd:.4f}"
    return "<$0.0001"
