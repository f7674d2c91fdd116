"""Join characters that JSON spelled in two halves (a surrogate pair) which came apart in a stream.

A half alone can be neither stored nor printed.
"""

from __future__ import annotations


def join_halves(text: str) -> str:
    """Return the text with its halves joined. Raises `ValueError` for a half without its other."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    return text


class HalfJoiner:
    """Joins the halves in a text that comes in pieces; holds back a first half until the next."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def add(self, piece: str) -> str:
        """Return the text up to here. Raises `ValueError` for a half without its other."""
        if not self._half and piece.isascii():
            return piece
        piece = self._half + piece
        self._half = ""
        if "\ud800" <= piece[-1:] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return join_halves(piece)

    def finish(self) -> None:
        """Raise `ValueError` if a half was left."""
        join_halves(self._half)
