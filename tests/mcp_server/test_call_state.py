"""The key beside a journal: made once, for its owner, and never guessed from a damaged file."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.journal.address import parse_address
from graphorch.mcp_server.call_state import digest_question, read_key
from graphorch.runs.result import Question
from tests.mcp_server.serving import Letter, Verdict


def test_key_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """Servers that start at once have one key, which only its owner can read."""
    journal = parse_address(str(tmp_path / "runs.sqlite"))
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(read_key, [journal] * 16))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    (file,) = tmp_path.iterdir()
    assert file.name == "runs.sqlite.mcp-key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_key_of_database_is_in_user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of this user has the same key, whatever its password is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    keys = {
        read_key(parse_address(f"postgresql://{login}@host/runs")) for login in ("u:a", "u:b", "u")
    }
    assert len(keys) == 1
    assert read_key(parse_address("postgresql://u@host/others")) not in keys
    assert stat.S_IMODE((tmp_path / "graphorch").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"not a key", b"ab" * 31, b"\xff\xfe" * 32])
def test_damaged_key_is_named(tmp_path: Path, content: bytes) -> None:
    """A file that holds no key is neither used nor overwritten; the message says what to do."""
    file = tmp_path / "runs.sqlite.mcp-key"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"runs\.sqlite\.mcp-key' holds no key.*Delete it"):
        read_key(parse_address(str(tmp_path / "runs.sqlite")))
    assert file.read_bytes() == content


def test_key_without_folder_is_named(tmp_path: Path) -> None:
    """A key that cannot be kept is one clear error."""
    with pytest.raises(InputError, match="cannot be kept"):
        read_key(parse_address(str(tmp_path / "nowhere" / "runs.sqlite")))


def test_digest_covers_what_person_saw() -> None:
    """Another text, type or question is another digest."""
    question = Question("1", "approve", "approve", "Send it?", Verdict)
    others = [
        Question("2", "approve", "approve", "Send it?", Verdict),
        Question("1", "approve", "approve", "Send it now?", Verdict),
        Question("1", "approve", "approve", "Send it?", Letter),
    ]
    assert len({digest_question(each) for each in (question, question, *others)}) == 4
