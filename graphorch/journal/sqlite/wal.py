"""The write-ahead log as a file of the file system: it is made longer ahead of what is written to it.

A commit that waits for the disk waits at least twice as long if the file grew, since then its size and its blocks have to be written too.
SQLite writes over what lies behind the last commit in any case, since it uses its log again from the start once it was moved into the file;
so what stands there is nothing to it. Here that is zeros.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_STEP = 1024 * 1024  # bytes by which it gets longer
_AHEAD = 256 * 1024  # bytes that are there before a commit


class LogFile:
    """The log of the SQLite file at a path."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-wal")
        self._size = -1
        self._ahead = 0  # bytes behind the last commit, or fewer

    def lengthen(self) -> None:
        """Put zeros behind its end if that is near, or not where it was left. Whoever calls this has locked SQLite's file for writing."""
        # no room: then it grows commit by commit, until there is none for a commit either, which is told
        with suppress(OSError):
            size = self._path.stat().st_size
            if size != self._size or self._ahead < _AHEAD:
                with self._path.open("r+b") as file:
                    file.seek(size)
                    file.write(bytes(_STEP))
                self._size, self._ahead = size + _STEP, _STEP

    def use(self, size: int) -> None:
        """So many bytes at most were written behind the last commit."""
        self._ahead -= size

    def start_over(self) -> None:
        """The next commit is written to its start."""
        self._ahead = max(self._size, 0)
