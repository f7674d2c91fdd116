"""Estimates of cost and time before a run."""

from __future__ import annotations
