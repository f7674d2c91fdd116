"""A flow that looks at the status of its run, and a process that is killed while it answers it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from graphorch import Flow, Graph, node
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from tests.engine.questions.asking_flows import YES, Case, Done, Verdict, act
from tests.scenarios.test_crashes import Killing


def build_flow(seen: list[str], store: Store | None = None) -> Flow[Case, Case, Case]:
    """Build a flow whose last nodes look at the status of their run, and fail the first time."""
    fails = [True]

    @node
    async def look(verdict: Verdict) -> Done:
        if store is None:
            return Done(done=["looked"])
        seen.append((await store.load("r")).head.status)
        if fails:
            fails.clear()
            raise LookupError("nothing there")
        return Done(done=["looked"])

    graph = Graph("case", Case, input=Case, output=Case)
    ask = graph.ask("ask", question=lambda s: "go?", answer=Verdict)
    return graph.chain(ask, act, look).build()


async def answer_and_die(database: Path, *, after: bool) -> None:
    """Answer the question of the run, and be killed at the first append, before or after it."""
    store = await SqliteStore.open(database, sync="normal")
    durable: Any = Killing(store, 1, after=after)
    await build_flow([]).answer("r", "ask", YES, durable=durable)


if __name__ == "__main__":
    asyncio.run(answer_and_die(Path(sys.argv[1]), after=sys.argv[2] == "after"))
