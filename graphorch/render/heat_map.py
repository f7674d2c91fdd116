"""Heat maps: figures of many visits on the picture of a graph, and the difference of two runs.

The boxes are those of `picture_of`, and figures are given by their ids. Colours are laid over the
picture's own style sheet, half transparent, so that both themes stay readable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from graphorch.errors import InputError, did_you_mean
from graphorch.render.layout.engine import Engine, layout
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import (
    Mark,
    Overlay,
    Swatch,
    format_cost,
    format_seconds,
    format_usd,
)
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Palette, Theme

Measure = Literal["cost", "p50", "p95", "errors", "visits"]
MEASURES: tuple[Measure, ...] = ("cost", "p50", "p95", "errors", "visits")

_HOTTEST = 0.55  # opacity of the red; text keeps a contrast of 4.5 to 1 on it in both themes
_HOT = "220,38,38"
_TAKEN_OVER = "taken over"
# How a box differs: its colour, and what the legend says.
_CHANGED = Swatch("217,119,6", 0.35, "other result or visits")
_AGAIN = Swatch("37,99,235", 0.3, "ran again, same result")
_ADDED = Swatch("22,163,74", _HOTTEST, "only in B")
_GONE = Swatch("220,38,38", _HOTTEST, "only in A")
_SAME = Swatch("255,255,255", 0.0, "the same")
_REUSED = Swatch("255,255,255", 0.0, "the same, or taken over without running")
_PLAIN_ID = re.compile(r'["\\<>&]')


@dataclass(frozen=True, slots=True)
class Heat:
    """Figures of one box: dollars, seconds, share of failed visits, and number of visits.

    `unpriced` calls have dollars that are not known, and not part of `usd`.
    """

    visits: int = 0
    usd: float = 0.0
    p50: float | None = None
    p95: float | None = None
    error_rate: float = 0.0
    unpriced: int = 0


def heat_map(
    picture: Picture,
    heats: Mapping[str, Heat],
    by: Measure,
    *,
    reused: frozenset[str] = frozenset(),
    title: str = "",
    theme: Theme = "auto",
    engine: Engine = "auto",
) -> str:
    """Draw a picture with every box as red as its figure is large, and its figures beside its name.

    `reused` names boxes whose results were taken over from another run: they did not run. Raise
    `InputError` for an unknown measure.
    """
    if by not in MEASURES:
        raise InputError(f"There is no heat '{by}'. {did_you_mean(str(by), MEASURES)}")
    values = {id_: _value(heat, by) for id_, heat in heats.items() if heat.visits}
    most = max(values.values(), default=0.0)
    marks = {id_: Mark("done", note=_TAKEN_OVER) for id_ in reused}
    marks |= {
        id_: Mark("done", heat.visits, note=_note(heat, by))
        for id_, heat in heats.items()
        if heat.visits
    }
    scale = _NAMES[by]
    if most:
        scale += f", up to {_shown(most, by)}"
    title = " · ".join(part for part in (title, scale) if part)
    svg = _drawn(picture, Overlay(marks, title=title, swatches=_scale(most, by)), theme, engine)
    # Where every figure is zero, nothing is red.
    colours = {
        id_: Swatch(_HOT, _HOTTEST * (value / (most or 1.0)), "") for id_, value in values.items()
    }
    return _colour_boxes(svg, colours, theme)


def _scale(most: float, by: Measure) -> tuple[Swatch, ...]:
    """Return what the shades of red mean: nothing, half of the most, the most."""
    shares = (0.0, 0.5, 1.0) if most else (0.0,)
    return tuple(
        Swatch(_HOT, _HOTTEST * share, _shown(most * share, by) if share else "0")
        for share in shares
    )


def difference_map(
    picture: Picture,
    before: Mapping[str, Heat],
    after: Mapping[str, Heat],
    *,
    changed: frozenset[str] = frozenset(),
    reused: frozenset[str] = frozenset(),
    title: str = "",
    theme: Theme = "auto",
    engine: Engine = "auto",
) -> str:
    """Draw how run B (`after`) differs from run A (`before`); the legend explains the colours.

    `changed` names boxes whose results are other ones, `reused` those that one of the runs took
    over from another run instead of running them.
    """
    marks: dict[str, Mark] = {}
    colours: dict[str, Swatch] = {}
    for id_ in dict.fromkeys([*before, *after, *sorted(reused)]):
        old, new = before.get(id_, Heat()), after.get(id_, Heat())
        if not (old.visits or new.visits or id_ in reused):
            continue
        is_other, is_reused = id_ in changed, id_ in reused and not (old.visits and new.visits)
        if is_reused:
            note = f"{_TAKEN_OVER} · other result" if is_other else _TAKEN_OVER
        else:
            note = _change(old, new, is_other=is_other)
        marks[id_] = Mark("done", new.visits, note=note)
        colours[id_] = _find_swatch(old, new, is_other, is_reused, is_rerun=bool(reused))
    present = set(colours.values())
    swatches = tuple(
        swatch for swatch in (_CHANGED, _AGAIN, _ADDED, _GONE, _SAME, _REUSED) if swatch in present
    )
    svg = _drawn(picture, Overlay(marks, title=title, swatches=swatches), theme, engine)
    shown = {id_: swatch for id_, swatch in colours.items() if swatch.opacity}
    return _colour_boxes(svg, shown, theme)


def _find_swatch(
    old: Heat, new: Heat, is_other: bool, is_reused: bool, *, is_rerun: bool
) -> Swatch:
    """Return the colour of a box by how it differs."""
    if is_reused:
        return _CHANGED if is_other else _REUSED
    if not old.visits:
        return _ADDED
    if not new.visits:
        return _GONE
    if is_other or old.visits != new.visits:
        return _CHANGED
    return _AGAIN if is_rerun else _SAME


def _drawn(picture: Picture, overlay: Overlay, theme: Theme, engine: Engine) -> str:
    """Draw boxes wide enough for their figures; ends, decisions and joins count as visited."""
    notes = {id_: mark.note for id_, mark in overlay.marks.items()}
    wide = replace(
        picture,
        boxes=tuple(replace(box, detail=notes.get(box.id, box.detail)) for box in picture.boxes),
    )
    between: dict[str, Mark] = {}
    if notes:
        passed = [box for box in picture.boxes if box.kind in ("start", "end", "decision", "join")]
        between = {box.id: Mark("done") for box in passed}
    return draw(
        wide,
        layout(wide, engine),
        theme=theme,
        overlay=replace(overlay, marks={**between, **overlay.marks}),
    )


def _colour_boxes(svg: str, colours: Mapping[str, Swatch], theme: Theme) -> str:
    """Add rules to an SVG that give boxes their colours.

    All of their words are as dark as the name: on red, a muted second line is hard to read.
    """
    root = svg.partition('class="')[2].partition('"')[0]
    text = Palette(theme)("fill", "text")
    rules = "".join(
        f'.{root} [data-box="{id_}"] .go_shape'
        f"{{fill:rgba({swatch.colour},{swatch.opacity:.3f})}}"
        f'.{root} [data-box="{id_}"] .go_detail{{{text}}}'
        for id_, swatch in sorted(colours.items())
        if not _PLAIN_ID.search(id_)
    )
    return svg.replace("</style>", f"{rules}</style>", 1)


_NAMES: Mapping[Measure, str] = {
    "cost": "cost",
    "p50": "median latency",
    "p95": "95th percentile of latency",
    "errors": "share of failed visits",
    "visits": "visits",
}


def _value(heat: Heat, by: Measure) -> float:
    values: dict[Measure, float | None] = {
        "cost": heat.usd,
        "p50": heat.p50,
        "p95": heat.p95,
        "errors": heat.error_rate,
        "visits": heat.visits,
    }
    value = values[by] or 0.0
    if not math.isfinite(value):
        return 0.0
    return value


def _shown(value: float, by: Measure) -> str:
    if by == "cost":
        return format_usd(value)
    if by == "errors":
        return f"{value:.1%}"
    if by == "visits":
        return f"{value:.0f}"
    return format_seconds(value)


def _note(heat: Heat, by: Measure) -> str:
    """Return the figures as text, that of the measure first."""
    parts: dict[Measure, str] = {"visits": f"{heat.visits}×"}
    if heat.usd or heat.unpriced:
        parts["cost"] = format_cost(heat.usd, heat.unpriced)
    if heat.p50 is not None:
        parts["p50"] = f"P50 {format_seconds(heat.p50)}"
    if heat.p95 is not None:
        parts["p95"] = f"P95 {format_seconds(heat.p95)}"
    if heat.error_rate:
        parts["errors"] = f"{heat.error_rate:.0%} failed"
    ordered = [parts.pop(by, ""), *parts.values()]
    return " · ".join(part for part in ordered if part)


def _change(old: Heat, new: Heat, *, is_other: bool) -> str:
    if not old.visits:
        return "only in B"
    if not new.visits:
        return "only in A"
    parts: list[str] = []
    if new.visits != old.visits:
        parts.append(f"{new.visits - old.visits:+d} visits")
    if old.p50 is not None and new.p50 is not None and abs(new.p50 - old.p50) >= 0.001:
        change = new.p50 - old.p50
        parts.append(_sign(change) + format_seconds(abs(change)))
    if abs(new.usd - old.usd) >= 0.0001:
        change = new.usd - old.usd
        parts.append(_sign(change) + format_usd(abs(change)))
    if is_other:
        parts.append("other result")
    return " · ".join(parts) or "the same"


def _sign(change: float) -> str:
    return "+" if change > 0 else "−"
