"""Drawing a laid-out picture as SVG."""

from __future__ import annotations
