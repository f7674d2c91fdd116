"""Files for their owner only, created through nothing surprising, and watched while open."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from graphorch.private_files import (
    OpenedFile,
    UnusableFile,
    ensure_private_file,
    resolve_links,
    restrict_database,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_new_file_is_private(mask: int, tmp_path: Path) -> None:
    """The mask of the process does not matter, and an existing file is left as it is."""
    path = tmp_path / "file"
    before = os.umask(mask)
    try:
        assert ensure_private_file(path) == path.resolve()
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    path.write_text("kept")
    ensure_private_file(path)
    assert path.read_text() == "kept"


def _make_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _make_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def _make_link_to_folder(path: Path) -> None:
    path.with_name("folder").mkdir()
    path.symlink_to(path.with_name("folder"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Path.mkdir, "is not a file but a folder"),
        (os.mkfifo, "is not a file but a pipe"),
        (_make_link_to_nothing, "is a link to '.*nothing', where there is no file"),
        (_make_link_to_itself, "is a link to"),
        (_make_link_to_folder, "is not a file but a folder"),
    ],
)
def test_other_things_are_refused(
    make: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    """A folder, a pipe or a link to nothing is named, and nothing is created."""
    path = tmp_path / "file"
    make(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnusableFile, match=problem):
        ensure_private_file(path)
    assert sorted(tmp_path.iterdir()) == before


def test_device_is_refused() -> None:
    with pytest.raises(UnusableFile, match="not a file but a device"):
        ensure_private_file(Path("/dev/null"))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="Check that its folder exists"):
        ensure_private_file(tmp_path / "missing" / "file")


@pytest.mark.parametrize("function", [ensure_private_file, resolve_links])
def test_impossible_name_is_refused(function: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="null"):
        function(tmp_path / "a\0b")


def test_link_to_file_is_followed(tmp_path: Path) -> None:
    """A link to a file that exists is another name of it."""
    link, target = tmp_path / "link", tmp_path / "target"
    target.touch()
    link.symlink_to(target)
    assert ensure_private_file(link) == target.resolve()
    assert resolve_links(link) == resolve_links(target) == target.resolve()


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o600, 0o600), (0o400, 0o400)])
def test_permissions_of_others_are_taken(before: int, after: int, tmp_path: Path) -> None:
    """Also through a link, and from the files that SQLite left beside the database."""
    path, link = tmp_path / "file", tmp_path / "link"
    files = [path, tmp_path / "file-wal", tmp_path / "file-shm"]
    for file in files:
        file.touch()
        file.chmod(before)
    link.symlink_to(path)
    assert ensure_private_file(link) == path.resolve()
    restrict_database(path.resolve())
    assert [mode(file) for file in files] == [after] * 3


def test_open_file_is_watched(tmp_path: Path) -> None:
    """A file that grows is the same; one that shrinks, is replaced or deleted is not."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("a")
    other.write_text("other")
    watched, shrinking = OpenedFile(path), OpenedFile(path, shrinks=True)
    path.write_text("longer")
    assert watched.find_problem() == ""
    path.write_text("x")
    assert watched.find_problem() == "was cut off or overwritten"
    assert shrinking.find_problem() == ""
    os.replace(other, path)
    assert watched.find_problem() == shrinking.find_problem() == "was replaced by another file"
    path.unlink()
    assert watched.find_problem() == "was deleted or moved"
