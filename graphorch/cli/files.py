"""Files that the command line reads and writes: text in UTF-8, read whole, written whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from graphorch.errors import InputError


def read_text(path: str, what: str) -> str:
    """The text of a file, or of standard input for `-`. `what` names the option that asked for it. Raises `InputError`."""
    shown = "standard input" if path == "-" else f"file '{path}'"
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{what}: {shown} cannot be read: {_reason(error)}. {_hint(path, error)}"
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what}: {shown} is no text in UTF-8 (byte {error.start} is 0x{data[error.start]:02x}). Convert it to UTF-8 first."
        ) from error


def check_writable(path: str) -> None:
    """Find out before a run costs anything whether its output can be written. Raises `InputError`."""
    target = Path(path)
    if not path or target.is_dir():
        raise _unwritable(path, "it is a directory" if path else "the name is empty")
    if target.exists() and not target.is_file():
        return  # a pipe or a device
    try:
        beside = _beside(target)
        beside.touch(exist_ok=False)
        beside.unlink()
        if target.exists():
            target.open("ab").close()
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error


def write_text(path: str, text: str) -> None:
    """Write a file by way of another one beside it, so that nobody ever sees half of it. Raises `InputError`."""
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, "utf-8", "backslashreplace", newline="")
            return
        beside = _beside(target)
        try:
            beside.write_text(text, "utf-8", "backslashreplace", newline="")
            beside.replace(target.resolve())
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error


def _beside(target: Path) -> Path:
    real = target.resolve()  # of a link, the file that it points to is replaced
    return real.with_name(f".{real.name[:100]}.{os.getpid()}.part")


def _unwritable(path: str, why: str) -> InputError:
    return InputError(
        f"Cannot write '{path}': {why}. Name a file in a directory that exists and that you may write to."
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _hint(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"Check the path; it is taken from {Path.cwd()}."
    return "Name a readable file."
