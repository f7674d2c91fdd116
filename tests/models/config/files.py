"""Configuration files for tests."""

from __future__ import annotations

from pathlib import Path


def write_config(folder: Path, text: str, name: str = "graphorch.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
