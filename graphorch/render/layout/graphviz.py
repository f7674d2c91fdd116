"""Layout by Graphviz: boxes of given sizes go out without words, places and curves come back.

Only `dot` places; fonts, words and colours stay ours, so a picture looks the same whichever engine
placed it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from graphorch.errors import InputError
from graphorch.render.layout.back_edges import (
    LANE_LEFT,
    draw_ways_back,
    lane_bodies,
    lane_width,
    lanes_by_group,
)
from graphorch.render.layout.group_titles import place_titles
from graphorch.render.layout.layering import back_lines
from graphorch.render.layout.measures import Direction, Size
from graphorch.render.picture.model import Box, Group, Line, Picture
from graphorch.render.picture.placement import Curve, Layout, Point, Rect
from graphorch.render.picture.sizes import TITLE_INDENT, label_size, title_width

_INCH = 72.0
# boxes; above it the network simplex of dot is bounded, which costs little and saves most of the
# time
_MANY = 300
_TITLE_HEIGHT = 16
_BACK_SIDES: Mapping[Direction, str] = {"TB": "e", "LR": "s"}  # where ways back leave and arrive
_SHAPES = {"decision": "diamond", "first": "diamond", "start": "ellipse", "end": "ellipse"}
TIMEOUT = 20.0


class DotFailed(Exception):
    """Failure of `dot` to answer in time with a layout."""


def dot_path() -> str | None:
    """Return the path of Graphviz' `dot`, or None."""
    return shutil.which("dot")


def dot_layout(
    picture: Picture,
    sizes: Mapping[str, Size],
    direction: Direction = "TB",
    *,
    timeout: float = TIMEOUT,
) -> Layout:
    """Place a picture whose boxes have these sizes.

    From left to right dot routes ways back itself. Raise `DotFailed` after `timeout` seconds, or if
    `dot` fails.
    """
    source = partial(_source, picture, sizes, direction)
    try:
        answer = _run_dot(source(lanes=direction == "TB"), timeout)
    except DotFailed:  # too much of a tangle: let dot route ways back as it likes
        if direction == "LR":
            raise
        answer = _run_dot(source(lanes=False), timeout)
    try:
        return place_titles(picture, _read(picture, json.loads(answer)))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise DotFailed(f"dot answered with something that is not a layout: {error}") from error


