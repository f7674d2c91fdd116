"""Budgets of dollars, tokens and calls: what is reserved before a call is spent at most."""

from __future__ import annotations
