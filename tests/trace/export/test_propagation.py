"""W3C trace context: runs join the trace of a caller, and requests that of a run."""

from __future__ import annotations

import asyncio

import pytest

from graphorch import Context, Graph, node
from graphorch.journal.memory import MemoryStore
from graphorch.trace.export.propagation import build_headers, continuing
from graphorch.trace.spans.model import derive_trace_id, parse_remote_parent
from tests.trace.flows import Order, Reply, Shop
from tests.trace.running import trace


def test_build_headers_names_attempt() -> None:
    """The headers of a node hold its place in the trace."""
    seen: dict[str, str] = {}

    @node
    async def call(ctx: Context[object], order: Order) -> Reply:
        seen.update(build_headers(ctx, "one"))
        return Reply(reply="done")

    async def main() -> None:
        store = MemoryStore()
        await (
            Graph("out", Shop, input=Order, output=Reply)
            .chain(call)
            .build()
            .run(Order(), run_id="one", durable=store)
        )
        attempt = next(span for span in (await trace(store)).spans if span.kind == "attempt")
        assert parse_remote_parent(seen) == (derive_trace_id("one"), attempt.id)

    asyncio.run(main())


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-0-0-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "x" * 500,
        "00-é",
    ],
)
def test_invalid_trace_context_is_ignored(header: str) -> None:
    """A header that is not a trace context is ignored."""
    assert continuing({"traceparent": header}) == {}
