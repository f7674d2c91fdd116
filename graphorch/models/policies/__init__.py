"""Policies that choose among several targets for one call: fallback, cascade, weighted, cheapest, fastest."""

from __future__ import annotations
