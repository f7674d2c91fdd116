"""Pictures as outputs of notebooks: forms that need no trust, and a PNG with words in it."""

from __future__ import annotations

import base64
import re
import struct
from typing import Any

import pytest

from graphorch.render.notebook_picture import (
    FAMILIES,
    build_picture_bundle,
    embed,
    find_font,
    to_png,
)
from tests.scenarios.flows import FLOWS

WIDE = '<svg xmlns="http://www.w3.org/2000/svg" class="a" width="{}" height="{}"><g/></svg>'


def flow() -> Any:
    return FLOWS["chain"]()


def test_bundle_has_untrusted_form() -> None:
    """The HTML is one image in a `data:` address, with the same picture and no markup beside it."""
    svg = flow().svg()
    data, _ = build_picture_bundle(svg, 'a <flow> "x"')
    (found,) = re.findall(
        r'^<img alt="(.*?)" style=".*" src="data:image/svg\+xml;base64,(.*)">$', data["text/html"]
    )
    assert found[0] == "a &lt;flow&gt; &quot;x&quot;"
    assert base64.b64decode(found[1]).decode() == svg == data["image/svg+xml"]
    assert data["text/plain"] == 'a <flow> "x"'


def test_flow_and_result_have_same_forms() -> None:
    """A flow, its result and its session are shown in the same forms."""
    pytest.importorskip("resvg_py")
    data, metadata = flow()._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/svg+xml", "text/html", "image/png"}
    assert flow()._repr_html_() == data["text/html"]
    png = base64.b64decode(data["image/png"])
    width, height = struct.unpack(">II", png[16:24])
    size = metadata["image/png"]
    assert (width, height) == pytest.approx((2 * size["width"], 2 * size["height"]), abs=2)


def test_wide_picture_scrolls() -> None:
    """A picture that says that it shrinks is shrunk, and any other keeps its size."""
    assert "max-width:100%" in embed(flow().svg(), "")
    wide = embed(WIDE.format(5000, 10), "")
    assert wide.startswith('<div style="overflow:auto"><img')
    assert "max-width:none" in wide


def test_png_holds_words_and_colours() -> None:
    """The PNG of a picture that follows the page's theme is that of the light one."""
    pytest.importorskip("resvg_py")
    auto, light = flow().svg(), flow().svg(theme="light")
    png = to_png(auto)
    assert png is not None
    assert png == to_png(light)
    without_words = re.sub(r"<text.*?</text>", "", light)
    assert png != to_png(without_words)


def test_huge_picture_has_no_png() -> None:
    """A PNG that would be far too large is left out; the other forms are there."""
    pytest.importorskip("resvg_py")
    data, metadata = build_picture_bundle(WIDE.format(30_000, 9000), "big")
    assert set(data) == {"text/plain", "image/svg+xml", "text/html"}
    assert metadata == {}


def test_font_without_words_is_passed_over() -> None:
    """A family that the system lacks, in which resvg draws no words, is never chosen."""
    pytest.importorskip("resvg_py")
    assert find_font(("No Such Font",)) == ""
    found = find_font(FAMILIES)
    assert found in FAMILIES
    assert find_font(("No Such Font", found)) == found
