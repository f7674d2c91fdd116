"""The W3C trace context, in and out: a caller's trace goes on in a run, and a run's trace goes on in what its nodes call.

In: `flow.run(…, tags=continuing(request.headers))`. Out: `headers_of(ctx, tags)` for a request that a node makes itself. Where the process
uses OpenTelemetry, `continuing()` without headers takes the span that is current there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from graphorch.trace.spans.model import PARENT_TAG, remote_parent, run_span_id, span_id, trace_id


class HasPlace(Protocol):
    """What a context tells of where it is: `key` is the activation's id."""

    @property
    def key(self) -> str:
        """The activation."""
        ...

    @property
    def attempt(self) -> int:
        """The attempt."""
        ...


def continuing(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Tags for a run that is part of the caller's trace; none if the headers (or OpenTelemetry) name no valid one."""
    found = (
        _current()
        if headers is None
        else next((value for name, value in headers.items() if name.lower() == PARENT_TAG), "")
    )
    tags = {PARENT_TAG: found.strip().lower()}
    return tags if remote_parent(tags)[0] else {}


def build_headers(
    ctx: HasPlace, run_id: str, tags: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The header with which a node hands its place in the trace on; `tags` are those of the run, if they hold a caller's trace."""
    trace = remote_parent(tags or {})[0] or trace_id(run_id)
    return {PARENT_TAG: f"00-{trace}-{span_id(ctx.key[:16], ctx.attempt)}-01"}


def headers_of_run(run_id: str, tags: Mapping[str, str] | None = None) -> dict[str, str]:
    """The same for what belongs to the run as a whole."""
    trace = remote_parent(tags or {})[0] or trace_id(run_id)
    return {PARENT_TAG: f"00-{trace}-{run_span_id(run_id)}-01"}


def _current() -> str:
    """The current span of OpenTelemetry, if the process has loaded that."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return ""
    context = api.get_current_span().get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
