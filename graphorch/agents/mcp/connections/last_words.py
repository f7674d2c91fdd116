"""What a server said beside its answers, and how it ended: the end of it, for error messages."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphorch.agents.mcp.connections.environment import hide
from graphorch.text import clean

_KEPT: Final = 4_000  # bytes of standard error
_SHOWN: Final = 400  # characters of it in a message


@dataclass(slots=True)
class LastWords:
    """The end of what a server wrote to standard error, or wrongly to standard output."""

    secrets: Sequence[str] = ()
    exit_code: int | None = None
    _errors: bytes = b""
    _noise: str = ""

    def hear(self, piece: bytes) -> None:
        """Keep the end of standard error."""
        self._errors = (self._errors + piece[-_KEPT:])[-_KEPT:]

    def hear_noise(self, text: str) -> None:
        """Keep the last line on standard output that was no message."""
        self._noise = text

    def describe(self) -> str:
        """Return sentences about how the server ended and what it wrote last; "" if nothing."""
        sentences: list[str] = []
        if self.exit_code is not None:
            sentences.append(_describe_exit(self.exit_code))
        text = self._errors.decode("utf-8", "backslashreplace").strip()
        for name, words in (("standard error", text), ("standard output", self._noise)):
            if words:
                shown = clean(" ".join(hide(words, self.secrets)[-_SHOWN:].split()))
                sentences.append(f"The end of its {name}: {shown!r}.")
        return " ".join(sentences)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"It exited with status {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"It was ended by {name}."
