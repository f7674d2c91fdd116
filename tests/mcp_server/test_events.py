"""Served flows that wait for signals and times: what a client is told, and how the run goes on."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from graphorch import START, Graph
from tests.mcp_server.serving import (
    AnyFlow,
    Letter,
    Served,
    State,
    Topic,
    Verdict,
    read_run_id,
    read_text,
    run,
    send_leg,
    write,
)


def build_signal() -> AnyFlow:
    """Return a flow that waits for a signal before it writes."""
    graph = Graph("letters", State, input=Topic, output=Letter)
    go = graph.signal("go", Verdict, key=lambda topic: topic.topic, expires=3_600.0)
    return graph.chain(START, go, write).build()


def build_timer() -> AnyFlow:
    """Return a flow that waits for a day before it writes."""
    graph = Graph("letters", State, input=Topic, output=Letter)
    return graph.chain(START, graph.timer("pause", after=timedelta(days=1)), write).build()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_client_is_told_which_signal(tmp_path: Path, mode: str) -> None:
    """A call of a run that waits for a signal ends at once, and says how to send it."""
    flow = build_signal()

    async def main() -> None:
        served = Served(tmp_path / "runs.sqlite", flow)
        async with served.connect(mode) as client:
            result = await client.call_tool("letters", {"topic": "tides"})
            text, run_id = read_text(result, is_error=True), read_run_id(result)
            assert "'go' waits for the signal 'go' with key 'tides', until 20" in text
            assert f"graphorch send flows.py {run_id[:8]} go VALUE --key tides" in text
            options: dict[str, Any] = {"key": "tides", "durable": served.db}
            await flow.send(run_id, "go", Verdict(approved=True), **options)
            meta: Any = {"graphorch/run_id": run_id}
            done = await client.call_tool("letters", {"topic": "tides"}, meta=meta)
            assert "A letter on tides" in read_text(done)
            assert len(await served.find_runs()) == 1

    run(main)


def test_call_after_the_time_lets_run_go_on(tmp_path: Path) -> None:
    """A call of a run that waits for a time says until when; one after that continues it."""
    flow, meta = build_timer(), {"graphorch/run_id": "order-17"}

    async def main() -> None:
        served = Served(tmp_path / "runs.sqlite", flow)
        async with served.connect() as client:
            waiting = await send_leg(client, meta=meta)
            text = read_text(waiting, is_error=True)
            assert "'pause' waits for its time, 20" in text
            assert "lets the run go on" in text
            again = read_text(await send_leg(client, meta=meta), is_error=True)
            assert again == text
        options: dict[str, Any] = {"clock": lambda: time.time() - 90_000.0}
        past = Served(tmp_path / "past.sqlite", flow, leg=0.5, **options)
        async with past.connect() as client:
            await send_leg(client, meta=meta)
        async with Served(tmp_path / "past.sqlite", flow).connect() as client:
            assert "A letter on tides" in read_text(await send_leg(client, meta=meta))

    run(main)
