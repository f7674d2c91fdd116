"""Step 2 of the builtin layout, wide fans: branches that do not fit side by side go into bands.

A box may lead to so many branches that their row is wider than a page. They are laid out as a table
then, row by row: each *band* holds as many branches as fit, and the branches of a *column* stand
below each other. Lines that pass a band run beside the boxes of their column, those to lower bands
at its left, those from upper bands at its right, so that none of them cross.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, fsum

from graphorch.render.layout.measures import Measures
from graphorch.render.picture.model import Line, Picture, group_chains

WIDEST = 1600.0  # pixels that branches may take side by side
_FEWEST = 4  # branches that are worth bands
_GUTTERS = 48.0  # room for the lines at both sides of a column


@dataclass(frozen=True, slots=True)
class Fan:
    """Branches of one box, in bands: the column of each box and line, and the order of bands.

    `lines` hold the column and the side: 0 is left of the boxes, 1 among them, 2 right of them.
    `after` are pairs of boxes of which the second must stand below the first.
    """

    boxes: Mapping[str, int]
    lines: Mapping[str, tuple[int, int]]
    after: tuple[tuple[str, str], ...]


def find_fans(
    picture: Picture, forward: Sequence[Line], ranks: Mapping[str, int], measures: Measures
) -> list[Fan]:
    """Return the fans that are too wide for one row, outer ones first.

    `forward` are the lines without those that lead back, and `ranks` the ranks that they give.
    """
    into: dict[str, list[Line]] = {box.id: [] for box in picture.boxes}
    out: dict[str, list[Line]] = {box.id: [] for box in picture.boxes}
    for line in forward:
        out[line.source].append(line)
        into[line.target].append(line)
    depths = {group: len(chain) for group, chain in group_chains(picture).items()}
    nesting = {box.id: depths[box.group] for box in picture.boxes}
    fans: list[Fan] = []
    for box in sorted(picture.boxes, key=lambda box: ranks[box.id]):
        heads = dict.fromkeys(
            line.target
            for line in out[box.id]
            if all(entering.source == box.id for entering in into[line.target])
        )
        if len(heads) >= _FEWEST:
            branches = [_walk_branch(head, into, out) for head in heads]
            widths = [
                max(_width(branch, ranks, nesting, measures), *_labels(branch[0], into, measures))
                for branch in branches
            ]
            if fsum(widths) > WIDEST:
                fans.append(_wrap(branches, _count_columns(widths), into, out))
    return fans


def _walk_branch(
    head: str, into: Mapping[str, list[Line]], out: Mapping[str, list[Line]]
) -> list[str]:
    """Return the boxes that are reached through `head` only, itself first."""
    branch = [head]
    waiting: dict[str, int] = {}
    for id_ in branch:  # grows while it is walked
        for line in out[id_]:
            left = waiting.get(line.target, len(into[line.target])) - 1
            waiting[line.target] = left
            if not left:
                branch.append(line.target)
    return branch


def _width(
    branch: Sequence[str],
    ranks: Mapping[str, int],
    nesting: Mapping[str, int],
    measures: Measures,
) -> float:
    """Return about how wide a branch is, with the gap beside it, at most a whole row."""
    room = measures.room
    rows: dict[int, float] = {}
    for id_ in branch:
        rows[ranks[id_]] = rows.get(ranks[id_], 0.0) + measures.boxes[id_][0] + room.box_gap
    depths = [nesting[id_] for id_ in branch]
    frames = (max(depths) - min(depths)) * (room.before + room.after)
    return min(WIDEST, max(rows.values()) + frames)


def _labels(head: str, into: Mapping[str, list[Line]], measures: Measures) -> list[float]:
    return [measures.labels[line.id][0] + measures.room.box_gap for line in into[head]]


def _count_columns(widths: Sequence[float]) -> int:
    """Return how many columns fit, the branches dealt out row by row, in bands of even length."""
    for bands in range(2, len(widths)):
        columns = ceil(len(widths) / bands)
        needed = fsum(max(widths[column::columns]) + _GUTTERS for column in range(columns))
        if needed <= WIDEST:
            return columns
    return 1


def _wrap(
    branches: Sequence[Sequence[str]],
    columns: int,
    into: Mapping[str, list[Line]],
    out: Mapping[str, list[Line]],
) -> Fan:
    boxes: dict[str, int] = {}
    lines: dict[str, tuple[int, int]] = {}
    after: list[tuple[str, str]] = []
    for index, branch in enumerate(branches):
        column, members = index % columns, set(branch)
        boxes |= dict.fromkeys(branch, column)
        lines |= {line.id: (column, 0) for line in into[branch[0]]}
        for id_ in branch:
            inside = [line.target in members for line in out[id_]]
            for line, stays in zip(out[id_], inside, strict=True):
                lines[line.id] = column, 1 if stays else 2
            if index + columns < len(branches) and not any(inside):
                after.append((id_, branches[index + columns][0]))
    return Fan(boxes, lines, tuple(after))
