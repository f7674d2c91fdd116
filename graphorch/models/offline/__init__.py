"""Embedded model for offline use: it extracts its answers from the prompt."""

from __future__ import annotations
