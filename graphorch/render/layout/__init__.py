"""Positions of boxes and curves of edges."""

from __future__ import annotations
