"""Pictures in Mermaid, for places that draw it themselves, such as a README."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from graphorch.render.layout.engine import Direction, check_direction
from graphorch.render.picture.model import Box, BoxKind, Group, Line, LineKind, Picture
from graphorch.render.picture.sizes import box_text, label_text, title_texts
from graphorch.render.svg.shapes import box_class
from graphorch.render.svg.theme import LIGHT

_SHAPES: Mapping[BoxKind, tuple[str, str]] = {
    "start": ("((", "))"),
    "end": ("(((", ")))"),
    "decision": ("{", "}"),
    "first": ("{{", "}}"),
    "signal": (">", "]"),
    "timer": ("([", "])"),
    "join": ("[", "]"),
    "map": ("[[", "]]"),
    "sub": ("[[", "]]"),
}
_DIRECTIONS: Mapping[Direction, str] = {"TB": "TD", "LR": "LR"}
_CARD = ("(", ")")
_ARROWS: Mapping[LineKind, str] = {
    "always": "-->",
    "conditional": "-.->",
    "loop": "-.->",
    "error": "-.->",
    "exhausted": "-.->",
    "undo": "-.->",
}
_LINE_STYLES: Mapping[LineKind, str] = {
    "loop": f"stroke:{LIGHT['loop']},color:{LIGHT['loop']}",
    "error": f"stroke:{LIGHT['error']},color:{LIGHT['error']},stroke-dasharray:2 4",
    "exhausted": f"stroke:{LIGHT['exhausted']},color:{LIGHT['exhausted']}",
    "undo": f"stroke:{LIGHT['undo']},color:{LIGHT['undo']}",
}
# Mermaid reads markdown, HTML and its own brackets in labels
_UNSAFE = re.compile(r"[^\w .,·…×→-]")


def to_mermaid(picture: Picture, direction: Direction = "TB") -> str:
    """Return a picture as a Mermaid flowchart.

    Boxes are `n0`, `n1`, … in the order of the picture; labels hold the names. There are no
    tooltips: Mermaid gives them only to boxes that can be clicked. Raises `InputError` for an
    unknown direction.
    """
    check_direction(direction)
    numbers = {box.id: f"n{index}" for index, box in enumerate(picture.boxes)}
    parts = [f"flowchart {_DIRECTIONS[direction]}", *_content(picture, None, numbers, "  ")]
    parts += [_line(line, numbers) for line in picture.lines]
    parts += _styles(picture, numbers)
    return "\n".join(parts) + "\n"


def _content(
    picture: Picture, group: str | None, numbers: Mapping[str, str], indent: str
) -> Iterator[str]:
    """Return the boxes directly in a group (or in none), then the groups in it."""
    for box in picture.boxes:
        if box.group == group:
            before, after = _SHAPES.get(box.kind, _CARD)
            yield f'{indent}{numbers[box.id]}{before}"{_words(box)}"{after}'
    for index, inner in enumerate(picture.groups):
        if inner.parent == group:
            yield f'{indent}subgraph g{index}["{_title(inner)}"]'
            yield from _content(picture, inner.id, numbers, indent + "  ")
            yield f"{indent}end"


def _words(box: Box) -> str:
    text = box_text(box)
    words = _text(text.name)
    if text.detail:
        words += f"<br/><small>{_text(text.detail)}</small>"
    return words


def _title(group: Group) -> str:
    return " · ".join(_text(part) for part in title_texts(group) if part) or _text("?")


def _line(line: Line, numbers: Mapping[str, str]) -> str:
    label = _text(label_text(line))
    words = ""
    if label:
        words = f'|"{label}"|'
    return f"  {numbers[line.source]} {_ARROWS[line.kind]}{words} {numbers[line.target]}"


def _styles(picture: Picture, numbers: Mapping[str, str]) -> Iterator[str]:
    """Return a class for each kind of box, and the colours of lines and frames."""
    members: dict[str, list[str]] = {}
    for box in picture.boxes:
        members.setdefault(box_class(box.kind).removeprefix("go_"), []).append(numbers[box.id])
    for kind, ids in members.items():
        fill, stroke = LIGHT[f"{kind}_fill"], LIGHT[f"{kind}_line"]
        yield f"  classDef {kind}Box fill:{fill},stroke:{stroke},color:{LIGHT['text']}"
        yield f"  class {','.join(ids)} {kind}Box"
    for kind, style in _LINE_STYLES.items():
        indices = [str(index) for index, line in enumerate(picture.lines) if line.kind == kind]
        if indices:
            yield f"  linkStyle {','.join(indices)} {style}"
    for index, group in enumerate(picture.groups):
        if group.kind == "loop":
            yield f"  style g{index} fill:none,stroke:{LIGHT['loop']},stroke-dasharray:6 4"
        else:
            stroke = LIGHT[f"{group.kind}_line"]
            yield f"  style g{index} fill:{LIGHT['panel_fill']},stroke:{stroke}"


def _text(text: str) -> str:
    """Return text with every character that Mermaid may interpret as an entity."""
    return _UNSAFE.sub(lambda match: f"#{ord(match.group())};", text)
