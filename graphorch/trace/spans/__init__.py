"""Records of a run as spans."""

from __future__ import annotations
