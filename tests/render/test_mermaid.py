"""Mermaid whose labels are words, whatever the names are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.render.mermaid import to_mermaid
from graphorch.render.picture.model import Box, Group, Line, Picture
from graphorch.render.plan_picture import draw_plan
from tests.render.pictures import company, essay, hostile

BOX = re.compile(r'^ +n\d+(\(\(\(|\(\(|\(|\{|\[\[|\[)"([^"\n]*)"(\)\)\)|\)\)|\)|\}|\]\]|\])$')
LINE = re.compile(r'^  n\d+ (?:-->|-\.->)(?:\|"([^"\n]*)"\|)? n\d+$')
GROUP = re.compile(r'^ +subgraph g\d+\["([^"\n]*)"\]$')
OTHER = re.compile(r"^(?:flowchart TD| +end|  (?:classDef|class|linkStyle|style) [\w #:,.-]+)$")
WORDS = re.compile(r"^(?:[\w .,·…×→-]|#\d+;|<br/>|<small>|</small>)*$")


def texts(source: str) -> list[str]:
    """The labels of a source in which every line is of a known form."""
    found: list[str] = []
    for line in source.rstrip("\n").split("\n"):
        match = BOX.match(line)
        if match:
            found.append(match[2])
            continue
        match = LINE.match(line) or GROUP.match(line)
        assert match or OTHER.match(line), line
        if match and match[1] is not None:
            found.append(match[1])
    return found


def test_mermaid_plan_line_by_line() -> None:
    """A plan is written line by line."""
    source = to_mermaid(draw_plan(essay()))
    assert source.startswith(
        'flowchart TD\n  n0(("start"))\n'
        '  n1("research<br/><small>agent · google#47;gemini-2.5-pro</small>")\n'
    )
    assert '  subgraph g0["loop"]\n    n2("write<br/>' in source
    assert '  n3 -.->|"while weak · max 3"| n2\n' in source
    assert '  n5((("end")))\n' in source
    assert "  linkStyle 3 stroke:#7c3aed" in source


def test_mermaid_groups_are_nested() -> None:
    """Groups hold groups."""
    source = to_mermaid(draw_plan(company()))
    assert source.count("subgraph ") == source.count("end\n") == 6
    assert texts(source)


def test_mermaid_hostile_names_are_entities() -> None:
    """Hostile names become entities."""
    assert all(WORDS.match(text) for text in texts(to_mermaid(hostile())))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_mermaid_text_stays_quoted(name: str, detail: str, label: str) -> None:
    """Any text stays inside its quotes."""
    boxes = Box("a", name, "decision", detail, group="g"), Box("b", detail, "join")
    picture = Picture(
        name, boxes, (Line("1", "a", "b", "error", label),), (Group("g", label, "loop", detail),)
    )
    assert all(WORDS.match(text) for text in texts(to_mermaid(picture)))


def test_mermaid_is_deterministic() -> None:
    """The same picture gives the same text."""
    assert to_mermaid(hostile()) == to_mermaid(hostile())


def test_direction_leads_right() -> None:
    """A picture from left to right differs in its first line only; others are refused."""
    picture = draw_plan(essay())
    down, right = to_mermaid(picture).splitlines(), to_mermaid(picture, "LR").splitlines()
    assert (down[0], right[0]) == ("flowchart TD", "flowchart LR")
    assert down[1:] == right[1:]
    with pytest.raises(InputError, match=r"no direction 'RL'.*'TB'.*'LR'"):
        to_mermaid(picture, "RL")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
