"""A picture on a page: one HTML file with zoom, fit, search and a map, which makes no request.

`viewport.js` and `viewport.css` do all of it for any drawn picture; other pages use them too, and
make what they show with `elements.js`.
"""

from __future__ import annotations

import html
from pathlib import Path

from graphorch.render.svg.theme import Theme

_HERE = Path(__file__).parent
_SCHEMES = {"auto": "light dark", "light": "light", "dark": "dark"}


def draw_page(svg: str, title: str, theme: Theme = "auto") -> str:
    """Return a page with a drawn picture, which fills the window."""
    return _PAGE.format(
        title=html.escape(title),
        scheme=_SCHEMES[theme],
        style=read_viewport_style(),
        svg=svg,
        script=read_viewport_script(),
    )


def read_viewport_script() -> str:
    """Return the script, which defines the class `Viewport`."""
    return (_HERE / "viewport.js").read_text(encoding="utf-8")


def read_elements_script() -> str:
    """Return the script that makes elements of text, and writes figures as people read them."""
    return (_HERE / "elements.js").read_text(encoding="utf-8")


def read_viewport_style() -> str:
    """Return the style sheet of what the script adds to a picture."""
    return (_HERE / "viewport.css").read_text(encoding="utf-8")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="color-scheme" content="{scheme}">
<title>{title}</title>
<style>
{style}
:root {{ color-scheme: {scheme}; }}
body {{ margin: 0; background: light-dark(#fff, #0d1117); }}
.gv {{ box-sizing: border-box; height: 100dvh; padding: 10px; }}
@media print {{ .gv {{ height: auto; }} }}
</style>
</head>
<body>
<div id="stage" tabindex="0" role="region" aria-label="Picture; scroll with the arrow keys">
{svg}</div>
<script type="module">
{script}
const viewport = new Viewport(document.getElementById("stage"));
document.body.append(viewport.el);
viewport.update();
document.addEventListener("keydown", (event) => {{
  if (event.target !== document.body) return;
  viewport.stage.focus();
  viewport.typed(event);
}});
</script>
</body>
</html>
"""
