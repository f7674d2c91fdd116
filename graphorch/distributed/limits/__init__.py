"""Budgets of days and tags, and rates of targets, that all processes of a database share."""

from __future__ import annotations
