"""Policies in traces: fallbacks, retries, their cost, and the decision."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from graphorch import Graph
from graphorch.clock import Runtime
from graphorch.errors import RunFailed
from graphorch.journal.memory import MemoryStore
from graphorch.models.errors import Truncated
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from graphorch.trace.analysis import statistics
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.model import Trace
from tests.models.fakes import Answer, FakeModel, status
from tests.models.virtual import run
from tests.trace.flows import Order, Reply, Shop, answer
from tests.trace.running import conversation, trace

FLOW: Any = Graph("policies", Shop, input=Order, output=Reply).chain(answer).build()


def cut_off(usd: float, *, retryable: bool = True) -> Truncated:
    """An answer that was charged for, and is of no use."""
    error = Truncated("cut off", model="a", retryable=retryable)
    error.usd = usd
    return error


async def asked(runtime: Runtime, *models: FakeModel) -> tuple[Trace, MemoryStore]:
    store = MemoryStore()
    targets = [
        Target(name, model, model=name, runtime=runtime)
        for name, model in zip("ab", models, strict=True)
    ]
    with contextlib.suppress(RunFailed):
        await FLOW.run(
            Order(order="tides"),
            run_id="one",
            durable=store,
            client=fallback("p", targets, runtime=runtime),
        )
    return await trace(store), store


def test_fallback_has_request_spans() -> None:
    """A fallback has a span for each request and one price."""

    async def main(runtime: Runtime) -> None:
        run_trace, store = await asked(
            runtime, FakeModel(status(500)), FakeModel(Answer("from b", usd=0.02))
        )
        call = next(span for span in run_trace.spans if span.kind == "call")
        assert (
            call.status,
            call.policy,
            call.endpoint,
            call.fallbacks,
            call.retries,
            call.usd,
        ) == ("ok", "p", "b", 1, 0, 0.02)
        requests = [
            (span.endpoint, span.status, span.error)
            for span in run_trace.spans
            if span.parent == call.id
        ]
        assert requests == [("a", "failed", "server"), ("b", "ok", "")]
        turn = next(turn for turn in (await conversation(store)).turns if turn.kind == "calls")
        assert turn.decision.splitlines()[0] == "p (fallback): answered by b"
        assert "→ a: server" in turn.decision

    run(main)


def test_useless_answers_are_counted() -> None:
    """The cost of answers that were of no use is counted."""

    async def main(runtime: Runtime) -> None:
        _, store = await asked(
            runtime, FakeModel(cut_off(0.5)), FakeModel(Answer("from b", usd=0.25))
        )
        _, other = await asked(runtime, FakeModel(cut_off(0.5)), FakeModel(cut_off(0.125)))
        _, last = await asked(
            runtime, FakeModel(cut_off(0.5)), FakeModel(cut_off(0.25, retryable=False))
        )
        # `other` asks both twice
        for kept, usd, failed, requests in (
            (store, 0.75, 0, 1),
            (other, 1.25, 1, 4),
            (last, 0.75, 1, 1),
        ):
            with SpanIndex.open(kept) as index:
                await index.catch_up(kept)
                (row,) = statistics.calls(index)
                assert (row.usd, row.failed, row.failed_requests) == (usd, failed, requests)

    run(main)


@pytest.mark.parametrize("by", ["endpoint", "model"])
def test_requests_group_by_endpoint(by: str) -> None:
    """Requests are counted by their endpoints."""

    async def main(runtime: Runtime) -> None:
        _, store = await asked(
            runtime, FakeModel(status(500)), FakeModel(Answer("from b", usd=0.02))
        )
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            counts = {
                (row.key, row.what, row.error): row.count for row in statistics.errors(index, [by])
            }
        assert counts == {(("a",), "request", "server"): 1}

    run(main)
