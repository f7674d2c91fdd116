"""Export of traces, metrics and logs to OpenTelemetry."""

from __future__ import annotations
