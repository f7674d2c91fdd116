"""Files that hold secrets or money: created for their owner only, and watched while they are open.

A program opens such files by a name that others may have put something else under: a folder, a
device, a link into the void. Nothing is created through such a thing, and what is wrong is named.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Literal

OWNER_ONLY: Final = 0o600
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


_FOLDERS: Final = {
    "config": ("XDG_CONFIG_HOME", "APPDATA", ".config"),
    "state": ("XDG_STATE_HOME", "LOCALAPPDATA", ".local/state"),
    "cache": ("XDG_CACHE_HOME", "LOCALAPPDATA", ".cache"),
}  # the variables that name such a folder, and where it is without them


class UnusableFile(Exception):
    """A path under which no file can be kept; the message is a sentence that begins with it."""


@cache
def _creating(process: int) -> threading.Lock:
    """Return the lock of a process around the making of a file; a fork must not inherit it held."""
    return threading.Lock()


def find_user_folder(
    kind: Literal["config", "state", "cache"], environment: Mapping[str, str] = os.environ
) -> Path:
    """Return graphorch's folder among the user's files of a kind.

    That is below `XDG_CONFIG_HOME` and its like if it is an absolute path, below `APPDATA` on
    Windows, else `~/.config`. Raises `UnusableFile` if the user has no home directory.
    """
    *variables, fallback = _FOLDERS[kind]
    for variable in variables:
        base = environment.get(variable, "")
        if os.path.isabs(base):
            return Path(base, "graphorch")
    try:
        return Path.home() / fallback / "graphorch"
    except RuntimeError as error:
        name = {"config": "configuration"}.get(kind, kind)
        raise UnusableFile(
            f"The user's {name} directory cannot be found: {error} Set {variables[0]} to "
            "an absolute path."
        ) from error


def make_user_folder(kind: Literal["state", "cache"]) -> Path:
    """Return graphorch's folder among the user's files of a kind, made for its owner only.

    Raises `UnusableFile`.
    """
    folder = find_user_folder(kind)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFile(f"'{folder}' cannot be created: {error}.") from None
    return folder


def ensure_private_file(path: Path) -> Path:
    """Create a file that only its owner can read, unless it exists; return it without links.

    A link to a file that exists is followed. Raises `UnusableFile` for everything else that is
    not a file, and if the file cannot be created.
    """
    try:
        # SQLite loses its locks on a file when any other handle of this process on it is closed.
        # A file that was just created has none, unless another thread opens it right now.
        with _creating(os.getpid()):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    except FileExistsError:
        return _require_file(path)
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        raise UnusableFile(
            f"'{path}' cannot be created: {error}. Check that its folder exists and may be written."
        ) from None
    return resolve_links(path)


def resolve_links(path: Path) -> Path:
    """Return the absolute path of the file that a path leads to; the file need not exist.

    Raises `UnusableFile` for a link to nothing, through which a file would be created elsewhere,
    and for a name that no file can have.
    """
    try:
        if not os.path.islink(path) or os.path.exists(path):
            return Path(os.path.realpath(path))
    except ValueError as error:
        raise UnusableFile(f"{os.fspath(path)!r} is not a path: {error}.") from None
    raise UnusableFile(
        f"'{path}' is a link to '{os.readlink(path)}', where there is no file, and nothing is "
        "created through a link. Remove the link, or name the file itself."
    )


def _require_file(path: Path) -> Path:
    """Return a file that exists without links. Raises `UnusableFile` for anything else."""
    file = resolve_links(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UnusableFile(f"'{path}' cannot be read: {error}.") from None
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        raise UnusableFile(
            f"'{path}' is not a file but {kind}. Name a file, or choose another path."
        )
    return file


def restrict_database(file: Path) -> None:
    """Take the permissions of others from an SQLite database, and from the files beside it.

    An older version may have left them. Call it once the file is known to be ours: that of another
    program keeps its mode, and so does one that belongs to another user.
    """
    for name in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        with suppress(FileNotFoundError, PermissionError):
            if os.stat(name).st_mode & 0o077:
                os.chmod(name, OWNER_ONLY)


class OpenedFile:
    """The file that a path named when it was opened.

    A program that has a file open does not notice that it was deleted, or that its path names
    another file by now: it writes on into a file that nobody will find. A file that `shrinks` may
    do so; any other one that does was cut off or overwritten. `modified` is the time of its last
    change in nanoseconds, as of the last look at it.
    """

    __slots__ = ("_device", "_inode", "_path", "_shrinks", "_size", "modified")

    def __init__(self, path: Path, *, shrinks: bool = False) -> None:
        status = os.stat(path)
        self._path = os.fspath(path)
        self._device, self._inode, self._size = status.st_dev, status.st_ino, status.st_size
        self._shrinks = shrinks
        self.modified = status.st_mtime_ns

    def find_problem(self) -> str:
        """Return what happened to the file, as the end of a sentence about it; "" if it is there.

        It costs one look at the file system.
        """
        try:
            status = os.stat(self._path)
        except OSError:
            return "was deleted or moved"
        if status.st_ino != self._inode or status.st_dev != self._device:
            return "was replaced by another file"
        if status.st_size < self._size and not self._shrinks:
            return "was cut off or overwritten"
        self._size, self.modified = status.st_size, status.st_mtime_ns
        return ""
