"""The files that this process has open."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

DESCRIPTORS = Path("/proc/self/fd")


def list_open_files(folder: Path) -> list[Path]:
    """Return the files below a folder that are open; skip the test where a system cannot tell."""
    if not DESCRIPTORS.is_dir():
        pytest.skip("this system does not list the open files of a process")
    opened: list[Path] = []
    for descriptor in DESCRIPTORS.iterdir():
        with suppress(OSError):  # closed meanwhile: that of the listing itself
            opened.append(Path(os.readlink(descriptor)))
    return [path for path in opened if path.is_relative_to(folder)]
