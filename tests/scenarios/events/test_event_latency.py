"""How soon a signal or an answer takes effect in a run that another process drives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest

from graphorch.journal.errors import RunNotFound
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.events.listening import ROUNDS, Payment, Verdict, build_flow


async def wait_for(store: SqliteStore, kind: str, path: str, count: int) -> float:
    """Return the time of the n-th record of a kind and path, once there is one."""
    while True:
        try:
            records = (await store.load("r")).records
        except RunNotFound:
            records = ()
        times = [
            record.body["at"]
            for record in records
            if record.kind == kind and record.body.get("path") == path
        ]
        if len(times) >= count:
            return float(times[count - 1])
        await asyncio.sleep(0.005)


async def measure(database: Path, kind: str) -> list[float]:
    """Return the seconds from sending to the commit of what follows, for each round."""
    flow, seconds = build_flow(), list[float]()
    store = await SqliteStore.open(database, sync="normal")
    is_signal = kind == "signal"
    waits, path, effect = ("waiting", "paid", "take") if is_signal else ("asked", "ask", "act")
    try:
        for number in range(1, ROUNDS + 1):
            await wait_for(store, waits, path, number)
            await asyncio.sleep(0.013 * (number % 5))  # at any moment between two looks
            options: Any = {"durable": store, "wait": False}
            began = time.time()
            if is_signal:
                await flow.send_signal("r", "paid", Payment(amount=number), **options)
            else:
                await flow.send_answer("r", "ask", Verdict(number=number), **options)
            seconds.append(await wait_for(store, "commit", effect, number) - began)
    finally:
        await store.close()
    return seconds


@pytest.mark.slow
def test_effect_follows_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a quiet machine half of all signals and answers take effect within 50 ms."""
    database = tmp_path / "runs.sqlite"
    command = [sys.executable, "-m", "tests.scenarios.events.listening", str(database)]
    with subprocess.Popen(command) as owner:
        try:
            for kind in ("signal", "answer"):
                seconds = asyncio.run(asyncio.wait_for(measure(database, kind), 100))
                middle, most = median(seconds), quantiles(seconds, n=20)[-1]
                with capsys.disabled():
                    load = os.getloadavg()[0]
                    print(
                        f"\n{kind}: median {1e3 * middle:.0f} ms, P95 {1e3 * most:.0f} ms", end=""
                    )
                    print(f", load {load:.1f}")
                assert middle < (0.05 if load < 1.0 else 1.0)
        finally:
            owner.kill()
