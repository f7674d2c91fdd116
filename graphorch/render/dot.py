"""Pictures in DOT, for people who continue with Graphviz.

Words, shapes and colours are in the file; `dot` places it and finds the fonts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphorch.render.layout.engine import Direction, check_direction
from graphorch.render.picture.model import Box, BoxKind, Group, Line, LineKind, Picture
from graphorch.render.picture.sizes import CARD_KINDS, box_text, label_text, title_texts
from graphorch.render.picture.text_width import clean
from graphorch.render.svg.shapes import box_class
from graphorch.render.svg.theme import LIGHT

_FONT = 'fontname="Helvetica,Arial,sans-serif"'
_SHAPES: Mapping[BoxKind, str] = {
    "start": 'shape=circle, style=filled, fontsize=10, margin="0.02,0.02"',
    "end": 'shape=doublecircle, style=filled, fontsize=10, margin="0.02,0.02"',
    "decision": 'shape=diamond, style=filled, fontsize=10.5, margin="0,0", height=0.7',
    "first": 'shape=diamond, style=filled, peripheries=2, fontsize=10.5, margin="0,0", height=0.7',
    "join": 'style=filled, fontsize=9.5, height=0.22, margin="0.2,0.02"',
    "map": "peripheries=2",
    "sub": "peripheries=2",
}
_LINES: Mapping[LineKind, str] = {
    "conditional": "style=dashed",
    "loop": f'style=dashed, constraint=false, color="{LIGHT["loop"]}", fontcolor="{LIGHT["loop"]}"',
    "error": f'style=dotted, weight=0, color="{LIGHT["error"]}", fontcolor="{LIGHT["error"]}"',
    "exhausted": f'style=dashed, color="{LIGHT["exhausted"]}", fontcolor="{LIGHT["exhausted"]}"',
    "undo": f'style=dashed, weight=0, color="{LIGHT["undo"]}", fontcolor="{LIGHT["undo"]}"',
}
_BACK_PORTS: Mapping[Direction, str] = {"TB": ":e", "LR": ":s"}
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_STRING = str.maketrans(
    {"&": "&amp;", '"': "&quot;", "\\": "\\\\", "\n": "\\n", "\r": "", "\t": " "}
)


def to_dot(picture: Picture, direction: Direction = "TB") -> str:
    """Return a picture in DOT.

    Boxes are `n0`, `n1`, … in the order of the picture; labels and tooltips hold the names. Raises
    `InputError` for an unknown direction.
    """
    check_direction(direction)
    numbers = {box.id: f"n{index}" for index, box in enumerate(picture.boxes)}
    lines = "\n".join(_line(line, numbers, _BACK_PORTS[direction]) for line in picture.lines)
    body = "\n".join(_content(picture, None, numbers, "  "))
    return f"digraph {_string(picture.name)} {{\n{_head(direction)}\n{body}\n{lines}\n}}\n"


def _head(direction: Direction) -> str:
    return f"""\
  graph [rankdir={direction}, newrank=true, splines=spline, nodesep=0.45, ranksep=0.5, pad=0.25, \
{_FONT}, fontsize=11, labeljust=l, tooltip=" "]
  node [shape=box, style="rounded,filled", {_FONT}, fontsize=12, fontcolor="{LIGHT["text"]}", \
penwidth=1.4, margin="0.16,0.08", height=0.4]
  edge [{_FONT}, fontsize=10, penwidth=1.25, arrowsize=0.65, color="{LIGHT["edge"]}", \
fontcolor="{LIGHT["muted"]}"]"""


def _content(
    picture: Picture, group: str | None, numbers: Mapping[str, str], indent: str
) -> Iterator[str]:
    """Return the boxes directly in a group (or in none), then the groups in it."""
    for box in picture.boxes:
        if box.group == group:
            yield f"{indent}{numbers[box.id]} [{_box(box)}]"
    for index, inner in enumerate(picture.groups):
        if inner.parent == group:
            yield f"{indent}subgraph cluster_{index} {{"
            yield f"{indent}  {_frame(inner)}"
            yield from _content(picture, inner.id, numbers, indent + "  ")
            yield f"{indent}}}"


def _box(box: Box) -> str:
    kind = box_class(box.kind).removeprefix("go_")
    shape = ""
    if box.kind in _SHAPES:
        shape = f"{_SHAPES[box.kind]}, "
    text = box_text(box)
    hint = "\n".join(part for part in (f"{box.name} ({box.kind})", box.tooltip) if part)
    colours = f'fillcolor="{LIGHT[f"{kind}_fill"]}", color="{LIGHT[f"{kind}_line"]}"'
    label = _label(text.name, text.detail, bold=box.kind in CARD_KINDS)
    return f"label={label}, {shape}{colours}, tooltip={_string(hint)}"


def _frame(group: Group) -> str:
    label = _label(*title_texts(group), bold=True, between="&#160;&#160; ")
    if group.kind == "loop":
        colours = f'color="{LIGHT["loop"]}"; fontcolor="{LIGHT["loop"]}"'
        return f'style="rounded,dashed"; {colours}; margin=14; label={label}'
    line, fill, text = LIGHT[f"{group.kind}_line"], LIGHT["panel_fill"], LIGHT["text"]
    colours = f'color="{line}"; fillcolor="{fill}"; fontcolor="{text}"'
    return f'style="rounded,filled"; {colours}; margin=14; label={label}'


def _line(line: Line, numbers: Mapping[str, str], back_port: str) -> str:
    port = ""
    if line.kind == "loop":
        port = back_port
    options = [_LINES.get(line.kind, "weight=3")]
    if line.marks:
        # Parallel lines beside the line of its kind.
        own = LIGHT.get(line.kind, LIGHT["edge"])
        colours = [own, *(LIGHT[mark] for mark in line.marks)]
        options.append(f'color="{":invis:".join(colours)}"')
    if label_text(line):
        options.append(f"label=<&#160;{_text(label_text(line))}&#160;>")
    options.append(f"edgetooltip={_string(line.tooltip or line.label or ' ')}")
    source, target = numbers[line.source] + port, numbers[line.target] + port
    return f"  {source} -> {target} [{', '.join(options)}]"


def _label(name: str, detail: str, *, bold: bool, between: str = '<BR ALIGN="LEFT"/>') -> str:
    """Return a label as HTML, in which a backslash has no meaning."""
    first = _text(name)
    if bold:
        first = f"<B>{first}</B>"
    if not detail:
        return f"<{first}>"
    end = '<BR ALIGN="LEFT"/>' if "BR" in between else ""
    second = f'<FONT POINT-SIZE="9.5" COLOR="{LIGHT["muted"]}">{_text(detail)}</FONT>'
    return f"<{first}{between}{second}{end}>"


def _text(text: str) -> str:
    return (text or "?").translate(_TEXT)


def _string(text: str) -> str:
    """Return a quoted string, in which Graphviz reads entities and backslashes."""
    return f'"{clean(text).translate(_STRING)}"'
