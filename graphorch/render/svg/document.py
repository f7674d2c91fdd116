"""Self-contained SVG of a placed picture: without script, font or link, safe to put into any page.

Order of painting: frames, lines, boxes, then the words on lines and frames with a halo, so that no
line crosses a word. The file is a function of its arguments: the same picture and places give the
same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from graphorch.errors import InputError
from graphorch.render.picture.model import Box, Group, Line, Picture, group_chains
from graphorch.render.picture.overlay import Mark, Overlay, complete_overlay, second_line
from graphorch.render.picture.placement import Curve, Layout, Rect
from graphorch.render.picture.sizes import (
    DETAIL_SIZE,
    LABEL_SIZE,
    TITLE_GAP,
    TITLE_INDENT,
    TITLE_SIZE,
    label_text,
    title_texts,
)
from graphorch.render.picture.text_width import shorten, to_one_line, width
from graphorch.render.svg.legend import legend
from graphorch.render.svg.markup import attribute, content, number, numbers
from graphorch.render.svg.shapes import box_badge, box_class, outline, text_at, words
from graphorch.render.svg.stylesheet import style_sheet
from graphorch.render.svg.theme import Theme

_MARGIN = 20.0
_HEADING = 34.0
_LEGEND_GAP = 18.0
_LEGEND_ROOM = 460.0  # a legend is at least allowed this much, however narrow the picture
# wider pictures keep their size and scroll: shrunk to a page, nobody could read them
_SHRINKS = 1400.0
_HALF_ARROW = 3.4
_DESCRIBED = 60  # boxes named in the description
_NOT_REACHED = Mark("not_reached")


def draw(
    picture: Picture, layout: Layout, *, theme: Theme = "auto", overlay: Overlay | None = None
) -> str:
    """Draw a picture, placed by `layout`, as SVG; with an `overlay`, also what a run did.

    `theme="auto"` follows the reader's colour scheme. The overlay may hold marks of boxes that the
    picture does not show.

    Raises:
        InputError: an unknown theme, or a layout that lacks a box or a line of the picture.
    """
    _check(picture, layout, theme)
    overlay = complete_overlay(picture, overlay) if overlay else None
    shown = legend(picture, overlay, max(_LEGEND_ROOM, layout.width))
    heading = f"{picture.name} · {overlay.title}" if overlay and overlay.title else ""
    inner = max(
        layout.width,
        shown.width,
        min(width(to_one_line(heading), TITLE_SIZE, bold=True), _LEGEND_ROOM),
    )
    total_width = inner + 2 * _MARGIN
    top = _MARGIN + (_HEADING if heading else 0)
    legend_y = top + layout.height + _LEGEND_GAP
    total_height = (legend_y + 8 + shown.height if shown.svg else top + layout.height) + _MARGIN - 4
    left = _MARGIN + (inner - layout.width) / 2
    size = f'width="{number(total_width)}" height="{number(total_height)}"'
    parts = "".join(_parts(picture, layout, overlay))
    body = "".join(
        (
            f'<rect class="go_canvas" {size} rx="6"/>',
            _heading(picture, overlay, inner) if heading else "",
            f'<g transform="translate({numbers(left, top)})">{parts}</g>',
            _footer(shown.svg, _MARGIN + (inner - shown.width) / 2, legend_y, inner)
            if shown.svg
            else "",
        )
    )
    return _document(picture, body, (total_width, total_height), theme, overlay)


def _check(picture: Picture, layout: Layout, theme: str) -> None:
    if theme not in ("auto", "light", "dark"):
        raise InputError(f"There is no theme '{theme}'. Use 'auto', 'light' or 'dark'.")
    missing = [box.id for box in picture.boxes if box.id not in layout.boxes]
    missing += [line.id for line in picture.lines if line.id not in layout.lines]
    if missing:
        raise InputError(
            f"The layout has no place for '{missing[0]}' of '{picture.name}'. "
            "Draw a picture with the layout that was made of it."
        )


def _document(
    picture: Picture, body: str, size: tuple[float, float], theme: Theme, overlay: Overlay | None
) -> str:
    """Return the file around the drawing, with a class and ids that derive from its content.

    So two pictures on a page share none.
    """
    title, description = to_one_line(picture.name), _description(picture, overlay)
    digest = hashlib.sha256("\0".join((theme, title, description, body)).encode()).hexdigest()
    root = f"go_{digest[:12]}"
    fits = ' style="max-width:100%;height:auto"' if size[0] <= _SHRINKS else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root}" role="img" '
        f'aria-labelledby="{root}_t {root}_d" '
        f'width="{number(size[0])}" height="{number(size[1])}" viewBox="0 0 {numbers(*size)}"'
        f"{fits}>"
        f'<title id="{root}_t">{content(title)}</title>'
        f'<desc id="{root}_d">{content(description)}</desc>'
        f"<style>{style_sheet(root, theme, overlay=overlay is not None)}</style>{body}</svg>\n"
    )


def _description(picture: Picture, overlay: Overlay | None) -> str:
    """Describe the picture for those who do not see it."""
    names = {box.id: to_one_line(box.name) or box.id for box in picture.boxes}
    after: dict[str, list[str]] = {}
    for line in picture.lines:
        after.setdefault(line.source, []).append(
            f"{names[line.target]} ({to_one_line(line.label)})"
            if line.label
            else names[line.target]
        )
    parts = [f"{len(picture.boxes)} boxes, {len(picture.lines)} lines."]
    for box in picture.boxes[:_DESCRIBED]:
        mark = overlay.marks.get(box.id, _NOT_REACHED) if overlay else None
        state = f", {mark.status.replace('_', ' ')}" if mark else ""
        to = f" leads to {', '.join(after[box.id])}" if box.id in after else ""
        parts.append(f"{names[box.id]} ({box.kind}{state}){to}.")
    if len(picture.boxes) > _DESCRIBED:
        parts.append(f"And {len(picture.boxes) - _DESCRIBED} more.")
    return " ".join(parts)


def _heading(picture: Picture, overlay: Overlay | None, room: float) -> str:
    name = shorten(picture.name, TITLE_SIZE, room * 0.5, bold=True)
    used = width(name, TITLE_SIZE, bold=True) + TITLE_GAP
    run = shorten(overlay.title if overlay else "", DETAIL_SIZE, room - used)
    baseline = _MARGIN + 8
    return text_at(name, (_MARGIN, baseline), TITLE_SIZE, "go_title") + text_at(
        run, (_MARGIN + used, baseline), DETAIL_SIZE, "go_hint"
    )


def _footer(svg: str, x: float, y: float, inner: float) -> str:
    rule = f'<path class="go_rule" d="M{numbers(_MARGIN, y)}h{number(inner)}"/>'
    return f'{rule}<g transform="translate({numbers(x, y + 8)})">{svg}</g>'


def _parts(picture: Picture, layout: Layout, overlay: Overlay | None) -> Iterator[str]:
    """Return the parts of the picture, back to front."""
    chains = group_chains(picture)
    groups = sorted(
        (group for group in picture.groups if group.id in layout.groups),
        key=lambda group: len(chains[group.id]),
    )
    taken = overlay.taken if overlay else frozenset[str]()
    yield from (_frame(group, layout.groups[group.id]) for group in groups)
    yield from (
        _way(line, layout.lines[line.id], taken)
        for line in sorted(picture.lines, key=lambda line: line.id in taken)
    )
    yield from (_box(box, layout.boxes[box.id], overlay) for box in picture.boxes)
    yield from (_label(line, layout.lines[line.id]) for line in picture.lines)
    yield from (_title(group, layout, overlay) for group in groups)


def _frame(group: Group, rect: Rect) -> str:
    place = (
        f'x="{number(rect.x)}" y="{number(rect.y)}" '
        f'width="{number(rect.width)}" height="{number(rect.height)}"'
    )
    return f'<rect class="go_frame go_of_{group.kind}" {place} rx="12"/>'


def _title(group: Group, layout: Layout, overlay: Overlay | None) -> str:
    """Draw the name of a group, and behind it its kind, or what the run did in it."""
    name, detail = title_texts(group)
    x, y = layout.titles[group.id]
    behind = x + width(name, TITLE_SIZE, bold=True) + TITLE_GAP
    mark = overlay.marks.get(group.id) if overlay else None
    if mark:
        detail = shorten(
            second_line(mark), DETAIL_SIZE, layout.groups[group.id].right - TITLE_INDENT - behind
        )
    texts = text_at(name, (x, y), TITLE_SIZE, f"go_title go_halo go_of_{group.kind}")
    return texts + (
        text_at(detail, (behind, y), DETAIL_SIZE, "go_detail go_halo") if detail else ""
    )


def _way(line: Line, curve: Curve, taken: frozenset[str]) -> str:
    points = curve.points
    steps = "".join(
        f"C{' '.join(numbers(*point) for point in points[at : at + 3])}"
        for at in range(1, len(points) - 2, 3)
    )
    classes = f"go_{line.kind}" + (" go_taken" if line.id in taken else "")
    hint = "\n".join(part for part in (line.label, line.tooltip) if part)
    return (
        f'<g class="{classes}" data-line="{attribute(line.id)}">{_hint(hint)}'
        f'<path class="go_way" d="M{numbers(*points[0])}{steps}"/>'
        f'<path class="go_tip" d="{_arrow(curve)}"/></g>'
    )


def _arrow(curve: Curve) -> str:
    (foot_x, foot_y), (tip_x, tip_y) = curve.points[-1], curve.tip
    length = ((tip_x - foot_x) ** 2 + (tip_y - foot_y) ** 2) ** 0.5 or 1.0
    side_x, side_y = (
        -(tip_y - foot_y) / length * _HALF_ARROW,
        (tip_x - foot_x) / length * _HALF_ARROW,
    )
    corners = (foot_x + side_x, foot_y + side_y), (tip_x, tip_y), (foot_x - side_x, foot_y - side_y)
    return f"M{'L'.join(numbers(*corner) for corner in corners)}Z"


def _label(line: Line, curve: Curve) -> str:
    if curve.label is None:
        return ""
    x, y = curve.label.center
    return text_at(
        label_text(line),
        (x, y + LABEL_SIZE * 0.35),
        LABEL_SIZE,
        f"go_label go_halo go_of_{line.kind}",
        middle=True,
    )


def _box(box: Box, rect: Rect, overlay: Overlay | None) -> str:
    mark = overlay.marks.get(box.id, _NOT_REACHED) if overlay else None
    classes = box_class(box.kind) + (f" go_is_{mark.status}" if mark else "")
    hint = [f"{box.name} ({box.kind})", box.detail, box.tooltip, second_line(mark) if mark else ""]
    signs = (
        outline(box.kind, rect)
        + words(box, rect, mark)
        + (box_badge(box, rect, mark) if mark else "")
    )
    tooltip = _hint("\n".join(part for part in hint if part))
    return f'<g class="{classes}" data-box="{attribute(box.id)}">{tooltip}{signs}</g>'


def _hint(text: str) -> str:
    return f"<title>{content(text)}</title>" if text else ""
