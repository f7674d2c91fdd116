"""`graphorch.toml`, and the clients that it configures."""

from __future__ import annotations
