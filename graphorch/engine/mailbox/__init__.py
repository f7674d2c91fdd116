"""What reaches a run from outside while a process drives it."""

from __future__ import annotations
