"""Records of a run as a conversation: who said what to whom."""

from __future__ import annotations
