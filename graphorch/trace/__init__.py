"""Readers of stored runs: spans, statistics, conversations, explanations, and their export."""

from __future__ import annotations

from graphorch.trace.analysis.selection import Selection
from graphorch.trace.conversation.builder import Conversation, build_conversation
from graphorch.trace.conversation.turns import Turn
from graphorch.trace.export.exporter import Otlp
from graphorch.trace.export.propagation import continuing
from graphorch.trace.export.recorder import Recorder, Sink
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace.spans.sampling import Sampling
from graphorch.trace_context import current_headers

__all__ = [
    "Conversation",
    "Otlp",
    "Recorder",
    "Redaction",
    "Sampling",
    "Selection",
    "Sink",
    "Span",
    "SpanIndex",
    "Trace",
    "Turn",
    "build_conversation",
    "build_trace",
    "continuing",
    "current_headers",
]
