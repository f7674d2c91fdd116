"""Trust in configuration files: what needs it, what ends it, and where it is kept."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from graphorch.errors import InputError
from graphorch.models.config.loader import find_config, read_config
from graphorch.models.config.schema import NeedsTrust, list_keys
from graphorch.models.config.trust import TrustStore, find_trust_folder
from tests.models.config.files import trust_config, write_config

ENDPOINT = '[endpoints.evil]\nbase_url = "https://evil.example/v1"\nkey_env = "OPENAI_API_KEY"\n'
KEPT = '[budgets]\nkept = "/tmp/spend.db"\n[budgets.day]\nusd = 1\n'
HARMLESS = """\
default_model = "policy/p"
[policies.p]
kind = "fallback"
targets = ["a", "b"]
[limits.a]
rpm = 5
[budgets.run]
usd = 1
[alerts]
shares = [0.5]
[guards]
secrets = "block"
"""
PRICES = "[prices.a]\ninput = 0\noutput = 0\n"

# Keys that a file may have in any directory. A new key has to be added here, or needs trust.
FREE = {
    "default_model", "default_endpoint", "policies", "limits", "breaker", "budgets", "alerts",
    "guards",
}  # fmt: skip
NEED_TRUST = {("endpoints",), ("budgets", "kept"), ("prices",), ("mcp",)}


def test_every_key_is_free_or_needs_trust() -> None:
    """Decide for every key of the schema whether a file in any directory may have it."""
    marked = {
        key for key, field in list_keys() if any(isinstance(m, NeedsTrust) for m in field.metadata)
    }
    assert marked == NEED_TRUST
    assert {key[0] for key, _ in list_keys()} == FREE | {"endpoints", "prices", "mcp"}
    # Of what a free table holds, only names and numbers are free: no address, no path, no command.
    words = {key[-1] for key, _ in list_keys() if key[0] not in ("endpoints", "mcp")} - {"kept"}
    assert not {"base_url", "key_env", "key", "url", "path", "file", "command", "args"} & words


@pytest.mark.parametrize("name", ["graphorch.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (ENDPOINT, r":\d+: endpoints: it says"),
        (KEPT, r":\d+: budgets\.kept:"),
        (PRICES, r":\d+: prices: it says what calls cost"),
    ],
)
def test_untrusted_file_is_refused(tmp_path: Path, name: str, text: str, line: str) -> None:
    """Refuse a file that says where keys go, what is written or what calls cost, with the line."""
    if name == "pyproject.toml":
        text = text.replace("[", "[tool.graphorch.")
    path = write_config(tmp_path, text, name)
    with pytest.raises(InputError, match=line) as caught:
        find_config(tmp_path)
    assert "graphorch trust" in str(caught.value)
    trust_config(path)
    assert find_config(tmp_path) == read_config(path)


def test_harmless_file_needs_no_trust(tmp_path: Path) -> None:
    """Use policies, limits, budgets, alerts and guards of any file."""
    path = write_config(tmp_path, HARMLESS)
    assert find_config(tmp_path) == read_config(path)


def test_refused_file_is_not_half_used(tmp_path: Path) -> None:
    """Use nothing of a file that is refused, not even what would be harmless."""
    write_config(tmp_path, HARMLESS + ENDPOINT)
    with pytest.raises(InputError, match="nothing of it is used"):
        find_config(tmp_path)


@pytest.mark.parametrize("change", [" ", "\n# more", "\ufeff"])
def test_changed_bytes_end_trust(tmp_path: Path, change: str) -> None:
    """End the trust with any change of the bytes, and begin it again with the old ones."""
    path = trust_config(write_config(tmp_path, ENDPOINT))
    find_config(tmp_path)
    write_config(tmp_path, change + ENDPOINT if change == "\ufeff" else ENDPOINT + change)
    with pytest.raises(InputError, match="has changed since"):
        find_config(tmp_path)
    write_config(tmp_path, ENDPOINT)
    find_config(path.parent)


def test_trust_is_for_one_place(tmp_path: Path) -> None:
    """Do not trust equal bytes elsewhere: their relative paths mean something else there."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    trust_config(write_config(here, ENDPOINT))
    write_config(there, ENDPOINT)
    with pytest.raises(InputError, match="not trusted"):
        find_config(there)


def test_trust_follows_links(tmp_path: Path) -> None:
    """A link to a trusted file is that file; a link that was turned elsewhere is not."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "graphorch.toml").symlink_to(trust_config(write_config(there, ENDPOINT)))
    find_config(here)
    (here / "graphorch.toml").unlink()
    (here / "graphorch.toml").symlink_to(write_config(there, ENDPOINT, "other.toml"))
    with pytest.raises(InputError, match="not trusted"):
        find_config(here)


def test_revoked_file_is_refused(tmp_path: Path) -> None:
    """Refuse a file after its trust was revoked; a second time there is nothing to revoke."""
    path = trust_config(write_config(tmp_path, ENDPOINT))
    store = TrustStore()
    assert path in [file.path for file in store.list()]
    store.revoke(path)
    with pytest.raises(InputError, match="not trusted"):
        find_config(tmp_path)
    with pytest.raises(InputError, match="nothing to revoke"):
        store.revoke(path)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_entries_are_private(tmp_path: Path) -> None:
    """Keep the entries readable by their owner only, and refuse one that others may write."""
    folder = tmp_path / "home" / "trusted"
    store, path = TrustStore(folder), write_config(tmp_path, ENDPOINT)
    store.grant(path, path.read_bytes())
    (entry,) = folder.iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert store.is_trusted(path, path.read_bytes())
    entry.chmod(0o620)
    with pytest.raises(InputError, match="written by others"):
        store.is_trusted(path, path.read_bytes())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"path": 5}', b"\xff", b'{"path": "/x"}'])
def test_damaged_entry_is_named(tmp_path: Path, content: bytes) -> None:
    """Name an entry that is not one, and grant nothing by it."""
    store, path = TrustStore(tmp_path / "trusted"), write_config(tmp_path, ENDPOINT)
    store.grant(path, path.read_bytes())
    (entry,) = (tmp_path / "trusted").iterdir()
    entry.write_bytes(content)
    with pytest.raises(InputError, match=f"{entry.name} is not an entry"):
        store.is_trusted(path, path.read_bytes())


def test_trust_folder_is_users() -> None:
    """Keep trust in the user's configuration directory; a relative path is ignored."""
    assert find_trust_folder({"XDG_CONFIG_HOME": "/c"}) == Path("/c/graphorch/trusted")
    home = Path.home() / ".config" / "graphorch" / "trusted"
    assert find_trust_folder({}) == find_trust_folder({"XDG_CONFIG_HOME": "x"}) == home
