"""Commands about models and policies."""

from __future__ import annotations
