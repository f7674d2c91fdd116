"""The configuration files that a person trusts: kept by path and digest in the user's own folder.

A `graphorch.toml` in the current directory may come with a downloaded project. Until the person
trusts it, it may choose among models and set limits, but say neither where prompts and keys go, nor
which file is written, nor what calls cost: with prices of its own it could have any budget spent
many times over.

Rules of this file:
1. Trust is for one path and the exact bytes of the file; any change of either ends it.
2. What was checked is what is used: a file is read once, and its bytes are digested and parsed.
3. Each trusted file has an entry of its own, written whole or not at all, which only its owner may
   read or write. An entry that others could have written is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from graphorch.errors import InputError
from graphorch.private_files import UnusableFile, find_user_folder

_SUFFIX = ".json"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A configuration file and the SHA-256 of the bytes that are trusted."""

    path: Path
    digest: str


def compute_digest(content: bytes) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def resolve_path(path: Path) -> Path:
    """Return the absolute path of the real file, without links."""
    return Path(os.path.realpath(path))


def find_trust_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the entries, in the user's configuration directory.

    That is `XDG_CONFIG_HOME` if it is an absolute path, `APPDATA` on Windows, else `~/.config`.
    Raises `InputError` if the user has no home directory.
    """
    try:
        return find_user_folder("config", environment) / "trusted"
    except UnusableFile as error:
        raise InputError(str(error)) from error


class TrustStore:
    """The entries in a folder, one for each trusted file. Raises `InputError` where it fails."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or find_trust_folder()

    def is_trusted(self, path: Path, content: bytes) -> bool:
        """Return whether a file with exactly these bytes is trusted at this path."""
        entry = self._read(self._locate(path))
        return entry == TrustedFile(resolve_path(path), compute_digest(content))

    def grant(self, path: Path, content: bytes) -> None:
        """Trust a file with these bytes at this path, in place of what was trusted there."""
        entry = self._locate(path)
        described = {"path": str(resolve_path(path)), "sha256": compute_digest(content)}
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_privately(entry, json.dumps(described) + "\n")
        except OSError as error:
            raise self._build_error(entry, error, "written") from error

    def revoke(self, path: Path) -> None:
        """Trust the file at a path no longer. Raises `InputError` if it was not trusted."""
        entry = self._locate(path)
        try:
            entry.unlink()
        except FileNotFoundError:
            raise InputError(
                f"{path} is not trusted, so there is nothing to revoke. "
                "`graphorch trust list` shows the files that are."
            ) from None
        except OSError as error:
            raise self._build_error(entry, error, "removed") from error

    def list(self) -> Iterator[TrustedFile]:
        """Yield the trusted files, by path."""
        try:
            entries = sorted(self._folder.glob(f"*{_SUFFIX}"))
        except OSError as error:
            raise self._build_error(self._folder, error, "read") from error
        trusted = [file for entry in entries if (file := self._read(entry)) is not None]
        yield from sorted(trusted, key=lambda file: file.path)

    def _locate(self, path: Path) -> Path:
        """Return the entry of a path: one for each real file, whatever link leads to it."""
        name = hashlib.sha256(os.fsencode(resolve_path(path))).hexdigest()
        return self._folder / f"{name}{_SUFFIX}"

    def _read(self, entry: Path) -> TrustedFile | None:
        try:
            with entry.open("rb") as stream:
                _require_private(entry, os.fstat(stream.fileno()))
                described: Any = json.loads(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._build_error(entry, error, "read") from error
        except ValueError:
            described = None
        fields = cast("dict[str, Any]", described) if isinstance(described, dict) else {}
        path, digest = fields.get("path"), fields.get("sha256")
        if not isinstance(path, str) or not isinstance(digest, str):
            raise InputError(
                f"{entry} is not an entry of a trusted file. Delete it, and trust the file again."
            )
        return TrustedFile(Path(path), digest)

    def _build_error(self, entry: Path, error: OSError, done: str) -> InputError:
        return InputError(
            f"{entry} cannot be {done}: {error.strerror}. It keeps which configuration files you "
            "trust; XDG_CONFIG_HOME moves it."
        )


def _write_privately(path: Path, text: str) -> None:
    """Write a file that only its owner may read, through a temporary one beside it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _require_private(entry: Path, found: os.stat_result) -> None:
    """Raise `InputError` for an entry that someone else owns or may change."""
    if os.name != "posix":
        return  # the folder belongs to the user there, and modes say nothing
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & _WRITABLE_BY_OTHERS:
        raise InputError(
            f"{entry} could have been written by others, so it grants nothing. "
            f"Delete it, and trust the file again, or run: chmod 600 {entry}"
        )
