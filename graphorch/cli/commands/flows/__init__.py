"""Commands about a flow that run nothing: check, draw, describe, estimate."""

from __future__ import annotations
