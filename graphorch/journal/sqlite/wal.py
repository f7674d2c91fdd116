"""Growing the file of the write-ahead log ahead of what SQLite writes to it.

A commit that waits for the disk waits at least twice as long if the file grew, since then its size
and its blocks have to be written too. SQLite reuses its log from the start after a checkpoint, so
it ignores and overwrites the bytes after its last commit. Here these are zeros.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_STEP = 1024 * 1024  # bytes by which the file grows
_AHEAD = 256 * 1024  # bytes that must be free before a commit


class LogFile:
    """Log of the SQLite file at a path."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-wal")
        self._size = -1
        self._ahead = 0  # bytes after the last commit, at least

    def lengthen(self) -> None:
        """Append zeros if the end is near, or not where it was left.

        The caller must have locked SQLite's file for writing.
        """
        # Without room on the disk the log grows commit by commit, until a commit fails and reports
        # it.
        with suppress(OSError):
            size = self._path.stat().st_size
            if size != self._size or self._ahead < _AHEAD:
                with self._path.open("r+b") as file:
                    file.seek(size)
                    file.write(bytes(_STEP))
                self._size, self._ahead = size + _STEP, _STEP

    def advance(self, size: int) -> None:
        """Note that at most `size` bytes were written after the last commit."""
        self._ahead -= size

    def start_over(self) -> None:
        """Note that the next commit is written to the start of the log."""
        self._ahead = max(self._size, 0)
