"""The bars of a timeline as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphorch.render.timeline import Bar
from graphorch.text import format_seconds, plural, truncate

_MOST_SIBLINGS = 8  # bars of one parent that are shown one by one, such as the items of a map
_MOST_LINES = 60
_LONGEST_NAME = 30
_EIGHTHS = " ▏▎▍▌▋▊▉█"  # the filled part of a cell, in eighths
_SIGNS: Mapping[str, str] = {
    "done": "",
    "running": "running",
    "waiting": "waits",
    "failed": "failed",
    "not_reached": "stopped",
}


def format_timeline(bars: Sequence[Bar], title: str, width: int) -> list[str]:
    """Return a timeline as lines of at most `width` characters: a name, a bar, and its seconds.

    What ran inside of a sub-flow or map is indented below it. Of many bars side by side, as the
    items of a map are, the first are shown, and the rest are counted.
    """
    lines = [truncate(title, width)]
    if not bars:
        return [*lines, "nothing has happened yet"]
    rows = list(_order(bars))
    total = max(bar.end for bar in bars) or 1.0
    names = min(_LONGEST_NAME, max(len(text) for text, _ in rows))
    space = max(10, width - names - 24)
    for text, bar in rows[:_MOST_LINES]:
        if bar is None:
            lines.append(truncate(text, width))
            continue
        drawn = _draw(bar, total, space)
        seconds = format_seconds(bar.end - bar.begin)
        name = truncate(text, names).ljust(names)
        lines.append(f"{name} {drawn} {seconds:>10} {bar.remark or _SIGNS[bar.status]}".rstrip())
    if len(rows) > _MOST_LINES:
        lines.append(f"and {len(rows) - _MOST_LINES} more; -o timeline.svg draws them all")
    return lines


def _order(bars: Sequence[Bar]) -> Iterator[tuple[str, Bar | None]]:
    """Yield each bar after the one around it, by when it began, with its indented name.

    Without a bar: a line that counts what is left out.
    """
    known = {bar.id for bar in bars}
    inside: dict[str, list[Bar]] = {}
    for bar in sorted(bars, key=lambda bar: bar.begin):
        inside.setdefault(bar.parent if bar.parent in known else "", []).append(bar)

    # The way down is a list, since flows may be nested as deeply as Python calls.
    open_levels = [_list_level(inside, "", 0)]
    while open_levels:
        row = next(open_levels[-1], None)
        if row is None:
            open_levels.pop()
            continue
        text, bar = row
        yield text, bar
        if bar is not None and bar.id in inside:
            open_levels.append(_list_level(inside, bar.id, len(open_levels)))


def _list_level(
    inside: Mapping[str, Sequence[Bar]], parent: str, level: int
) -> Iterator[tuple[str, Bar | None]]:
    siblings = inside.get(parent, ())
    shown = siblings if level == 0 else _choose(siblings)
    for bar in shown:
        yield "  " * level + bar.name, bar
    if len(shown) < len(siblings):
        hidden = siblings[len(shown) :]
        failed = sum(bar.status == "failed" for bar in hidden)
        remark = f", {failed} of them failed" if failed else ""
        yield "  " * level + f"… {plural(len(hidden), 'more bar')}{remark}", None


def _choose(siblings: Sequence[Bar]) -> Sequence[Bar]:
    return siblings if len(siblings) <= _MOST_SIBLINGS + 1 else siblings[:_MOST_SIBLINGS]


def _draw(bar: Bar, total: float, space: int) -> str:
    """Return a bar in `space` characters; its end is exact to an eighth of one."""
    begin = min(space - 1, int(bar.begin / total * space))
    eighths = round(bar.end / total * space * 8) - begin * 8
    whole, rest = divmod(max(1, min(eighths, (space - begin) * 8)), 8)
    filled = "█" * whole + (_EIGHTHS[rest] if rest else "")
    return (" " * begin + filled).ljust(space)
