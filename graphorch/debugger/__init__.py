"""Stepping through a run: sessions, breakpoints, and their display in a notebook."""

from __future__ import annotations
