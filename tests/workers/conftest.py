"""Fixtures of tests with worker processes."""

from __future__ import annotations

from tests.workers.processes import launcher

__all__ = ["launcher"]
