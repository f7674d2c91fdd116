"""Files are read whole, and written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphorch.cli.files import check_writable, read_text, write_text
from graphorch.errors import InputError


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    """A file is read without its byte order mark."""
    (tmp_path / "a.txt").write_bytes("\ufeffgröße".encode())
    assert read_text(str(tmp_path / "a.txt"), "--topic") == "größe"


@pytest.mark.parametrize(
    "name, message",
    [("none.txt", "no such file"), (".", "is a directory"), ("latin.txt", "byte 2 is 0xf6")],
)
def test_unreadable_file_names_option(tmp_path: Path, name: str, message: str) -> None:
    """A file that cannot be read is named with its option."""
    (tmp_path / "latin.txt").write_bytes("größe".encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        read_text(str(tmp_path / name), "--topic")
    assert str(caught.value).startswith("--topic: ")


def test_file_is_replaced_cleanly(tmp_path: Path) -> None:
    """A file is replaced, and nothing else is left."""
    target = tmp_path / "out.txt"
    target.write_text("old")
    write_text(str(target), "new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_link_target_is_written(tmp_path: Path) -> None:
    """The file behind a link is written, and the link stays."""
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(str(tmp_path / "link.txt"), "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_device_is_written_directly() -> None:
    """A device is written to directly."""
    check_writable(os.devnull)
    write_text(os.devnull, "text")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    "name, message",
    [
        ("nowhere/out.txt", "no such file or directory"),
        ("", "is a directory"),
        ("file/out.txt", "not a directory"),
    ],
)
def test_unwritable_target_leaves_no_trace(tmp_path: Path, name: str, message: str) -> None:
    """A target that cannot be written is found out without leaving a file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=message):
        check_writable(str(tmp_path / name))
    with pytest.raises(InputError, match="Cannot write"):
        write_text(str(tmp_path / name), "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writable_target_is_unchanged(tmp_path: Path) -> None:
    """A target that can be written is left as it was."""
    (tmp_path / "out.txt").write_text("old")
    check_writable(str(tmp_path / "out.txt"))
    check_writable(str(tmp_path / "new.txt"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.txt", "old")]
