"""DOT that Graphviz reads, whatever the names are."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.render.dot import to_dot
from graphorch.render.picture.model import Box, Group, Line, Picture
from graphorch.render.plan_picture import draw_plan
from tests.render.pictures import HOSTILE, company, essay, hostile, support

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def read_by_dot(source: str, form: str = "json0") -> str:
    done = subprocess.run(
        ["dot", f"-T{form}"], input=source.encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout.decode()


@needs_dot
@pytest.mark.parametrize(
    "picture",
    [draw_plan(essay()), draw_plan(support()), draw_plan(company()), hostile()],
    ids=lambda item: item.name[:8],
)
def test_dot_reads_every_element(picture: Picture) -> None:
    """Dot reads every box line and group."""
    answer = json.loads(read_by_dot(to_dot(picture)))
    names = [thing["name"] for thing in answer["objects"]]
    assert len([name for name in names if name.startswith("n")]) == len(picture.boxes)
    assert len([name for name in names if name.startswith("cluster_")]) == len(picture.groups)
    assert len(answer["edges"]) == len(picture.lines)


@needs_dot
def test_dot_hostile_names_stay_words() -> None:
    """Hostile names come out of dot as words."""
    svg = read_by_dot(to_dot(hostile()), "svg")
    assert "<script" not in svg
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in svg
    assert svg.count("</svg>") == 1


@needs_dot
@settings(max_examples=25)
@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
@example("\\", '"', "\\\\")
@example("x\\", 'a\\"', "&#0;")
@example("]]>", "<B>", "&nope;")
@example("\ud800", "\x00", "\ufffe")
def test_dot_reads_any_text(name: str, detail: str, label: str) -> None:
    """Dot reads any text."""
    boxes = Box("a", name, "agent", detail, label, "g"), Box("b", detail, "end")
    picture = Picture(
        name,
        boxes,
        (Line("1", "a", "b", "conditional", label, detail),),
        (Group("g", name, "loop", detail),),
    )
    assert len(json.loads(read_by_dot(to_dot(picture)))["edges"]) == 1


def test_dot_shapes_tell_kinds_apart() -> None:
    """Shapes and styles tell kinds apart."""
    source = to_dot(draw_plan(support()))
    assert "shape=diamond" in source
    assert "shape=doublecircle" in source
    assert 'style="rounded,dashed"' in source
    assert "constraint=false" in source


def test_dot_is_deterministic() -> None:
    """The same picture gives the same text."""
    assert to_dot(hostile()) == to_dot(hostile())
    assert to_dot(Picture("nothing", ())).startswith('digraph "nothing" {')


def test_dot_names_are_for_people() -> None:
    """Names are written for people."""
    assert "<B>research</B>" in to_dot(draw_plan(essay()))
    assert f">{HOSTILE[0]}<" not in to_dot(hostile())


@needs_dot
def test_direction_leads_right() -> None:
    """A picture from left to right is read so by dot, with ways back below; others are refused."""
    source = to_dot(draw_plan(essay()), "LR")
    assert ":s -> " in source
    answer = json.loads(read_by_dot(source))
    left, _, right, top = (float(number) for number in answer["bb"].split(","))
    assert right - left > 2 * top
    with pytest.raises(InputError, match=r"no direction 'RL'.*'TB'.*'LR'"):
        to_dot(draw_plan(essay()), "RL")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
