"""One attempt of an activation: its task, its context, its model calls, its event."""

from __future__ import annotations
