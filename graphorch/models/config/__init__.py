"""`graphorch.toml`, and the clients and accounts that it configures."""

from __future__ import annotations
