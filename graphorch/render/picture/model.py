"""Content of a picture: boxes, lines between them, and the groups that frame them.

A `Picture` is a plain value without sizes, positions or colours. `layout` places it, `draw` paints
it, `to_dot` and `to_mermaid` write it for other tools. Ids are free text and may be paths
(`team/research`); each writer makes them valid for its own format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from graphorch.errors import InputError, did_you_mean
from graphorch.state.marks import MarkName

BoxKind = Literal[
    "start", "end", "node", "agent", "map", "sub", "ask",
    "signal", "timer", "first", "decision", "join",
]  # fmt: skip
LineKind = Literal["always", "conditional", "loop", "error", "exhausted", "undo"]
GroupKind = Literal["loop", "sub", "map"]

BOX_WORDS: Mapping[BoxKind, str] = MappingProxyType(
    {
        "start": "start",
        "end": "end",
        "node": "function",
        "agent": "agent",
        "map": "map",
        "sub": "sub-flow",
        "ask": "person",
        "signal": "signal",
        "timer": "timer",
        "first": "first of several",
        "decision": "decision",
        "join": "join",
    }
)
"""Kinds of boxes as people read them, in the legend and everywhere else."""

MARK_WORDS: Mapping[MarkName, str] = MappingProxyType(
    {"untrusted": "untrusted values", "secret": "secret values"}
)
"""Marks of lines as people read them."""


@dataclass(frozen=True, slots=True)
class Box:
    """Station of a run; `detail` is its second line, `group` the id of the group around it."""

    id: str
    name: str
    kind: BoxKind
    detail: str = ""
    tooltip: str = ""
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Way from box to box, by ids. Several lines may join two boxes.

    `marks` are those of the values that go along it.
    """

    id: str
    source: str
    target: str
    kind: LineKind
    label: str = ""
    tooltip: str = ""
    marks: tuple[MarkName, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Frame of a loop, sub-flow or map; `parent` is the id of the group around it."""

    id: str
    name: str
    kind: GroupKind
    detail: str = ""
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, lines and groups, in reading order: engines use it to break ties.

    Raises `InputError` if an id occurs twice, a line or a box names something that is not there, or
    groups lie in a circle.
    """

    name: str
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...] = ()
    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        """Check the references once, so that no engine has to."""
        boxes = _unique("box", (box.id for box in self.boxes))
        groups = _unique("group", (group.id for group in self.groups))
        _unique("line", (line.id for line in self.lines))
        for line in self.lines:
            _known(f"Line '{line.id}'", "box", line.source, boxes)
            _known(f"Line '{line.id}'", "box", line.target, boxes)
        for box in self.boxes:
            _known(f"Box '{box.id}'", "group", box.group, groups)
        for group in self.groups:
            _known(f"Group '{group.id}'", "group", group.parent, groups)
        _check_nesting(self.groups)


def group_chains(picture: Picture) -> dict[str | None, tuple[str, ...]]:
    """Return the groups around each group's content (and None's), outermost first, itself last."""
    parents = {group.id: group.parent for group in picture.groups}
    chains: dict[str | None, tuple[str, ...]] = {None: ()}
    for group in picture.groups:
        chain: list[str] = []
        at: str | None = group.id
        while at is not None:
            chain.append(at)
            at = parents[at]
        chains[group.id] = tuple(reversed(chain))
    return chains


def _unique(what: str, ids: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for id_ in ids:
        if id_ in seen:
            raise InputError(
                f"Two of the picture's {what} ids are '{id_}'. Give each {what} its own id."
            )
        seen.add(id_)
    return seen


def _known(where: str, what: str, id_: str | None, ids: set[str]) -> None:
    if id_ is not None and id_ not in ids:
        raise InputError(
            f"{where} of the picture names the {what} '{id_}', which is not in it. "
            f"{did_you_mean(id_, ids)}"
        )


def _check_nesting(groups: Iterable[Group]) -> None:
    parents = {group.id: group.parent for group in groups}
    for start in parents:
        at: str | None = parents[start]
        for _ in parents:
            if at is None:
                break
            at = parents[at]
        if at is not None:
            raise InputError(
                f"Group '{start}' of the picture lies in itself. "
                "Let its outermost group have no parent."
            )
