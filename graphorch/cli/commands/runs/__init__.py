"""Commands that make, continue, repeat and list runs."""

from __future__ import annotations
