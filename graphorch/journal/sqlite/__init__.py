"""The journal in an SQLite file."""

from __future__ import annotations
