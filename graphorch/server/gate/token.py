"""The token that opens the API.

It is fresh for each start: what an old link, a log or a page that still asks a port after the
server has ended could give away is worth nothing any more. Other users of the machine can take the
port then. For programs that have to know it beforehand, `--token-file` keeps one in a file that
only its owner can read.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from graphorch.errors import InputError
from graphorch.private_files import OWNER_ONLY

_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{32,256}")
_OTHERS: Final = 0o077  # permissions of everyone but the owner
_OTHERS_MAY_WRITE: Final = 0o022


def make_token() -> str:
    """Return a fresh token of 256 random bits, in characters that a URL holds as they are."""
    return secrets.token_urlsafe(_BYTES)


def is_token(given: bytes, token: str) -> bool:
    """Return whether a text is the token, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given, token.encode())


def keep_token(path: Path) -> str:
    """Return the token that a file keeps; a file that does not exist is made with a fresh one.

    Raises `InputError` for a link, a file or folder that others may write to, one that others may
    read, and one that holds no token.
    """
    try:
        _check_folder(path.parent)
        return _read_token(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"--token-file {path}: it cannot be read: {error.strerror}.") from None
    try:
        return _write_token(path)
    except OSError as error:
        raise InputError(f"--token-file {path}: it cannot be made: {error.strerror}.") from None


def _check_folder(folder: Path) -> None:
    """Raise `InputError` for a folder in which others could put another file of that name."""
    if os.name != "posix":
        return
    status = os.stat(folder)
    if status.st_uid not in (os.getuid(), 0) or status.st_mode & _OTHERS_MAY_WRITE:
        raise InputError(
            f"--token-file: others may write to the folder '{folder}', and so choose the token. "
            f"Keep it in a folder of yours: `chmod go-w '{folder}'`."
        )


def _read_token(path: Path) -> str:
    handle = os.open(path, os.O_RDONLY | _no_follow())
    with os.fdopen(handle, encoding="ascii", errors="replace") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"--token-file {path}: it is not a file.")
        if os.name == "posix" and (status.st_uid != os.getuid() or status.st_mode & _OTHERS):
            raise InputError(
                f"--token-file {path}: others may read or write it. Make it yours alone: "
                f"`chmod 600 '{path}'`, and since they may know it, delete it for a new token."
            )
        token = file.read(1_000).strip()
    if _TOKEN.fullmatch(token) is None:
        raise InputError(
            f"--token-file {path}: it holds no token, which is 32 to 256 letters, digits, '-' and "
            "'_'. Delete it, and the next start makes one."
        )
    return token


def _write_token(path: Path) -> str:
    """Make a file with a fresh token. Raises `OSError` if the name is taken meanwhile."""
    token = make_token()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _no_follow(), OWNER_ONLY)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token


def _no_follow() -> int:
    return getattr(os, "O_NOFOLLOW", 0)  # Windows has none
