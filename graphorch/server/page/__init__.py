"""The page: plain ES modules, style sheets and one `index.html`, served as they are.

No build step, no framework, nothing from another host. `index.html` has neither script nor style of
its own, so that the content policy can refuse both. Modules lie in folders by noun:

- `app.js` begins: the token, the theme, the frame, and the view that the address names. `copy.js`
  begins an exported file, which has one run and no server.
- `api.js` is the only module that talks to the server. `connection/` holds what it needs for that.
- `shell/` is the frame around a view: navigation, keys, notices, theme, address.
- `parts/` are elements that views share: chips, facts, values, dialogs, empty and error states.
- `forms/` edit a JSON value by its schema.
- `views/` has a folder for each view, and `views.js` lists them.

Two modules come from the pictures and the notebook, which use them too: `parts/elements.js` and
`parts/viewport.js`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphorch.render.page import (
    read_elements_script,
    read_viewport_script,
    read_viewport_style,
)

_HERE: Final = Path(__file__).parent
_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_NAMES = re.compile(r"^(?:class|function|const) (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page, with the media type that it is served as."""

    content: bytes
    media_type: str


def read_page() -> dict[str, PageFile]:
    """Return every file of the page by its path below `/`, such as `views/runs/runs.js`."""
    files = {
        path.relative_to(_HERE).as_posix(): PageFile(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(_HERE.rglob("*"))
        if path.suffix in _TYPES
    }
    shared = {
        "parts/elements.js": _to_module(read_elements_script()),
        "parts/viewport.js": _to_module(read_viewport_script()),
        "style/viewport.css": read_viewport_style(),
    }
    for name, text in shared.items():
        files[name] = PageFile(text.encode(), _TYPES[Path(name).suffix])
    return files


def _to_module(script: str) -> str:
    """Return a script as a module that exports what it declares."""
    return f"{script}\nexport {{ {', '.join(_NAMES.findall(script))} }};\n"
