"""Sizes of boxes, labels and titles, and the words that fit: layout and drawing agree on it.

All sizes are CSS pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphorch.render.picture.model import Box, Group, Line
from graphorch.render.picture.overlay import (
    Mark,
    Overlay,
    count_visits,
    format_cost,
    format_count,
    format_seconds,
    second_line,
)
from graphorch.render.picture.text_width import shorten, to_one_line, width

NAME_SIZE = 12.5
DETAIL_SIZE = 10.0
SMALL_SIZE = 10.0  # start, end and join
DECISION_SIZE = 11.0
LABEL_SIZE = 10.0
TITLE_SIZE = 11.0

TEXT_LEFT = 33.0  # where the words of a rounded box begin: after its icon
TEXT_RIGHT = 13.0
TITLE_INDENT = 12.0
TITLE_GAP = 8.0
LABEL_HEIGHT = 14.0

_NAME_LIMIT = 230.0
_DECISION_LIMIT = 150.0
_LABEL_LIMIT = 150.0
_TITLE_LIMIT = 200.0

ROUND_KINDS = ("start", "end")
DIAMOND_KINDS = ("decision", "first")
CARD_KINDS = ("node", "agent", "map", "sub", "ask", "signal", "timer")


@dataclass(frozen=True, slots=True)
class BoxText:
    """Words of one box, cut to fit. `detail` is empty where the kind does not show it."""

    name: str
    detail: str


def box_text(box: Box, mark: Mark | None = None) -> BoxText:
    """Return the words of a box; under a mark the second line shows what the run did."""
    name = to_one_line(box.name) or to_one_line(box.id) or "?"
    if box.kind in CARD_KINDS:
        detail = box.detail
        if mark:
            detail = second_line(mark)
        return BoxText(
            shorten(name, NAME_SIZE, _NAME_LIMIT, bold=True),
            shorten(detail, DETAIL_SIZE, _NAME_LIMIT),
        )
    if box.kind == "join":
        if box.detail:
            name = f"{name} · {to_one_line(box.detail)}"
        return BoxText(shorten(name, SMALL_SIZE, _NAME_LIMIT), "")
    if box.kind in ROUND_KINDS:
        return BoxText(shorten(name, SMALL_SIZE, _NAME_LIMIT), "")
    return BoxText(
        shorten(name, DECISION_SIZE, _DECISION_LIMIT),
        shorten(box.detail, DETAIL_SIZE, _DECISION_LIMIT * 0.7),
    )


def box_size(box: Box, mark: Mark | None = None) -> tuple[float, float]:
    """Return the width and height of a box around its words."""
    text = box_text(box, mark)
    if box.kind in ROUND_KINDS:
        return max(40.0, _even(width(text.name, SMALL_SIZE) + 18)), 40.0
    if box.kind == "join":
        return max(76.0, _even(width(text.name, SMALL_SIZE) + 24)), 20.0
    if box.kind in DIAMOND_KINDS:
        return _diamond_size(text)
    words = max(width(text.name, NAME_SIZE, bold=True), width(text.detail, DETAIL_SIZE))
    return max(76.0, _even(TEXT_LEFT + words + TEXT_RIGHT)), 42.0 if text.detail else 34.0


def fitting_detail(box: Box, mark: Mark, box_width: float) -> str:
    """Return the second line for a box that was sized without its mark: as many figures as fit."""
    room = box_width - TEXT_LEFT - 6
    lines = [box_text(box, mark).detail]
    if mark.status != "not_reached" and lines[0] != mark.note:
        seconds = usd = tokens = ""
        visits = count_visits(mark)
        if mark.seconds is not None:
            seconds = format_seconds(mark.seconds)
        if mark.usd or mark.unpriced:
            usd = format_cost(mark.usd, mark.unpriced)
        if mark.tokens:
            tokens = f"{format_count(mark.tokens)} tok"
        for parts in (
            (visits, seconds, tokens, usd),
            (visits, seconds, usd),
            (visits, seconds),
            (seconds,),
            (visits,),
        ):
            lines.append(" · ".join(part for part in parts if part))
    for line in lines:
        if line and width(line, DETAIL_SIZE) <= room:
            return line
    return shorten(lines[0], DETAIL_SIZE, room)


def label_text(line: Line) -> str:
    """Return the label of a line, cut to what a line may carry."""
    return shorten(line.label, LABEL_SIZE, _LABEL_LIMIT)


def label_size(line: Line) -> tuple[float, float]:
    """Return the width and height of a label with air around it; zero without a label."""
    text = label_text(line)
    if not text:
        return 0.0, 0.0
    return _even(width(text, LABEL_SIZE) + 8), LABEL_HEIGHT


def title_texts(group: Group) -> tuple[str, str]:
    """Return the name of a group and the small words behind it."""
    name = shorten(group.name, TITLE_SIZE, _TITLE_LIMIT, bold=True)
    return name, shorten(group.detail, DETAIL_SIZE, _TITLE_LIMIT)


def mark_title(group: Group, overlay: Overlay) -> Group:
    """Return a group whose small words are what a run did in it, if it has a mark."""
    mark = overlay.marks.get(group.id)
    return group if mark is None else replace(group, detail=second_line(mark))


def title_width(group: Group) -> float:
    """Return the width of a group's title, without the air beside it."""
    name, detail = title_texts(group)
    name_width = width(name, TITLE_SIZE, bold=True)
    if not detail:
        return name_width
    return name_width + (TITLE_GAP + width(detail, DETAIL_SIZE))


def _diamond_size(text: BoxText) -> tuple[float, float]:
    """Return the size of a diamond that is wide enough at the height of each line of its text."""
    height, text_height = 50.0, 16
    if text.detail:
        height, text_height = 64.0, 34
    words = max(width(text.name, DECISION_SIZE), width(text.detail, DETAIL_SIZE))
    share = 1 - text_height / height
    return max(84.0, _even(words / share + 10)), height


def _even(value: float) -> float:
    """Round up to even pixels, so that centres fall on whole pixels and drawings stay short."""
    return float(-(-value // 2) * 2)
