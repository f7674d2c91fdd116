"""Picture of a flow as the first record of a run describes it, for a reader without its code.

Ids are those of the picture of its plan (`graphorch.render.plan_picture`), so that a page finds the
boxes of both in the same way. A description is data that anybody may have written: what does not
fit is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from graphorch.render.picture.model import Box, BoxKind, Group, Line, LineKind, Picture
from graphorch.render.plan_picture import MANY

_KINDS: Final[Mapping[str, BoxKind]] = {
    "node": "node",
    "agent": "agent",
    "map": "map",
    "sub": "sub",
    "ask": "ask",
    "signal": "signal",
    "timer": "timer",
    "first": "first",
}
_LINES: Final[Mapping[str, LineKind]] = {
    "always": "always",
    "routed": "conditional",
    "loop": "loop",
    "exhausted": "exhausted",
    "error": "error",
}
_DEEPEST: Final = 16  # levels that are opened
_LONGEST: Final = 100  # characters of a name or a label
_START, _END = "START", "END"


def draw_description(name: str, description: object) -> Picture:
    """Return the picture of a described flow; sub-flows are opened while boxes are few enough."""
    root = _as_object(description)
    for depth in range(_DEEPEST, -1, -1):
        sheet = _Sheet(root, depth)
        try:
            sheet.draw(root, "", None, 0)
        except _TooManyBoxes:
            continue
        return Picture(name, tuple(sheet.boxes), tuple(sheet.lines), tuple(sheet.groups))
    return Picture(name, ())


class _TooManyBoxes(Exception):
    """A picture that would have more boxes than it may."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """Boxes where lines into a node end, and where lines out of it begin."""

    entry: str
    exit: str


@dataclass(slots=True)
class _Sheet:
    """Boxes, lines and groups that are drawn so far, of all levels."""

    root: dict[str, Any]
    depth: int
    boxes: list[Box] = field(default_factory=list[Box])
    lines: list[Line] = field(default_factory=list[Line])
    groups: list[Group] = field(default_factory=list[Group])

    def draw(self, flow: dict[str, Any], path: str, group: str | None, level: int) -> _Ends:
        """Draw a flow at a path, and return the ends of all of it."""
        nodes = {str(node.get("name"))[:_LONGEST]: node for node in _list_objects(flow, "nodes")}
        edges = [
            (number, *edge)
            for number, item in enumerate(_as_list(flow.get("edges")))
            if (edge := _read_edge(item)) is not None
        ]
        ends = {name: _Ends(_join(path, name), _join(path, name)) for name in (_START, _END)}
        first, last = _START, _END
        if path:
            # Inside a frame, lines lead to the node itself where there is only one.
            first = _find_sole([edge[2] for edge in edges if edge[1] == _START], nodes, _START)
            last = _find_sole([edge[1] for edge in edges if edge[2] == _END], nodes, _END)
        if first == _START:
            self._add(Box(ends[_START].entry, "start", "start", group=group))
        for name, node in nodes.items():
            ends[name] = self._draw_node(node, name, path, group, level, edges)
        if last == _END:
            self._add(Box(ends[_END].entry, "end", "end", group=group))
        for number, source, target, kind, labels in edges:
            hides = (source == _START != first) or (target == _END != last)
            if hides or source not in ends or target not in ends:
                continue
            begin = ends[source].exit
            if kind == "routed" and str(nodes[source].get("kind")) != "first":
                begin = _join(path, f"{source}//route")
            id_ = _join(path, str(number))
            label = ", ".join(labels)
            line_kind = _LINES.get(kind, "always")
            self.lines.append(Line(id_, begin, ends[target].entry, line_kind, label))
        return _Ends(ends[first].entry, ends[last].exit)

    def _draw_node(
        self,
        node: dict[str, Any],
        name: str,
        path: str,
        group: str | None,
        level: int,
        edges: list[tuple[int, str, str, str, list[str]]],
    ) -> _Ends:
        id_, kind = _join(path, name), str(node.get("kind"))
        inner = None if node.get("itself") else self._resolve(node.get("inner"))
        ends = _Ends(id_, id_)
        if inner is not None and level < self.depth:
            self.groups.append(Group(id_, name, "map" if kind == "map" else "sub", parent=group))
            ends = self.draw(inner, id_, id_, level + 1)
        else:
            self._add(Box(id_, name, _KINDS.get(kind, "node"), kind, group=group))
        if node.get("undo"):
            self._add(Box(f"{id_}/undo", "undo", "node", "undo", group=group))
            self.lines.append(Line(f"{id_}/undo/", id_, f"{id_}/undo", "undo", "undo"))
        if need := node.get("need"):
            self._add(Box(f"{id_}//join", f"first {need}"[:_LONGEST], "join", group=group))
            self.lines.append(Line(f"{id_}//join/", f"{id_}//join", ends.entry, "always"))
            ends = _Ends(f"{id_}//join", ends.exit)
        if kind != "first" and any(edge[1] == name and edge[3] == "routed" for edge in edges):
            self._add(Box(f"{id_}//route", "route?", "decision", group=group))
            self.lines.append(Line(f"{id_}//route/", ends.exit, f"{id_}//route", "always"))
        return ends

    def _resolve(self, inner: object) -> dict[str, Any] | None:
        """Return a flow that is described in its place, or by its number in the list of flows."""
        flows = _as_list(self.root.get("flows"))
        if isinstance(inner, int) and 0 <= inner < len(flows):
            inner = flows[inner]
        return _as_object(inner) or None

    def _add(self, box: Box) -> None:
        self.boxes.append(box)
        if len(self.boxes) > MANY and self.depth:
            raise _TooManyBoxes


def _read_edge(item: object) -> tuple[str, str, str, list[str]] | None:
    """Return source, target, kind and labels of an edge; None for something else."""
    parts = _as_list(item)
    if len(parts) < 3:
        return None
    source, target, kind = (str(part)[:_LONGEST] for part in parts[:3])
    labels = _as_list(parts[3]) if len(parts) > 3 else []
    return source, target, kind, [str(label)[:_LONGEST] for label in labels]


def _find_sole(names: list[str], nodes: Mapping[str, object], otherwise: str) -> str:
    """Return the only one of some nodes, or what stands in the frame if there are several."""
    return names[0] if len(names) == 1 and names[0] in nodes else otherwise


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _list_objects(flow: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [each for item in _as_list(flow.get(key)) if (each := _as_object(item)).get("name")]


def _as_object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