def _run_dot(source: str, timeout: float) -> bytes:
    path = dot_path()
    if path is None:
        raise DotFailed("dot is not on PATH")
    try:
        done = subprocess.run(
            [path, "-Tjson0"],
            input=source.encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    # `run` has killed and reaped the process by now
    except (subprocess.TimeoutExpired, OSError) as error:
        raise DotFailed(f"dot did not answer within {timeout:g} s: {error}") from error
    if done.returncode:
        raise DotFailed(f"dot failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout


def _source(
    picture: Picture, sizes: Mapping[str, Size], direction: Direction, *, lanes: bool
) -> str:
    """Return DOT with numbers for ids, fixed sizes, no words; `lanes` keeps room for ways back."""
    try:
        from graphviz import Digraph  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise InputError(
            "Layout by Graphviz needs the package 'graphviz', which is not installed. "
            "Run: pip install graphviz. Or use engine='builtin', which needs nothing."
        ) from error
    graph: Any = Digraph(
        graph_attr={
            "rankdir": direction,
            "nodesep": "0.42",
            "ranksep": "0.5",
            "newrank": "true",
            "splines": "spline",
        },
        node_attr={"label": "", "shape": "box", "fixedsize": "true"},
        edge_attr={"arrowsize": "0.7", "fontsize": "10"},
    )
    if len(picture.boxes) > _MANY:
        graph.attr(nslimit="2", nslimit1="2")
    numbers = {box.id: f"n{index}" for index, box in enumerate(picture.boxes)}
    back = back_lines(picture)
    bodies = lane_bodies(picture, back) if lanes else {}
    _add_content(graph, None, picture, sizes, numbers, lanes_by_group(picture, bodies))
    for index, line in enumerate(picture.lines):
        if index in bodies:
            _add_lane(graph, index, [[numbers[box] for box in row] for row in bodies[index]])
        else:
            graph.edge(
                numbers[line.source],
                numbers[line.target],
                id=f"e{index}",
                **_edge_options(line, _BACK_SIDES[direction] if line.id in back else ""),
            )
    return cast(str, graph.source)


def _add_content(
    graph: Any,
    group: str | None,
    picture: Picture,
    sizes: Mapping[str, Size],
    numbers: Mapping[str, str],
    lanes: Mapping[str | None, list[tuple[int, int]]],
) -> None:
    """Add the boxes and the lanes directly in a group (or in none), then the groups in it."""
    for box in picture.boxes:
        if box.group == group:
            graph.node(numbers[box.id], **_node_options(box, sizes[box.id]))
    for index, count in lanes.get(group, ()):
        for number in range(count):
            graph.node(
                f"w{index}_{number}",
                width=f"{lane_width(picture.lines[index]) / _INCH:.4f}",
                height="0.15",
            )
    for index, inner in enumerate(picture.groups):
        if inner.parent == group:
            with graph.subgraph(name=f"cluster_{index}") as cluster:
                cluster.attr(margin="14", labeljust="l", label=_blank(*_title_size(inner)))
                _add_content(cluster, inner.id, picture, sizes, numbers, lanes)


def _add_lane(graph: Any, index: int, body: Sequence[Sequence[str]]) -> None:
    """Add room for a way back: an invisible box at the right of each rank that it passes.

    `dot` puts the head of a flat edge there.

    Left alone, dot squeezes such lines between boxes and through frames.
    """
    for number, row in enumerate(body):
        with graph.subgraph() as same:
            same.attr(rank="same")
            for box in row:
                same.edge(box, f"w{index}_{number}", style="invis")
        if number:
            graph.edge(f"w{index}_{number - 1}", f"w{index}_{number}", style="invis", weight="8")


def _title_size(group: Group) -> Size:
    return title_width(group) + TITLE_INDENT, _TITLE_HEIGHT


def _node_options(box: Box, size: Size) -> dict[str, str]:
    options = {"width": f"{size[0] / _INCH:.4f}", "height": f"{size[1] / _INCH:.4f}"}
    if box.kind in _SHAPES:
        options["shape"] = _SHAPES[box.kind]
    return options


def _edge_options(line: Line, back_side: str) -> dict[str, str]:
    width, height = label_size(line)
    options: dict[str, str] = {}
    if width:
        options["label"] = _blank(width, height)
    if back_side:
        options |= {"constraint": "false", "tailport": back_side, "headport": back_side}
    elif line.kind == "always":
        options["weight"] = "3"
    elif line.kind == "error":
        options["weight"] = "0"
    return options


def _blank(width: float, height: float) -> str:
    """Return a label that is only a size, so that no font decides about room."""
    size = f'WIDTH="{math.ceil(width)}" HEIGHT="{math.ceil(height)}"'
    return f'<<TABLE BORDER="0" FIXEDSIZE="TRUE" {size}><TR><TD></TD></TR></TABLE>>'


def _read(picture: Picture, answer: dict[str, Any]) -> Layout:
    """Read the output of `-Tjson0`, where y grows upwards."""
    _, _, width, height = _numbers(answer["bb"])
    boxes: dict[str, Rect] = {}
    groups: dict[str, Rect] = {}
    lanes: dict[int, float] = {}
    for thing in cast("list[dict[str, Any]]", answer.get("objects", [])):
        name = str(thing["name"])
        if name.startswith("cluster_") and "bb" in thing:
            left, low, right, high = _numbers(thing["bb"])
            groups[picture.groups[int(name[8:])].id] = Rect(
                left, height - high, right - left, high - low
            )
        elif name.startswith("n") and "pos" in thing:
            x, y = _numbers(thing["pos"])
            w, h = float(thing["width"]) * _INCH, float(thing["height"]) * _INCH
            boxes[picture.boxes[int(name[1:])].id] = Rect(x - w / 2, height - y - h / 2, w, h)
        elif name.startswith("w"):
            index = int(name[1:].split("_")[0])
            left = _numbers(thing["pos"])[0] - float(thing["width"]) * _INCH / 2
            lanes[index] = max(lanes.get(index, 0.0), left + LANE_LEFT)
    lines: dict[str, Curve] = {}
    for edge in cast("list[dict[str, Any]]", answer.get("edges", [])):
        id_ = str(edge.get("id", ""))
        if id_.startswith("e"):
            line = picture.lines[int(id_[1:])]
            lines[line.id] = _read_curve(line, edge, height)
    lines |= draw_ways_back(picture, boxes, groups, lanes)
    if len(boxes) != len(picture.boxes) or len(lines) != len(picture.lines):
        raise ValueError("boxes or lines are missing")
    return Layout("dot", width, height, boxes, lines, groups, {})


def _read_curve(line: Line, edge: dict[str, Any], height: float) -> Curve:
    points: list[Point] = []
    tip: Point | None = None
    for part in str(edge["pos"]).split(";")[0].split():
        # The ends of the line are marked: "e,10,20" and "s,10,20".
        kind, place = "", part
        if part[0] in "es":
            kind, _, place = part.partition(",")
        x, y = _numbers(place)
        if kind == "e":
            tip = x, height - y
        elif not kind:
            points.append((x, height - y))
    size = label_size(line)
    label: Rect | None = None
    if size[0] and "lp" in edge:
        x, y = _numbers(edge["lp"])
        label = Rect(x - size[0] / 2, height - y - size[1] / 2, *size)
    return Curve(tuple(points), tip or points[-1], label)


def _numbers(text: object) -> list[float]:
    return [float(part) for part in str(text).split(",")]


def install_hint() -> str:
    """Return how to install `dot` on this system."""
    if os.name == "nt":
        return "winget install Graphviz.Graphviz"
    return "apt-get install graphviz, dnf install graphviz, or brew install graphviz"
