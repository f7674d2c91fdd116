"""The token: fresh for each start, or in a file that only its owner can read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.server.gate.token import is_token, keep_token, make_token


def test_tokens_are_fresh_and_plain() -> None:
    """No two are equal, and a URL holds them as they are."""
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.replace("-", "").replace("_", "").isalnum() for token in tokens)
    assert all(len(token) == 43 for token in tokens)


def test_token_is_compared_whole() -> None:
    """Neither a part nor something longer is the token, and no text is refused as such."""
    token = make_token()
    assert is_token(token.encode(), token)
    for other in (b"", token[:-1].encode(), token.encode() + b"x", b"\xff" * 43):
        assert not is_token(other, token)


def test_kept_token_is_private(tmp_path: Path) -> None:
    """A file is made for its owner only, and the next start finds the same token."""
    tmp_path.chmod(0o700)
    path = tmp_path / "token"
    token = keep_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keep_token(path) == token


def test_kept_token_may_be_written_by_hand(tmp_path: Path) -> None:
    """A token may come from elsewhere, such as a secret that a machine was given."""
    path = tmp_path / "token"
    path.write_text(f"{'a' * 40}\n")
    path.chmod(0o600)
    assert keep_token(path) == "a" * 40


def test_link_is_no_token_file(tmp_path: Path) -> None:
    """A link, also one into the void, is not followed: others may have put it there."""
    keep_token(tmp_path / "token")
    for target in ("token", "nothing"):
        link = tmp_path / f"link to {target}"
        link.symlink_to(tmp_path / target)
        with pytest.raises(InputError, match="cannot be read: Too many levels"):
            keep_token(link)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A file that others may read or write is not used."""
    path = tmp_path / "token"
    keep_token(path)
    path.chmod(mode)
    with pytest.raises(InputError, match="others may read or write it"):
        keep_token(path)


def test_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """In a folder of all, somebody else could choose the token."""
    tmp_path.chmod(0o777)
    with pytest.raises(InputError, match="others may write to the folder"):
        keep_token(tmp_path / "token")


@pytest.mark.parametrize("text", ["", "short", "a" * 300, "with spaces " * 4, "ü" * 40])
def test_file_without_token_is_refused(tmp_path: Path, text: str) -> None:
    """A file that holds something else is not overwritten."""
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InputError, match="it holds no token"):
        keep_token(path)
    assert path.read_text() == text


def test_folder_is_no_token_file(tmp_path: Path) -> None:
    """What is no file, or cannot be made, is said."""
    with pytest.raises(InputError, match=r"it is not a file|Is a directory"):
        keep_token(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        keep_token(tmp_path / "none" / "token")
