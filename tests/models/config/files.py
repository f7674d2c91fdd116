"""Configuration files for tests."""

from __future__ import annotations

from pathlib import Path

from graphorch.models.config.trust import TrustStore


def write_config(folder: Path, text: str, name: str = "graphorch.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def trust_config(path: Path) -> Path:
    TrustStore().grant(path, path.read_bytes())
    return path
