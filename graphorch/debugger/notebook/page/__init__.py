"""Script and style sheet of the stepper's page.

The script is one module for a browser, written in several files: a widget is given one text, which
cannot import another.
"""

from __future__ import annotations

from pathlib import Path

from graphorch.render.page import (
    read_elements_script,
    read_viewport_script,
    read_viewport_style,
)

_HERE = Path(__file__).parent
# Each file uses names of those before it.
_PARTS = ("picture", "timeline", "facts", "panel", "stepper")


def read_script() -> str:
    """Return the module, whose default export has a function `render`."""
    parts = [(_HERE / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS]
    return "\n".join([read_viewport_script(), read_elements_script(), *parts])


def read_style() -> str:
    """Return the style sheet."""
    return read_viewport_style() + (_HERE / "stepper.css").read_text(encoding="utf-8")
