"""Text and numbers as SVG holds them; everything that people named passes through here, so nothing of theirs becomes markup."""

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
    """Text between tags."""
    return _unix(text).translate(_CONTENT)


def attribute(text: str) -> str:
    """Text between the quotes of an attribute."""
    return _unix(text).translate(_ATTRIBUTE)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel, in its shortest form."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def numbers(*values: float) -> str:
    """Coordinates side by side."""
    return " ".join(number(value) for value in values)


def _unix(text: str) -> str:
    return clean(text).replace("\r\n", "\n").replace("\r", "\n")
