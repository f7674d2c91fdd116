"""Files are read whole, and written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graphorch.cli.files import check_writable, read_text, write_text
from graphorch.errors import InputError


def test_a_file_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffgröße".encode())
    assert read_text(str(tmp_path / "a.txt"), "--topic") == "größe"


@pytest.mark.parametrize(
    "name, says",
    [("none.txt", "no such file"), (".", "is a directory"), ("latin.txt", "byte 2 is 0xf6")],
)
def test_a_file_that_cannot_be_read_is_named_with_the_option(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "latin.txt").write_bytes("größe".encode("latin-1"))
    with pytest.raises(InputError, match=says) as caught:
        read_text(str(tmp_path / name), "--topic")
    assert str(caught.value).startswith("--topic: ")


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    write_text(str(target), "new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_what_a_link_points_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(str(tmp_path / "link.txt"), "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_device_is_written_to_directly() -> None:
    check_writable(os.devnull)
    write_text(os.devnull, "text")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    "name, says",
    [
        ("nowhere/out.txt", "no such file or directory"),
        ("", "is a directory"),
        ("file/out.txt", "not a directory"),
    ],
)
def test_a_target_that_cannot_be_written_is_found_out_without_a_trace(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=says):
        check_writable(str(tmp_path / name))
    with pytest.raises(InputError, match="Cannot write"):
        write_text(str(tmp_path / name), "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_target_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("old")
    check_writable(str(tmp_path / "out.txt"))
    check_writable(str(tmp_path / "new.txt"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.txt", "old")]
