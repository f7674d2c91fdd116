"""Colours of pictures, light and dark, as the tokens that style sheets use.

Every pair that carries meaning meets WCAG 2.2 AA: text 4.5:1 on its fill, borders and lines 3:1 on
the canvas; a test computes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Theme = Literal["auto", "light", "dark"]

# token: (light, dark). A kind's or status' tokens are `<it>_fill` and `<it>_line`.
_COLOURS: dict[str, tuple[str, str]] = {
    "canvas": ("#ffffff", "#0d1117"),
    "text": ("#0f172a", "#e6edf3"),
    "muted": ("#475569", "#9aa7b4"),
    "edge": ("#64748b", "#8b98a5"),
    "panel_fill": ("#f8fafc", "#131a22"),
    "panel_line": ("#cbd5e1", "#3a444f"),
    "node_fill": ("#f0fdfa", "#0b2b29"),
    "node_line": ("#0d9488", "#2dd4bf"),
    "agent_fill": ("#eff6ff", "#10233f"),
    "agent_line": ("#2563eb", "#5ea1ff"),
    "map_fill": ("#fdf4ff", "#2f1037"),
    "map_line": ("#a21caf", "#e879f9"),
    "sub_fill": ("#eef2ff", "#1a1f45"),
    "sub_line": ("#4338ca", "#8f9bff"),
    "ask_fill": ("#fff1f2", "#3a1620"),
    "ask_line": ("#be123c", "#fb7185"),
    "signal_fill": ("#f7fee7", "#1b2a0c"),
    "signal_line": ("#4d7c0f", "#a3e635"),
    "timer_fill": ("#f0f9ff", "#0c2536"),
    "timer_line": ("#0369a1", "#7dd3fc"),
    "first_fill": ("#fffbeb", "#2f240b"),
    "first_line": ("#b45309", "#f0b449"),
    "decision_fill": ("#fffbeb", "#2f240b"),
    "decision_line": ("#b45309", "#f0b449"),
    "terminal_fill": ("#f1f5f9", "#1b232c"),
    "terminal_line": ("#334155", "#c3ccd6"),
    "join_fill": ("#f1f5f9", "#1b232c"),
    "join_line": ("#475569", "#9aa7b4"),
    "loop": ("#7c3aed", "#b794f6"),
    "error": ("#b91c1c", "#ff7b72"),
    "exhausted": ("#b45309", "#f0b449"),
    "undo": ("#0f766e", "#5eead4"),
    "untrusted": ("#c2410c", "#fb923c"),
    "secret": ("#0e7490", "#22d3ee"),
    "done_fill": ("#f0fdf4", "#0d2818"),
    "done_line": ("#15803d", "#4ade80"),
    "running_fill": ("#dbeafe", "#0f2a52"),
    "running_line": ("#1d4ed8", "#5ea1ff"),
    "failed_fill": ("#fef2f2", "#3a1416"),
    "failed_line": ("#b91c1c", "#ff7b72"),
    "waiting_fill": ("#fffbeb", "#33260a"),
    "waiting_line": ("#b45309", "#f0b449"),
    "at_bound_fill": ("#f5f3ff", "#221a38"),
    "at_bound_line": ("#7c3aed", "#b794f6"),
    "cancelled_fill": ("#f1f5f9", "#1b232c"),
    "cancelled_line": ("#475569", "#9aa7b4"),
    "not_reached_fill": ("#f8fafc", "#151b22"),
    "not_reached_line": ("#64748b", "#7d8995"),
}

LIGHT: Mapping[str, str] = MappingProxyType(
    {token: light for token, (light, _) in _COLOURS.items()}
)
DARK: Mapping[str, str] = MappingProxyType({token: dark for token, (_, dark) in _COLOURS.items()})


class Palette:
    """Writer of colours into a style sheet for one theme.

    `root` is the selector of the picture's own `<svg>`.

    Under `auto` each colour is written twice: the light value for viewers without CSS variables,
    then the variable. The variables turn dark with the system's colour scheme, and with the theme
    of JupyterLab and of pages that set `data-theme`, where those are present.
    """

    __slots__ = ("_theme", "_used", "_values")

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._used: set[str] = set()
        self._values = DARK if theme == "dark" else LIGHT

    def __call__(self, css_property: str, token: str) -> str:
        """Return the declaration that gives `css_property` the colour of a token."""
        self._used.add(token)
        plain = f"{css_property}:{self._values[token]};"
        if self._theme != "auto":
            return plain
        return f"{plain}{css_property}:var(--go_{token});"

    def variables(self, root: str) -> str:
        """Return the rules that define the variables used so far; none for a fixed theme."""
        if self._theme != "auto":
            return ""
        light, dark = (
            ";".join(
                f"--go_{token}:{value}" for token, value in values.items() if token in self._used
            )
            for values in (LIGHT, DARK)
        )
        dark_pages = f'[data-jp-theme-light="false"] {root},[data-theme="dark"] {root}'
        light_pages = f'[data-jp-theme-light="true"] {root},[data-theme="light"] {root}'
        by_system = f"{root}{{{light}}}@media(prefers-color-scheme:dark){{{root}{{{dark}}}}}"
        return f"{by_system}{dark_pages}{{{dark}}}{light_pages}{{{light}}}"


_OF_VARIABLES = re.compile(r"[\w-]+:var\(--go_\w+\);|--go_\w+:#\w+;?")


def keep_light_colours(svg: str) -> str:
    """Return a picture of the theme `auto` without its variables, so in light colours only.

    For renderers that know no CSS variables, and take a declaration with one for none at all.
    """
    return _OF_VARIABLES.sub("", svg)
