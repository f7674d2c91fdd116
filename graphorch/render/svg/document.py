"""Self-contained SVG of a placed picture: without script, font or link, safe to put into any page.

Order of painting: frames, lines, boxes, then the words on lines and frames with a halo, so that no
line crosses a word. The file is a function of its arguments: the same picture and places give the
same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from graphorch.errors import InputError
from graphorch.render.picture.model import (
    BOX_WORDS,
    MARK_WORDS,
    Box,
    Group,
    Line,
    Picture,
    group_chains,
)
from graphorch.render.picture.overlay import Mark, Overlay, complete_overlay, second_line
from graphorch.render.picture.placement import Curve, Layout, Rect
from graphorch.render.picture.sizes import (
    DETAIL_SIZE,
    LABEL_SIZE,
    TITLE_GAP,
    TITLE_INDENT,
    TITLE_SIZE,
    label_text,
    mark_title,
    title_texts,
)
from graphorch.render.picture.text_width import shorten, to_one_line, width
from graphorch.render.svg.legend import draw_rails, legend
from graphorch.render.svg.markup import attribute, content, number, numbers
from graphorch.render.svg.shapes import box_badge, box_class, outline, text_at, words
from graphorch.render.svg.stylesheet import style_sheet
from graphorch.render.svg.theme import Theme

_MARGIN = 20.0
_HEADING = 34.0
_REMARK = 15.0  # height of a line below the heading
_MOST_LINES = 3  # of one remark
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
    if overlay:
        overlay = complete_overlay(picture, overlay)
    shown = legend(picture, overlay, max(_LEGEND_ROOM, layout.width))
    inner = max(layout.width, shown.width)
    top, heading = _MARGIN, ""
    if overlay and overlay.title:
        words_width = width(to_one_line(f"{picture.name} · {overlay.title}"), TITLE_SIZE, bold=True)
        inner = max(inner, min(words_width, _LEGEND_ROOM))
        remarks = list(_wrap_remarks(overlay, inner))
        heading = _heading(picture, overlay, inner) + _draw_remarks(remarks)
        top += _HEADING + _REMARK * len(remarks)
    bottom, footer = top + layout.height, ""
    if shown.svg:
        legend_y = bottom + _LEGEND_GAP
        footer = _footer(shown.svg, _MARGIN + (inner - shown.width) / 2, legend_y, inner)
        bottom = legend_y + 8 + shown.height
    total_width, total_height = inner + 2 * _MARGIN, bottom + _MARGIN - 4
    left = _MARGIN + (inner - layout.width) / 2
    size = f'width="{number(total_width)}" height="{number(total_height)}"'
    canvas = f'<rect class="go_canvas" {size} rx="6"/>'
    parts = "".join(_parts(picture, layout, overlay))
    drawing = f'<g transform="translate({numbers(left, top)})">{parts}</g>'
    body = f"{canvas}{heading}{drawing}{footer}"
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
    has_marks = any(line.marks for line in picture.lines)
    has_undos = any(line.kind == "undo" for line in picture.lines)
    rules = style_sheet(root, theme, overlay=overlay is not None, marks=has_marks, undos=has_undos)
    fits = ""
    if size[0] <= _SHRINKS:
        fits = ' style="max-width:100%;height:auto"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root}" role="img" '
        f'aria-labelledby="{root}_t {root}_d" '
        f'width="{number(size[0])}" height="{number(size[1])}" viewBox="0 0 {numbers(*size)}"'
        f"{fits}>"
        f'<title id="{root}_t">{content(title)}</title>'
        f'<desc id="{root}_d">{content(description)}</desc>'
        f"<style>{rules}</style>{body}</svg>\n"
    )


def _description(picture: Picture, overlay: Overlay | None) -> str:
    """Describe the picture for those who do not see it."""
    names = {box.id: to_one_line(box.name) or box.id for box in picture.boxes}
    after: dict[str, list[str]] = {}
    for line in picture.lines:
        target = names[line.target]
        notes = [to_one_line(line.label), *(MARK_WORDS[mark] for mark in line.marks)]
        if any(notes):
            target += f" ({'; '.join(note for note in notes if note)})"
        after.setdefault(line.source, []).append(target)
    parts = [f"{len(picture.boxes)} boxes, {len(picture.lines)} lines."]
    if overlay:
        parts += [f"{to_one_line(remark)}." for remark in overlay.remarks]
    for box in picture.boxes[:_DESCRIBED]:
        kind, targets = BOX_WORDS[box.kind], ""
        if overlay:
            status = overlay.marks.get(box.id, _NOT_REACHED).status
            kind += f", {status.replace('_', ' ')}"
        if box.id in after:
            targets = f" leads to {', '.join(after[box.id])}"
        parts.append(f"{names[box.id]} ({kind}){targets}.")
    if len(picture.boxes) > _DESCRIBED:
        parts.append(f"And {len(picture.boxes) - _DESCRIBED} more.")
    return " ".join(parts)


def _heading(picture: Picture, overlay: Overlay, room: float) -> str:
    name = shorten(picture.name, TITLE_SIZE, room * 0.5, bold=True)
    used = width(name, TITLE_SIZE, bold=True) + TITLE_GAP
    run = shorten(overlay.title, DETAIL_SIZE, room - used)
    baseline = _MARGIN + 8
    return text_at(name, (_MARGIN, baseline), TITLE_SIZE, "go_title") + text_at(
        run, (_MARGIN + used, baseline), DETAIL_SIZE, "go_hint"
    )


def _wrap_remarks(overlay: Overlay, room: float) -> Iterator[str]:
    """Return the remarks as lines that fit, each remark on no more than three."""
    for remark in overlay.remarks:
        words, lines = to_one_line(remark).split(), [""]
        for word in words:
            longer = f"{lines[-1]} {word}".lstrip()
            if not lines[-1] or width(longer, DETAIL_SIZE) <= room or len(lines) == _MOST_LINES:
                lines[-1] = longer
            else:
                lines.append(word)
        yield from (shorten(line, DETAIL_SIZE, room) for line in lines)


def _draw_remarks(lines: Sequence[str]) -> str:
    first = _MARGIN + 8 + _REMARK + 2
    return "".join(
        text_at(line, (_MARGIN, first + _REMARK * number), DETAIL_SIZE, "go_remark")
        for number, line in enumerate(lines)
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
    taken: frozenset[str] = frozenset()
    if overlay:
        taken = overlay.taken
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
    name, detail = title_texts(mark_title(group, overlay) if overlay else group)
    x, y = layout.titles[group.id]
    behind = x + width(name, TITLE_SIZE, bold=True) + TITLE_GAP
    is_at_bound = False
    if overlay and (mark := overlay.marks.get(group.id)):
        is_at_bound = mark.status == "at_bound"
        room = layout.groups[group.id].right - TITLE_INDENT - behind
        detail = shorten(detail, DETAIL_SIZE, room)
    title = text_at(name, (x, y), TITLE_SIZE, f"go_title go_halo go_of_{group.kind}")
    if detail:
        style = "go_detail go_halo go_bound" if is_at_bound else "go_detail go_halo"
        title += text_at(detail, (behind, y), DETAIL_SIZE, style)
    return title


def _way(line: Line, curve: Curve, taken: frozenset[str]) -> str:
    points = curve.points
    steps = "".join(
        f"C{' '.join(numbers(*point) for point in points[at : at + 3])}"
        for at in range(1, len(points) - 2, 3)
    )
    classes = f"go_{line.kind}"
    if line.id in taken:
        classes += " go_taken"
    hint = "\n".join(part for part in (line.label, line.tooltip) if part)
    way = f"M{numbers(*points[0])}{steps}"
    return (
        f'<g class="{classes}" data-line="{attribute(line.id)}">{_hint(hint)}'
        f'{draw_rails(line.marks, way)}<path class="go_way" d="{way}"/>'
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
    classes = box_class(box.kind)
    hint = [f"{box.name} ({BOX_WORDS[box.kind]})", box.detail, box.tooltip]
    mark, sign = None, ""
    if overlay:
        mark = overlay.marks.get(box.id, _NOT_REACHED)
        classes += f" go_is_{mark.status}"
        hint += [second_line(mark), mark.hint]
        sign = box_badge(box, rect, mark)
    signs = f"{outline(box.kind, rect)}{words(box, rect, mark)}{sign}"
    tooltip = _hint("\n".join(part for part in hint if part))
    return f'<g class="{classes}" data-box="{attribute(box.id)}">{tooltip}{signs}</g>'


def _hint(text: str) -> str:
    if not text:
        return ""
    return f"<title>{content(text)}</title>"
