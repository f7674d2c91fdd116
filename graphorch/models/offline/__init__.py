"""A small embedded model that needs neither network nor key."""

from __future__ import annotations
