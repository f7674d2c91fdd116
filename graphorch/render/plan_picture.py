"""Picture of a plan: nodes as boxes, edges as lines, loops, maps and sub-flows as frames.

Ids are paths as in the journal and the trace (`team/research`). What is no node has an id that no
node can have, since no name holds a `/`: a decision is `classify//route`, a bar where lines join
`merge//join`, a frame of a loop `write//loop`. The line of an edge is its number in the shape,
under the path of its flow: `3`, `team/3`.

An opened sub-flow has no box of its own: lines lead to the first box inside and leave from the
last. Where there are several of those, a start or an end stands in the frame.

A node that runs the flow around it is one box: `↻ at most 5 deep`. In the picture of a run it is
opened as often as the run went inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from graphorch.callables import get_doc, get_module
from graphorch.graph.edges import OTHERWISE, START_INDEX, Edge, Loop, MarkedFlow, Topology
from graphorch.graph.node import Node, summarize_tools
from graphorch.graph.plan import (
    BoundFunction,
    CompiledRoute,
    EventSpec,
    JoinSpec,
    MapSpec,
    Plan,
    Step,
)
from graphorch.graph.signature import StateFunction
from graphorch.render.picture.model import (
    MARK_WORDS,
    Box,
    BoxKind,
    Group,
    Line,
    LineKind,
    Picture,
)
from graphorch.state.marks import MarkName
from graphorch.text import format_duration, truncate

MANY = 800  # boxes; above it sub-flows stay closed, the deepest first
_LONGEST_SUMMARY = 300  # characters of a docstring in a tooltip
_ITEM = re.compile(r"\[[\da-f.]+\](?=/)")
_KINDS: Mapping[str, BoxKind] = {
    "node": "node",
    "agent": "agent",
    "map": "map",
    "sub": "sub",
    "ask": "ask",
    "signal": "signal",
    "timer": "timer",
    "first": "first",
}
_SHORT_HINTS: Mapping[str, str] = {"fire": "goes on with what it has if fewer can come"}
_FINISH_HINT = "the other branches run to their end beside what follows"
_LINES: Mapping[str, LineKind] = {
    "always": "always",
    "routed": "conditional",
    "loop": "loop",
    "exhausted": "exhausted",
    "error": "error",
}


def draw_plan(
    plan: Plan,
    *,
    depth: int | None = None,
    closed: frozenset[str] = frozenset(),
    ran: Iterable[str] = (),
) -> Picture:
    """Return the picture of a plan.

    `depth` is how many levels of maps and sub-flows are opened: 0 is none, None all of them, as
    long as there are at most 800 boxes. Those whose paths are in `closed` are never opened. Those
    that run the flow again are opened where one of the paths in `ran` leads.
    """
    entered = frozenset(_list_around(ran))
    if depth is not None:
        return _drawn(plan, depth, _Sheet(closed, entered))
    known: dict[tuple[int, int], int] = {}
    for opened in range(plan.levels - 1, 0, -1):
        # Drawing stops where there are too many boxes; it need not begin if there are nodes enough.
        if _count_nodes(plan, opened, known) > MANY:
            continue
        try:
            return _drawn(plan, opened, _Sheet(closed, entered, MANY))
        except _TooManyBoxes:
            continue
    return _drawn(plan, 0, _Sheet(closed, entered))


def _count_nodes(plan: Plan, depth: int, known: dict[tuple[int, int], int]) -> int:
    """Return the nodes of a plan with so many levels opened, each as often as it occurs."""
    key = id(plan), depth
    if key not in known:
        inner = [flow for _, flow in plan.list_inner()] if depth else []
        known[key] = plan.end + sum(_count_nodes(flow, depth - 1, known) for flow in inner)
    return known[key]


def _list_around(paths: Iterable[str]) -> Iterator[str]:
    """Yield the boxes of the maps and sub-flows around some paths."""
    for path in paths:
        outer, separator, _ = box_id(path).rpartition("/")
        while separator:
            yield outer
            outer, separator, _ = outer.rpartition("/")


def line_id(path: str, edge: Edge) -> str:
    """Return the id of the line of an edge; `path` is that of its flow, `""` for the outermost."""
    return _join_path(path, str(edge.index))


def box_id(path: str) -> str:
    """Return the id of the box of a path: all items of a map share one, `each/work`."""
    return _ITEM.sub("", path)


def frame_id(source: str, header: str) -> str:
    """Return the id of the frame of a loop: `source` is the box of a node that leads back."""
    return _join_path(source.rpartition("/")[0], f"{header}//loop")


def _drawn(plan: Plan, depth: int, sheet: _Sheet) -> Picture:
    outermost = _Flow(sheet, plan, "", None, depth, plan.marked)
    outermost.draw()
    return Picture(plan.name, tuple(sheet.boxes), tuple(sheet.lines), tuple(sheet.groups))


@dataclass(slots=True)
class _Sheet:
    """Boxes, lines and groups that are drawn so far, of all levels."""

    closed: frozenset[str]  # the paths of maps and sub-flows that are not opened
    entered: frozenset[str]  # those of the ones that are, among those that run the flow again
    most: int | None = None  # boxes
    boxes: list[Box] = field(default_factory=list[Box])
    lines: list[Line] = field(default_factory=list[Line])
    groups: list[Group] = field(default_factory=list[Group])


class _TooManyBoxes(Exception):
    """A picture that would have more boxes than it may."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """Boxes where lines into a node end, and where lines out of it begin."""

    entry: str
    exit: str


@dataclass(slots=True)
class _Flow:
    """Plan that is being drawn at a path, inside a group."""

    sheet: _Sheet
    plan: Plan
    path: str
    group: str | None
    depth: int
    marked: MarkedFlow | None
    ends: dict[int, _Ends] = field(default_factory=dict[int, _Ends])
    around: dict[int, str | None] = field(default_factory=dict[int, str | None])
    # the bodies of the loops that have a frame
    loops: dict[str, frozenset[int]] = field(default_factory=dict[str, frozenset[int]])

    def draw(self) -> _Ends:
        """Draw the flow, and return the ends of all of it."""
        shape = self.plan.topology
        first, last = START_INDEX, shape.end
        # Only inside a frame do lines lead to the node itself, without a start or an end before it.
        if self.path:
            first, last = _find_first(shape), _find_last(shape)
        has_start, has_end = first == START_INDEX, last == shape.end
        self._frame_loops()
        if has_start:
            self._add(Box(self._id("START"), "start", "start", group=self.group))
        for index in range(len(shape.names)):
            self._node(index)
        if has_end:
            self._add(Box(self._id("END"), "end", "end", group=self.group))
        self.ends[START_INDEX] = _Ends(self._id("START"), self._id("START"))
        self.ends[shape.end] = _Ends(self._id("END"), self._id("END"))
        self._lines(skip_start=not has_start, skip_end=not has_end)
        return _Ends(self.ends[first].entry, self.ends[last].exit)

    # ---- frames of loops ---------------------------------------------------------------------
    def _frame_loops(self) -> None:
        """Draw a frame per loop header, outer ones first; bodies that overlap in part get none."""
        bodies: dict[int, frozenset[int]] = {}
        for loop in self.plan.topology.loops:
            bodies[loop.header] = bodies.get(loop.header, frozenset()) | loop.body
        for header, body in sorted(bodies.items(), key=lambda item: -len(item[1])):
            if all(body <= other or not body & other for other in self.loops.values()):
                id_ = self._id(f"{self.plan.topology.name(header)}//loop")
                parent = self._group_of(body)
                self.loops[id_] = body
                self.sheet.groups.append(
                    Group(id_, "loop", "loop", self._loop_detail(header), parent)
                )

    def _loop_detail(self, header: int) -> str:
        bounds = [
            str(loop.bound)
            for loop in self.plan.topology.loops
            if loop.header == header and loop.exhausted == "fail"
        ]
        if not bounds:
            return ""
        return f"fails after {' or '.join(bounds)}"

    def _group_of(self, nodes: frozenset[int]) -> str | None:
        """Return the innermost frame around all of these nodes."""
        innermost = self.group
        for id_, body in self.loops.items():  # outer frames come first
            if nodes <= body:
                innermost = id_
        return innermost

    # ---- boxes -------------------------------------------------------------------------------
    def _node(self, index: int) -> None:
        step = self.plan.steps[index]
        id_, group = self._id(step.name), self._group_of(frozenset((index,)))
        inside = None
        sheet = self.sheet
        is_open = id_ in sheet.entered if step.max_depth else id_ not in sheet.closed
        if self.depth and is_open:
            inside = self._inside(id_, index, group)
        self.ends[index] = inside or _Ends(id_, id_)
        self.around[index] = group
        if inside is None:
            detail = _describe_step(step)
            if step.ask:
                detail = f"asks for {step.ask.answer.__name__}"
            elif step.event is not None:
                detail = step.event.text
            elif step.node.kind == "first":
                detail = f"first of {len(self.plan.topology.leaving[index])}"
            detail = _add_options(detail, step)
            self._add(_box(id_, step.name, step.node, group, detail, step.event))
        if step.node.undo is not None:
            self._undo(id_, step.node, step.node.undo, group)
        if step.join is not None and step.join.need != "arriving":
            self._join(index, step.join, group)
        if step.route is not None:
            self._decision(index, step.route)

    def _inside(self, id_: str, index: int, group: str | None) -> _Ends | None:
        """Draw the inside of a map or sub-flow in a frame; return None for any other node."""
        step = self.plan.steps[index]
        worker: Node[Any] | None = None
        if step.map is not None:
            flow, worker = step.map.flow, step.map.worker
            frame = Group(id_, step.name, "map", _add_options(_describe_step(step), step), group)
        elif step.sub is not None:
            flow = step.sub.flow
            frame = Group(id_, step.name, "sub", _add_options(_describe_bound(step), step), group)
        else:
            return None
        self.sheet.groups.append(frame)
        if flow is not None:
            marked = self.marked.inside.get(index) if self.marked is not None else None
            return _Flow(self.sheet, flow, id_, id_, self.depth - 1, marked).draw()
        if worker is None:
            return None
        inner = f"{id_}/{worker.name}"
        self._add(_box(inner, worker.name, worker, id_, _detail(worker, None)))
        if worker.undo is not None:
            self._undo(inner, worker, worker.undo, id_)
        return _Ends(inner, inner)

    def _undo(self, id_: str, node: Node[Any], undo: Node[Any], group: str | None) -> None:
        """Draw the undo of a node beside it: no other line leads there, or on from there."""
        beside = f"{id_}/undo"
        self._add(_box(beside, undo.name, undo, group, "undo"))
        hint = f"takes back what {node.name} did, if the run or the region around it is undone"
        self._line(f"{beside}/", id_, beside, "undo", "undo", hint, carried=())

    def _join(self, index: int, join: JoinSpec, group: str | None) -> None:
        """Draw a bar above a join with `need`, outside of a loop that begins at the node."""
        shape = self.plan.topology
        arriving = [edge for edge in shape.entering[index] if edge.kind != "loop"]
        begins_loop = any(loop.header == index for loop in shape.loops)
        if begins_loop and any(index in body for body in self.loops.values()):
            group = self._group_of(frozenset((index, *(edge.source for edge in arriving))))
        words = f"first {join.need} of {len(arriving)}"
        if join.need == "all":
            words = "all"
        hint = _SHORT_HINTS.get(join.short, "")
        if join.rest == "finish":
            words += " · rest finishes"
            hint = "\n".join(part for part in (_FINISH_HINT, hint) if part)
        id_ = self._id(f"{shape.names[index]}//join")
        self._add(Box(id_, words, "join", tooltip=hint, group=group))
        self._line(f"{id_}/", id_, self.ends[index].entry, "always", carried=arriving)
        self.ends[index] = _Ends(id_, self.ends[index].exit)

    def _decision(self, index: int, route: CompiledRoute) -> None:
        """Draw a diamond below a node, within those loops around it that its route can stay in."""
        shape = self.plan.topology
        id_ = self._id(f"{shape.names[index]}//route")
        routed = [edge for edge in shape.leaving[index] if edge.kind == "routed"]
        targets = [edge.target for edge in routed]
        groups = [self._group_of(frozenset((index, target))) for target in targets]
        depth = {group: number for number, group in enumerate([self.group, *self.loops])}
        hint = f"reads {_slices(route.selector)}"
        if route.is_multi:
            hint += "\ntakes one branch or several"
        group = max(groups, key=lambda item: depth[item], default=self.group)
        self._add(Box(id_, f"{_called(route.selector)}?", "decision", tooltip=hint, group=group))
        self._line(f"{id_}/", self.ends[index].exit, id_, "always", carried=routed)

    # ---- lines -------------------------------------------------------------------------------
    def _lines(self, *, skip_start: bool, skip_end: bool) -> None:
        shape = self.plan.topology
        for edge in shape.edges:
            if (skip_start and edge.source == START_INDEX) or (
                skip_end and edge.target == shape.end
            ):
                continue
            source, target = self._source(edge), self._target(edge)
            label, hint = self._words(edge)
            self._line(
                line_id(self.path, edge),
                source,
                target,
                self._kind(edge),
                label,
                hint,
                carried=(edge,),
            )

    def _kind(self, edge: Edge) -> LineKind:
        """Return how a line is drawn: all events of a first begin, and the first decides."""
        if edge.kind == "routed" and self._is_first(edge.source):
            return "always"
        if edge.kind == "always" and self._is_rival(edge.source):
            return "conditional"
        return _LINES.get(edge.kind, "always")

    def _is_first(self, index: int) -> bool:
        return index >= 0 and self.plan.steps[index].node.kind == "first"

    def _is_rival(self, index: int) -> bool:
        return index >= 0 and bool(self.plan.steps[index].rivals)

    def _source(self, edge: Edge) -> str:
        if edge.kind == "routed" and not self._is_first(edge.source):
            return self._id(f"{self.plan.topology.name(edge.source)}//route")
        return self.ends[edge.source].exit

    def _target(self, edge: Edge) -> str:
        """Return where a line ends. Ways back lead past the bar of a join, into the node itself."""
        entry = self.ends[edge.target].entry
        if edge.kind == "loop" and entry.endswith("//join"):
            return next(line.target for line in self.sheet.lines if line.source == entry)
        return entry

    def _words(self, edge: Edge) -> tuple[str, str]:
        """Return the label and the tooltip of a line."""
        kind = str(edge.kind)
        name = self.plan.topology.name(edge.source)
        if kind == "routed" and self._is_first(edge.source):
            return "", f"all events of '{name}' are waited for at once"
        if kind == "always" and self._is_rival(edge.source):
            return "if first", f"taken if '{name}' is the first to come"
        if kind == "routed":
            return _labels(edge.labels), ""
        if kind in ("loop", "exhausted"):
            loop = self.plan.topology.loops[edge.loop]
            return _loop_words(loop, edge)
        if kind == "error":
            return _labels(edge.labels) or "on error", "taken if the node failed for good"
        return "", ""

    def _line(
        self,
        id_: str,
        source: str,
        target: str,
        kind: LineKind,
        label: str = "",
        hint: str = "",
        *,
        carried: Sequence[Edge],
    ) -> None:
        """Draw a line with the marks of the values that some edges carry."""
        fields: dict[MarkName, dict[str, None]] = {}
        if self.marked is not None:
            for edge in carried:
                for mark, names in self.marked.edges.get(edge.index, {}).items():
                    fields.setdefault(mark, {}).update(dict.fromkeys(names))
        words = [f"{MARK_WORDS[mark]}: {', '.join(names)}" for mark, names in fields.items()]
        hint = "\n".join(part for part in (hint, *words) if part)
        self.sheet.lines.append(Line(id_, source, target, kind, label, hint, tuple(fields)))

    def _add(self, box: Box) -> None:
        self.sheet.boxes.append(box)
        if self.sheet.most is not None and len(self.sheet.boxes) > self.sheet.most:
            raise _TooManyBoxes

    def _id(self, name: str) -> str:
        return _join_path(self.path, name)


def _join_path(path: str, name: str) -> str:
    """Return the path of a name in the flow at `path`, which is `""` for the outermost."""
    if not path:
        return name
    return f"{path}/{name}"


def _find_first(shape: Topology) -> int:
    """Return the first node of a flow if there is only one, else START."""
    starts = shape.leaving[START_INDEX]
    if len(starts) != 1 or starts[0].target == shape.end:
        return START_INDEX
    return starts[0].target


def _find_last(shape: Topology) -> int:
    """Return the last node of a flow if there is only one and it leads on always, else END."""
    ends = shape.entering[shape.end]
    if len(ends) != 1 or ends[0].kind != "always" or ends[0].source == START_INDEX:
        return shape.end
    return ends[0].source


def _box(
    id_: str,
    name: str,
    node: Node[Any],
    group: str | None,
    detail: str,
    event: EventSpec | None = None,
) -> Box:
    reads = ", ".join(_model_name(read.model) for read in node.signature.reads)
    writes = ", ".join(model.__name__ for model in node.signature.writes)
    gate = {"before": "it runs", "after": "its result goes on"}.get(node.options.gate or "")
    if gate and node.options.expires is not None:
        gate += f", within {format_duration(node.options.expires)}"
    check = node.options.declassify
    slices = [
        f"{verb} {what}"
        for verb, what in (
            ("reads", reads),
            ("writes", writes),
            ("a person agrees before", gate),
            ("checks:", check),
        )
        if what
    ]
    tools = [f"tool {tool}" for tool in summarize_tools(node)]
    waits = event.details if event is not None else ()
    hint = "\n".join(part for part in (_summary(node), *slices, *waits, *tools) if part)
    return Box(id_, name, _KINDS.get(node.kind, "node"), detail, hint, group)


def _summary(node: Node[Any]) -> str:
    """Return the first paragraph of the docstring of a node's function, on one line.

    An agent's is that of its prompt function. Functions that the library made, such as those of
    maps and patterns, say nothing to their user.
    """
    function = getattr(node.fn, "prompt", node.fn) if node.kind == "agent" else node.fn
    if get_module(function).partition(".")[0] == __name__.partition(".")[0]:
        return ""
    paragraph, _, _ = get_doc(function).partition("\n\n")
    return truncate(" ".join(paragraph.split()), _LONGEST_SUMMARY)


def _describe_step(step: Step) -> str:
    parts = (_detail(step.node, step.map), _describe_bound(step))
    return " · ".join(part for part in parts if part)


def _describe_bound(step: Step) -> str:
    """Return how often a node runs the flow around it, or nothing for any other node."""
    return f"↻ at most {step.max_depth} deep" if step.max_depth else ""


def _detail(node: Node[Any], spec: MapSpec | None) -> str:
    """Return the second line of a box: its kind, and its bound, model or gate."""
    if spec is not None:
        bound = f"map · max {spec.max_items}"
        if spec.need is not None:
            bound += f" · first {spec.need}"
            bound += " · rest finishes" if spec.rest == "finish" else ""
        if spec.until is not None:
            bound += f" · until {_name_function(spec.until)}"
        if spec.grow is not None:
            bound += " · grows"
        return bound
    kind = {
        "agent": "agent",
        "sub": "sub-flow",
        "ask": "asks a person",
    }.get(node.kind, "function")
    gate = node.options.gate and f"gate {node.options.gate}"
    check = node.options.declassify and "check"
    return " · ".join(part for part in (kind, node.model, gate, check) if part)


def _add_options(detail: str, step: Step) -> str:
    """Return the second line of a box, with what ends its node early, and its exclusive regions."""
    parts = [detail] if detail else []
    if step.cancel_on:
        parts.append(f"ended by {step.cancel_on}")
    deadline = step.node.options.deadline
    if step.may_end_early and deadline is not None:
        parts.append(f"within {deadline:g} s")
    for name in step.exclusive:
        reach = " across runs" if name in step.shared_regions else ""
        parts.append(f"exclusive {name}{reach}")
    return " · ".join(parts)


def _loop_words(loop: Loop, edge: Edge) -> tuple[str, str]:
    """Return label and tooltip of a loop's line. Of several ways back only the first has words."""
    if edge.kind == "exhausted":
        return (
            f"after {loop.bound} rounds",
            "taken if the loop's bound is reached and its condition still holds",
        )
    condition, label = _called(loop.condition), ""
    if edge.source == loop.sources[0]:
        label = f"while {condition} · max {loop.bound}"
    return (
        label,
        f"again while {condition}, at most {loop.bound} rounds; reads {_slices(loop.condition)}",
    )


def _called(pure: StateFunction | BoundFunction) -> str:
    return _shorten_name(pure.name)


def _name_function(function: Callable[..., object]) -> str:
    return _shorten_name(getattr(function, "__name__", type(function).__name__))


def _shorten_name(name: str) -> str:
    return "…" if name == "<lambda>" else name


def _slices(pure: StateFunction | BoundFunction) -> str:
    return ", ".join(_model_name(read.model) for read in pure.reads) or "nothing"


def _model_name(model: type[BaseModel] | None) -> str:
    if model is None:
        return "the state"
    return model.__name__


def _labels(labels: Iterable[object]) -> str:
    return ", ".join(_label(label) for label in labels)


def _label(label: object) -> str:
    if label == OTHERWISE:
        return "otherwise"
    if isinstance(label, type):
        return label.__name__
    return str(getattr(label, "value", label))
