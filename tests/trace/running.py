"""Runs of the example hierarchy in a store in memory, and what their traces say."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from graphorch.errors import RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from graphorch.trace.conversation.builder import Conversation, build_conversation
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.model import Span, Trace
from tests.trace.flows import Model, Order, shop


async def ran(
    run_id: str = "one", amount: int = 3, *, store: Store | None = None, **options: Any
) -> Store:
    """A run of the shop, whatever becomes of it."""
    kept = store or MemoryStore()
    settings: dict[str, Any] = {"client": Model(), **options}
    with contextlib.suppress(RunFailed):
        await shop().run(
            Order(order="tides", amount=amount), run_id=run_id, durable=kept, **settings
        )
    return kept


async def trace(store: Store, run_id: str = "one") -> Trace:
    log = await store.load(run_id)
    return build_trace(log.head, log.records, time.time())


async def conversation(store: Store, run_id: str = "one") -> Conversation:
    log = await store.load(run_id)
    return build_conversation(log.head, log.records, time.time())


def chain(run_trace: Trace, span: Span) -> list[str]:
    """The kinds and paths of a span and all around it, the outermost first."""
    by_id = {item.id: item for item in run_trace.spans}
    parts: list[str] = []
    at: Span | None = span
    while at is not None:
        parts.append(f"{at.kind} {at.path}".strip())
        at = by_id.get(at.parent)
    return parts[::-1]
