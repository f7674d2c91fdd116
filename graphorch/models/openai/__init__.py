"""The client for OpenAI-compatible endpoints."""

from __future__ import annotations

from graphorch.models.openai.client import CallLimits, OpenAIClient

__all__ = ["CallLimits", "OpenAIClient"]
