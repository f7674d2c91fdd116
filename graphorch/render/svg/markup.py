"""Text and numbers in SVG. All names of users pass through here, so that none becomes markup."""

from __future__ import annotations

from graphorch.render.picture.text_width import clean

_CONTENT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ATTRIBUTE = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&#39;",
        "\n": "&#10;",
        "\t": "&#9;",
    }
)


def content(text: str) -> str:
    """Escape text between tags."""
    return _unix(text).translate(_CONTENT)


def attribute(text: str) -> str:
    """Escape text between the quotes of an attribute."""
    return _unix(text).translate(_ATTRIBUTE)


def number(value: float) -> str:
    """Return a coordinate, to a tenth of a pixel, in its shortest form."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def numbers(*values: float) -> str:
    """Return coordinates side by side."""
    return " ".join(number(value) for value in values)


def _unix(text: str) -> str:
    return clean(text).replace("\r\n", "\n").replace("\r", "\n")
