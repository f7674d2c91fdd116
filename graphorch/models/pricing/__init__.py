"""Prices of models, and the worst-case and actual cost of a call."""

from __future__ import annotations
