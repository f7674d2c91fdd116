"""What runs did, read from their records: spans, statistics, conversations, reasons, and their export."""

from __future__ import annotations

from graphorch.trace.analysis.selection import Selection
from graphorch.trace.conversation.builder import Conversation, Turn, conversation_of
from graphorch.trace.export.exporter import Otlp
from graphorch.trace.export.propagation import continuing, headers_of
from graphorch.trace.export.recorder import Recorder, Sink
from graphorch.trace.spans.builder import trace_of
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Span, Trace
from graphorch.trace.spans.redaction import Redaction
from graphorch.trace.spans.sampling import Sampling

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
    "continuing",
    "conversation_of",
    "headers_of",
    "trace_of",
]
