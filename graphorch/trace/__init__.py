"""What runs did, read from their records: spans, statistics, conversations, reasons, and their export."""

from __future__ import annotations

from graphorch.trace.conversation import Conversation, Turn, conversation_of
from graphorch.trace.derive import trace_of
from graphorch.trace.exporter import Otlp
from graphorch.trace.index import SpanIndex
from graphorch.trace.propagation import continuing, headers_of
from graphorch.trace.recorder import Recorder, Sink
from graphorch.trace.redaction import Redaction
from graphorch.trace.sampling import Sampling
from graphorch.trace.selection import Selection
from graphorch.trace.spans import Span, Trace

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
