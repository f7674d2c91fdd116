"""Policies that answer one call from several targets: fallback, cascade, weighted and others."""

from __future__ import annotations
