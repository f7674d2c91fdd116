"""Beginning, resuming and ending runs, and their results."""

from __future__ import annotations
