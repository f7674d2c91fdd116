"""What is known of a run, as a tree of spans: run → sub-flow → node → attempt → model call → request and tool call.

Ids have the sizes of OpenTelemetry's (16 and 8 bytes, as hexadecimal digits) and derive from content: whoever reads the same records
gets the same ids, so nothing is told twice under two names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["run", "flow", "node", "ask", "attempt", "call", "request", "tool"]
"""`flow` is the activation of a sub-flow or map, `request` one try of a policy to get an answer for a call."""

SpanStatus: TypeAlias = Literal[
    "ok", "failed", "handled", "skipped", "cancelled", "waiting", "running", "lost"
]
"""`handled`: failed, and an error edge carried on. `lost`: began, and its process is gone."""

PARENT_TAG = "traceparent"
"""The tag of a run that holds the W3C trace context of its caller."""


@dataclass(slots=True)
class Span:
    """One thing that took time. Times are seconds since 1970; `seconds` is None while it is not over, and `began` 0 if nobody knows it.

    `step` is the path without the numbers of map items: what a picture shows as one box. `sent` counts HTTP requests, `retries` those to the
    same place again, `fallbacks` those to another place, `hedges` those sent beside a slow one. `loop` is set on the node that went back,
    `judge → write`. `is_copy`: taken over from another run, which paid for it. `role` is what the flow says that the node is (`agent`).
    """

    id: str
    parent: str
    kind: Kind
    path: str
    step: str
    node: str
    level: int
    attempt: int
    began: float
    seconds: float | None = None
    status: SpanStatus = "running"
    error: str = ""
    message: str = ""
    model: str = ""
    endpoint: str = ""
    policy: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0
    usd_source: str = ""
    first_token: float | None = None
    sent: int = 0
    retries: int = 0
    fallbacks: int = 0
    hedges: int = 0
    from_cache: bool = False
    loop: str = ""
    findings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    is_copy: bool = False
    role: str = ""

    @property
    def ended(self) -> float | None:
        """When it was over."""
        return None if self.seconds is None else self.began + self.seconds


@dataclass(slots=True)
class Trace:
    """One run: its head, and its spans by the order in which they began to exist. `budget` is the dollars that it was given."""

    run_id: str
    flow: str
    status: str
    reason: str
    tags: Mapping[str, str]
    parent: str | None
    began: float
    seconds: float | None
    budget: float | None
    seq: int
    spans: list[Span] = field(default_factory=list[Span])

    @property
    def trace_id(self) -> str:
        """The caller's trace, if the run has a valid `traceparent` tag, else one of its own."""
        return remote_parent(self.tags)[0] or trace_id(self.run_id)


def totals(trace: Trace) -> dict[str, Any]:
    """Calls, tokens and dollars of a run; what it took over from another run is not counted."""
    paid = [span for span in trace.spans if span.kind == "call" and not span.is_copy]
    return {
        "calls": len(paid),
        "input_tokens": sum(span.input_tokens for span in paid),
        "output_tokens": sum(span.output_tokens for span in paid),
        "usd": sum(span.usd for span in paid),
    }


def trace_id(run_id: str) -> str:
    """The id of a run's own trace: 32 hexadecimal digits."""
    return hashlib.blake2b(
        run_id.encode("utf-8", "replace"), digest_size=16, person=b"graphorch trace"
    ).hexdigest()


def run_span_id(run_id: str) -> str:
    """The id of a run's span: 16 hexadecimal digits."""
    return span_id(run_id)


def span_id(*parts: object) -> str:
    """The id of a span that is known by these."""
    return hashlib.blake2b(
        "\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=8
    ).hexdigest()


def remote_parent(tags: Mapping[str, str]) -> tuple[str, str]:
    """The trace and span id of whoever started the run (W3C Trace Context, level 1), or two empty texts."""
    parts = tags.get(PARENT_TAG, "").strip().lower().split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return "", ""
    if (
        not all(set(part) <= set("0123456789abcdef") for part in parts[:4])
        or not parts[1].strip("0")
        or not parts[2].strip("0")
    ):
        return "", ""
    return parts[1], parts[2]


def strip_index(path: str) -> str:
    """The path without the numbers of map items."""
    if "[" not in path:
        return path
    return "/".join(
        part.partition("[")[0] if part.endswith("]") else part for part in path.split("/")
    )
