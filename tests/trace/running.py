"""Runs of the example hierarchy in a store in memory, and readers of their records."""

from __future__ import annotations

import contextlib
from typing import Any

from graphorch.core.run import Run
from graphorch.engine.replay import rebuild
from graphorch.errors import RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from graphorch.trace.conversation.builder import Conversation, build_conversation
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.model import Span, Trace
from tests.trace.flows import AnyFlow, Model, Order, shop


async def ran(
    run_id: str = "one", amount: int = 3, *, store: Store | None = None, **options: Any
) -> Store:
    """Run the shop to its end or failure."""
    kept = store or MemoryStore()
    settings: dict[str, Any] = {"client": Model(), **options}
    with contextlib.suppress(RunFailed):
        await shop().run(
            Order(order="tides", amount=amount), run_id=run_id, durable=kept, **settings
        )
    return kept


async def trace(store: Store, run_id: str = "one") -> Trace:
    log = await store.load(run_id)
    return build_trace(log.head, log.records)


async def conversation(store: Store, run_id: str = "one") -> Conversation:
    log = await store.load(run_id)
    return build_conversation(log.head, log.records)


async def rebuild_run(
    store: Store, flow: AnyFlow, run_id: str = "one", until: int | None = None
) -> Run:
    """Rebuild the state of a run from its records up to `until`."""
    log = await store.load(run_id)
    return rebuild(flow.plan, run_id, log.records, until=until).run


def chain(run_trace: Trace, span: Span) -> list[str]:
    """Return the kinds and paths of a span and all around it, the outermost first."""
    by_id = {item.id: item for item in run_trace.spans}
    parts: list[str] = []
    at: Span | None = span
    while at is not None:
        parts.append(f"{at.kind} {at.path}".strip())
        at = by_id.get(at.parent)
    return parts[::-1]
