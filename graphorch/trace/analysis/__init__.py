"""Questions about runs: statistics, explanations, critical paths."""

from __future__ import annotations
