"""The picture of the page in the README."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.server.page.browser import needs_browser
from tests.server.page.picture import PICTURE, ROOT, SIZE, take_picture


def measure(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_readme_shows_page() -> None:
    """The README shows the picture that the command writes."""
    assert f"]({PICTURE.relative_to(ROOT).as_posix()})" in (ROOT / "README.md").read_text()
    assert measure(PICTURE) == (SIZE["width"], SIZE["height"])


@needs_browser
@pytest.mark.slow
def test_picture_is_taken_by_command(tmp_path: Path) -> None:
    """The command takes a picture of a page that shows a run."""
    take_picture(tmp_path / "page.png")
    assert measure(tmp_path / "page.png") == (SIZE["width"], SIZE["height"])
    assert (tmp_path / "page.png").stat().st_size > 50_000  # an empty page is smaller
