"""Files that the command line reads and writes: UTF-8 text, read whole, written whole or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from graphorch.cli.terminal import print_output, print_status, sanitize_line
from graphorch.errors import InputError


def read_text(path: str, option: str) -> str:
    """Return the text of a file, or of standard input for `-`. Raises `InputError`.

    `option` is the option that named the file, for the message.
    """
    name = "standard input" if path == "-" else f"file '{path}'"
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{option}: {name} cannot be read: {_reason(error)}. {_reading_hint(error)}"
        ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is 0x{data[error.start]:02x}"
        raise InputError(
            f"{option}: {name} is not UTF-8 text ({byte}). Convert it to UTF-8 first."
        ) from error


def check_writable(path: str) -> None:
    """Raise `InputError` if a file cannot be written, before a run costs anything."""
    target = Path(path)
    if not path or target.is_dir():
        raise _unwritable(path, "it is a directory" if path else "the name is empty")
    # a pipe or a device is only tried when it is written to
    if target.exists() and not target.is_file():
        return
    try:
        temporary = _temporary_path(target)
        temporary.touch(exist_ok=False)
        temporary.unlink()
        if target.exists():
            target.open("ab").close()
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error


def write_text(path: str, text: str) -> None:
    """Write a file through a temporary one beside it, so that it is never seen half written.

    Raises `InputError`.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, "utf-8", "backslashreplace", newline="")
            return
        temporary = _temporary_path(target)
        try:
            temporary.write_text(text, "utf-8", "backslashreplace", newline="")
            temporary.replace(target.resolve())
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, _reason(error)) from error


def write_or_print(path: str, text: str) -> None:
    """Write text to the file of `--output`, or to standard output if that is empty.

    Raises `InputError`.
    """
    if not path:
        print_output(text)
        return
    write_text(path, text)
    print_written(path)


def print_written(path: str) -> None:
    """Print the note that a file was written."""
    print_status(f"written to {sanitize_line(path, 400)}")


def _temporary_path(target: Path) -> Path:
    # of a link, the file that it points to is replaced
    real = target.resolve()
    return real.with_name(f".{real.name[:100]}.{os.getpid()}.part")


def _unwritable(path: str, why: str) -> InputError:
    return InputError(
        f"Cannot write '{path}': {why}. "
        "Name a file in a directory that exists and that you may write to."
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _reading_hint(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"Check the path; it is relative to {Path.cwd()}."
    return "Name a readable file."
