"""Charts of figures over many runs as SVG: bars, lines over time, distributions.

They are drawn by matplotlib, which the extra `charts` installs.

The files are the same for the same figures: no date, fixed ids, text as text.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from graphorch.errors import InputError

_SIZE = (8.0, 4.2)  # inches
_MOST = 20  # bars or lines; the rest is added up as "other"
_SETTINGS = {
    "svg.hashsalt": "graphorch",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Series:
    """Values of a line or distribution; `at` are the times of a line, in seconds since 1970."""

    name: str
    values: Sequence[float]
    at: Sequence[float] = field(default_factory=tuple[float, ...])


def bar_chart(names: Sequence[str], values: Sequence[float], *, title: str, unit: str) -> str:
    """Draw a bar for each name, the first on top. Raise `InputError` without the extra `charts`."""
    names, values = _with_other(names, values)

    def paint(axes: Any) -> None:
        places = range(len(names))
        axes.barh(places, values, color="#2563eb")
        axes.set_yticks(places, labels=[_shown(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlabel(unit)

    return _drawn(paint, title, is_empty=not names)


def line_chart(series: Sequence[Series], *, title: str, unit: str) -> str:
    """Draw values over time. Raise `InputError` without the extra `charts`."""

    def paint(axes: Any) -> None:
        for sery in series[:_MOST]:
            axes.plot(
                [datetime.fromtimestamp(at, UTC) for at in sery.at],
                sery.values,
                marker=".",
                label=_shown(sery.name),
            )
        axes.set_ylabel(unit)
        axes.tick_params(axis="x", rotation=25)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize="small")

    return _drawn(paint, title, is_empty=not any(sery.values for sery in series))


def distribution_chart(series: Sequence[Series], *, title: str, unit: str) -> str:
    """Draw each series as the share of its values that are at most so large: all quantiles at once.

    Raises `InputError` without the extra `charts`.
    """

    def paint(axes: Any) -> None:
        for sery in series[:_MOST]:
            if sery.values:
                axes.ecdf(sery.values, label=f"{_shown(sery.name)} ({len(sery.values):,})")
        axes.set_xlabel(unit)
        axes.set_ylabel("share of visits")
        for share in (0.5, 0.9, 0.99):
            axes.axhline(share, color="#cbd5e1", linewidth=0.8, zorder=0)
        axes.legend(frameon=False, fontsize="small")

    return _drawn(paint, title, is_empty=not any(sery.values for sery in series))


def _drawn(paint: Any, title: str, *, is_empty: bool) -> str:
    matplotlib, svg, figures = (
        _module(name)
        for name in ("matplotlib", "matplotlib.backends.backend_svg", "matplotlib.figure")
    )
    with matplotlib.rc_context(_SETTINGS):
        figure = figures.Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_title(_shown(title, 90), loc="left", fontsize="medium")
        if is_empty:
            axes.text(
                0.5,
                0.5,
                "no data in this window",
                ha="center",
                va="center",
                transform=axes.transAxes,
            )
        else:
            paint(axes)
        file = io.StringIO()
        svg.FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _module(name: str) -> Any:
    """Return a module of matplotlib, untyped: it is installed only with the extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            "Charts need matplotlib. Install it: pip install 'graphorch[charts]'."
        ) from error


def _with_other(
    names: Sequence[str], values: Sequence[float]
) -> tuple[Sequence[str], Sequence[float]]:
    if len(names) <= _MOST:
        return names, values
    rest = len(names) - _MOST + 1
    return [*names[: _MOST - 1], f"{rest} others"], [*values[: _MOST - 1], sum(values[_MOST - 1 :])]


def _shown(text: str, longest: int = 40) -> str:
    """Return one line of text, without what matplotlib would read as mathematics."""
    line = " ".join(text.encode("utf-8", "replace").decode().split()) or "–"
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return line.replace("$", r"\$")
