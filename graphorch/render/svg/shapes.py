"""Boxes as SVG: one outline per role, so that no meaning hangs on colour alone."""

from __future__ import annotations

from graphorch.render.picture.model import Box, BoxKind
from graphorch.render.picture.overlay import Mark
from graphorch.render.picture.placement import Point, Rect
from graphorch.render.picture.sizes import (
    CARD_KINDS,
    DECISION_SIZE,
    DETAIL_SIZE,
    DIAMOND_KINDS,
    NAME_SIZE,
    ROUND_KINDS,
    SMALL_SIZE,
    TEXT_LEFT,
    box_text,
    fitting_detail,
)
from graphorch.render.picture.text_width import is_measured, width
from graphorch.render.svg.icons import badge, icon
from graphorch.render.svg.markup import content, number, numbers

_ICON_X = 18.0
_CORNER = 9.0  # at most; small samples have smaller ones
_TWO_LINES = 40.0  # a box that was placed without a second line has no room for one
_STACK = 3.0  # how far the second sheet of a map looks out
_RING = 3.5  # from the outer to the inner ring of the end, and outline of a first


def box_class(kind: BoxKind) -> str:
    """Return the class of a kind of box; start and end differ only by a ring."""
    return "go_terminal" if kind in ROUND_KINDS else f"go_{kind}"


def outline(kind: BoxKind, rect: Rect) -> str:
    """Draw the shape of a box without its words."""
    if kind == "decision":
        return _diamond(rect)
    if kind == "first":
        slope = rect.height / rect.width
        return _diamond(rect) + _diamond(_inset(rect, _RING / slope**0.5, _RING * slope**0.5))
    if kind in ROUND_KINDS:
        rings = _rectangle(rect, rect.height / 2)
        if kind == "end":
            rings += _rectangle(_inset(rect, _RING, _RING), rect.height / 2 - _RING)
        return rings
    if kind == "join":
        return _rectangle(rect, 3)
    corner = min(_CORNER, rect.height / 4)
    card = _rectangle(rect, corner)
    if kind == "map":
        behind = Rect(rect.x + _STACK, rect.y + _STACK, rect.width, rect.height)
        return _rectangle(behind, corner) + card
    return card


def words(box: Box, rect: Rect, mark: Mark | None) -> str:
    """Draw the icon, the name and the second line of a box."""
    text = box_text(box, mark)
    x, y = rect.center
    if box.kind not in CARD_KINDS:
        size, style = SMALL_SIZE, "go_small"
        if box.kind in DIAMOND_KINDS:
            size, style = DECISION_SIZE, "go_question"
        if not text.detail:
            return text_at(text.name, (x, y + size * 0.35), size, style, middle=True)
        return text_at(text.name, (x, y - 2), size, style, middle=True) + text_at(
            text.detail, (x, y + 11), DETAIL_SIZE, "go_detail", middle=True
        )
    left, sign = rect.x + TEXT_LEFT, icon(box.kind, rect.x + _ICON_X, y)
    detail = text.detail
    if mark and detail:
        detail = fitting_detail(box, mark, rect.width)
    if not detail or rect.height < _TWO_LINES:
        return sign + text_at(text.name, (left, y + 4.4), NAME_SIZE, "go_name")
    name = text_at(text.name, (left, rect.y + 18), NAME_SIZE, "go_name")
    return sign + name + text_at(detail, (left, rect.y + 32), DETAIL_SIZE, "go_detail")


def box_badge(box: Box, rect: Rect, mark: Mark) -> str:
    """Draw the badge of a mark: on the outline, at the upper right, where no line ends."""
    return badge(mark.status, *_badge_at(box.kind, rect))


def text_at(text: str, at: Point, size: float, style: str, *, middle: bool = False) -> str:
    """Draw one line of text, pinned to its width where that is known, whatever the font."""
    anchor = ' text-anchor="middle"' if middle else ""
    bold = style in ("go_name", "go_title")
    pinned = ""
    if is_measured(text) and len(text) > 1:
        pinned = (
            f' textLength="{number(width(text, size, bold=bold))}" lengthAdjust="spacingAndGlyphs"'
        )
    place = f'x="{number(at[0])}" y="{number(at[1])}"{anchor}{pinned}'
    return f'<text class="{style}" {place}>{content(text)}</text>'


def _badge_at(kind: BoxKind, rect: Rect) -> Point:
    x, y = rect.center
    if kind in DIAMOND_KINDS:
        return x + rect.width * 0.37, y - rect.height * 0.13  # on the outline, beside the words
    if kind in ROUND_KINDS:
        return rect.right - rect.height * 0.15, rect.y + rect.height * 0.15
    if kind == "join":
        return rect.right, y
    return rect.right - 8, rect.y


def _rectangle(rect: Rect, corner: float) -> str:
    place = (
        f'x="{number(rect.x)}" y="{number(rect.y)}" '
        f'width="{number(rect.width)}" height="{number(rect.height)}"'
    )
    return f'<rect class="go_shape" {place} rx="{number(corner)}"/>'


def _diamond(rect: Rect) -> str:
    (x, y), half_width, half_height = rect.center, rect.width / 2, rect.height / 2
    corners = ((x, y - half_height), (x + half_width, y), (x, y + half_height), (x - half_width, y))
    return f'<path class="go_shape" d="M{"L".join(numbers(*corner) for corner in corners)}Z"/>'


def _inset(rect: Rect, across: float, down: float) -> Rect:
    width, height = rect.width - 2 * across, rect.height - 2 * down
    return Rect(rect.x + across, rect.y + down, width, height)
