"""A picture as the output of a notebook's cell, in forms that are shown wherever it is opened.

Tried in JupyterLab 4.6, Notebook 7.6, marimo 0.25 and nbconvert 7.17. An untrusted notebook, such
as a fresh clone, shows no `image/svg+xml`, and its HTML loses `<svg>` and `<style>` but keeps an
`<img>` with a `data:` address. JupyterLab shows HTML before SVG before PNG, so:

1. `text/html` holds the picture as a `data:` image, which needs no trust;
2. `image/svg+xml` is for terminals with pictures, which know no HTML;
3. `image/png`, if resvg is installed, is for readers that show neither, such as the restricted mode
   of VS Code.
"""

from __future__ import annotations

import base64
import html
import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from graphorch.render.svg.stylesheet import FONTS
from graphorch.render.svg.theme import keep_light_colours

_ZOOM = 2.0  # pixels of a PNG per unit of the SVG: sharp on screens of high density
_MOST_PIXELS = 24e6  # a larger PNG would slow the notebook down; its reader gets the other forms
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')
_FAMILY_OPTIONS = ("font_family", "sans_serif_family", "serif_family")
# The picture's own fonts, then those of systems that have none of them.
FAMILIES = (*FONTS, "DejaVu Sans", "Noto Sans", "Open Sans", "Roboto", "Ubuntu", "Cantarell")


def build_picture_bundle(svg: str, text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a picture's mime bundle and its metadata, with `text` for readers without pictures."""
    data = {"text/plain": text, "image/svg+xml": svg, "text/html": embed(svg, text)}
    png = to_png(svg)
    if png is None:
        return data, {}
    data["image/png"] = base64.b64encode(png).decode("ascii")
    width, height = _read_size(svg)
    return data, {"image/png": {"width": round(width), "height": round(height)}}


def embed(svg: str, text: str) -> str:
    """Return an `<img>` that holds a picture; `text` is for those who do not see it.

    A picture that shrinks to the width of its page does so here, and a wider one scrolls.
    """
    address = base64.b64encode(svg.encode()).decode("ascii")
    shrinks = "max-width:100%" in svg.partition(">")[0]
    style = "max-width:100%;height:auto" if shrinks else "max-width:none"
    source = f"data:image/svg+xml;base64,{address}"
    image = f'<img alt="{html.escape(text)}" style="{style}" src="{source}">'
    return image if shrinks else f'<div style="overflow:auto">{image}</div>'


def to_png(svg: str) -> bytes | None:
    """Return a picture in light colours as PNG.

    None without resvg, without a font for it, and for a picture that is far too large.
    """
    if find_spec("resvg_py") is None:
        return None
    width, height = _read_size(svg)
    if width * height * _ZOOM**2 > _MOST_PIXELS:
        return None
    font = find_font(FAMILIES)
    if not font:
        return None
    return _rasterize(keep_light_colours(svg), font, _ZOOM)


@cache
def find_font(families: tuple[str, ...]) -> str:
    """Return the first of some families that resvg can draw words in; empty if there is none.

    Words whose font the system lacks are drawn in another one, or left out, without a warning.
    """
    drawn = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><g>{}</g></svg>'
    blank = _rasterize(drawn.format(""), "", 1.0)
    for family in families:
        if _rasterize(drawn.format('<text y="9">M</text>'), family, 1.0) != blank:
            return family
    return ""


def _rasterize(svg: str, font: str, zoom: float) -> bytes:
    resvg: Any = import_module("resvg_py")
    # Serif too: where a family is missing, words would be drawn in the system's own serif.
    families = dict.fromkeys(_FAMILY_OPTIONS, font) if font else {}
    return bytes(resvg.svg_to_bytes(svg_string=svg, zoom=zoom, **families))


def _read_size(svg: str) -> tuple[float, float]:
    found = _SIZE.search(svg)
    assert found is not None, "a picture states its size"
    return float(found[1]), float(found[2])
