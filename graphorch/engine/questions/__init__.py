"""The questions of a run, and the hook that a program outside of it hears of them by."""

from __future__ import annotations
