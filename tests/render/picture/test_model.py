"""A picture refuses what no engine could place."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError
from graphorch.render.picture.model import Box, Group, Line, Picture, group_chains

A, B = Box("a", "a", "node"), Box("b", "b", "node")


@pytest.mark.parametrize(
    "boxes, lines, groups, message",
    [
        ((A, A), (), (), r"Two of the picture's box ids are 'a'\. Give each box its own id\."),
        (
            (A, B),
            (Line("1", "a", "b", "always"), Line("1", "b", "a", "loop")),
            (),
            "line ids are '1'",
        ),
        ((A,), (), (Group("g", "g", "loop"), Group("g", "g", "sub")), "group ids are 'g'"),
        (
            (A,),
            (Line("1", "a", "c", "always"),),
            (),
            "Line '1' of the picture names the box 'c', which is not in it",
        ),
        ((Box("x", "x", "node", group="g"),), (), (), "Box 'x' of the picture names the group 'g'"),
        (
            (A,),
            (),
            (Group("g", "g", "loop", parent="h"),),
            "Group 'g' of the picture names the group 'h'",
        ),
        (
            (A,),
            (),
            (Group("g", "g", "sub", parent="h"), Group("h", "h", "sub", parent="g")),
            "Group 'g' of the picture lies in itself",
        ),
    ],
)
def test_dangling_references_are_refused(
    boxes: tuple[Box, ...], lines: tuple[Line, ...], groups: tuple[Group, ...], message: str
) -> None:
    """References that do not hold are refused."""
    with pytest.raises(InputError, match=message):
        Picture("p", boxes, lines, groups)


def test_group_chain_is_outermost_first() -> None:
    """The groups around a group come outermost first."""
    groups = (
        Group("in", "in", "loop", parent="mid"),
        Group("mid", "mid", "sub", parent="out"),
        Group("out", "out", "map"),
    )
    assert group_chains(Picture("p", (A,), (), groups)) == {
        None: (),
        "in": ("out", "mid", "in"),
        "mid": ("out", "mid"),
        "out": ("out",),
    }
