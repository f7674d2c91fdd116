"""A picture's page: one file, which loads nothing and runs no name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from graphorch.render.layout.engine import layout
from graphorch.render.page import draw_page
from graphorch.render.picture.model import Picture
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from tests.render.pictures import HOSTILE, essay, hostile


def page_of(picture: Picture) -> str:
    return draw_page(draw(picture, layout(picture, "builtin")), picture.name)


def test_page_makes_no_request() -> None:
    """The page is one file, which may load nothing, and its only addresses are names of XML."""
    page = page_of(draw_plan(essay()))
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\"\s]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.findall(r"<(?:script|img|link)[^>]* (?:src|href)=", page)


def test_page_escapes_names() -> None:
    """Names in the title and in the picture are words, and no markup."""
    page = page_of(hostile())
    assert page.count("<script") == 1
    assert HOSTILE[0] not in page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_keeps_theme(theme: Any) -> None:
    """A page of a fixed theme is drawn in it, whatever the system likes."""
    assert f"color-scheme: {theme};" in draw_page("<svg></svg>", "a", theme)
