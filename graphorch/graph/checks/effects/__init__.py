"""Checks of what nodes do to the world, and how it is taken back."""

from __future__ import annotations
