"""Writes the golden journals of the present format.

Run `python -m tests.golden.make` in the root of the repository, on Linux or macOS. It is done once
for each format of the records, when that format is released, and never again for a released one:
these files stand for what users have on their disks. `expected.json` holds the last state of each
flow, `requests.json` what each pattern asks a model.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from graphorch import Request, Response, RunFailed, ToolApproval
from graphorch.journal.record_kinds import FORMAT
from graphorch.journal.sqlite.store import SqliteStore
from tests.golden.event_flows import EVENT_RUNS, Acts, Address, Payment, event_flow, undo_flow
from tests.golden.event_flows import Order as Quantity
from tests.golden.flows import FLOWS, TOPIC, Answering, to_the_end
from tests.golden.flows import World as FlowWorld
from tests.golden.pattern_flows import PATTERNS, SUBJECT, Model, sorted_requests, to_the_end_of
from tests.golden.tool_flows import ORDER, TOOL_RUNS, Caller, World, tool_flow
from tests.golden.wide_flows import WIDE_RUNS, Desk, drive_wide

FOUR = Quantity(order=4)
FOLDER = Path(__file__).parent / f"format_{FORMAT}"


class Dying(Answering):
    """Model whose second call is the last thing that the process does."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """Answer, or kill the process at the second call."""
        if self.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().complete(request, on_text)


async def write(name: str, path: Path) -> None:
    """Record a run in a journal of its own, as far as it gets."""
    client = Dying() if name == "crashed" else Answering()
    # the lease of the one that dies has run out when it is read
    store = await SqliteStore.open(path, clock=lambda: time.time() - 3_600)
    try:
        await FLOWS[name]().run(
            TOPIC,
            run_id=name,
            durable=store,
            client=client,
            resources=FlowWorld(),
            tags={"kind": "golden"},
        )
    except RunFailed:
        assert name == "failed"
    finally:
        await store.close()


async def write_pattern(name: str, path: Path, dies_at: int | None) -> None:
    """Record a run of a pattern in a journal of its own.

    The process dies at the model call `dies_at`, or the run goes as far as it gets.
    """
    client = Model(dies_at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    store = await SqliteStore.open(path, clock=lambda: time.time() - 3_600)
    await PATTERNS[name]().run(
        SUBJECT, run_id=name, durable=store, client=client, tags={"kind": "golden"}
    )
    await store.close()


async def write_tools(name: str, path: Path) -> None:
    """Record a run of an agent with tools: it waits, was changed by a person, or dies in a tool."""
    dies = (lambda: os.kill(os.getpid(), signal.SIGKILL)) if name == "tools.crashed" else None
    store = await SqliteStore.open(path, clock=lambda: time.time() - 3_600)
    flow, options = tool_flow(World(dies)), {"durable": store, "client": Caller()}
    waiting = await flow.run(ORDER, run_id=name, tags={"kind": "golden"}, **options)
    if name != "tools.waiting":
        less = ToolApproval(approved=True, arguments={"order": "A7", "amount": 90})
        await flow.answer(name, waiting.questions[0], less, **options)
    await store.close()


async def write_events(name: str, path: Path) -> None:
    """Record a run that waits for events, one that got them, or one that dies while it undoes."""
    store = await SqliteStore.open(path, clock=lambda: time.time() - 3_600)
    options: dict[str, Any] = {"durable": store, "tags": {"kind": "golden"}}
    if name == "undo.crashed":
        acts = Acts(lambda: os.kill(os.getpid(), signal.SIGKILL))
        await undo_flow().run(FOUR, run_id=name, resources=acts, **options)
    flow = event_flow()
    await flow.run(FOUR, run_id=name, **options)
    await flow.send(name, "address", Address(street="Main Street"), durable=store)
    if name == "events.finished":
        await flow.send(name, "paid", Payment(amount=3), durable=store)
    await store.close()


async def write_wide(name: str, path: Path) -> None:
    """Record a run whose map has more items at once than a plain process would, or dies in it."""
    dies = (lambda: os.kill(os.getpid(), signal.SIGKILL)) if name == "wide.crashed" else None
    store = await SqliteStore.open(path, clock=lambda: time.time() - 3_600)
    await drive_wide(store, name, Desk(dies))
    await store.close()


async def settle(path: Path) -> None:
    """Move what is in the log of a journal into its file."""
    await (await SqliteStore.open(path)).close()


def in_a_process(path: Path, target: Path, work: Coroutine[Any, Any, None]) -> None:
    """Write a journal in a process that may die, and copy what is left of it."""
    child = os.fork()
    if child == 0:
        asyncio.run(work)
        os._exit(0)
    work.close()
    os.waitpid(child, 0)
    asyncio.run(settle(path))
    shutil.copyfile(path, target)


def main() -> None:
    """Write all golden journals and what is expected of them."""
    FOLDER.mkdir(exist_ok=True)
    states: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in FLOWS.items():
            path = Path(folder) / f"{name}.sqlite"
            in_a_process(path, FOLDER / f"{name}.golden", write(name, path))
            states[name] = asyncio.run(to_the_end(make(), name)).model_dump(mode="json")
        for name, make in PATTERNS.items():
            model = Model()
            states[name] = asyncio.run(to_the_end_of(make(), name, client=model)).model_dump(
                mode="json"
            )
            requests[name] = sorted_requests(model)
            for suffix, dies_at in (("", None), (".crashed", len(model.requests) // 2)):
                path = Path(folder) / f"{name}{suffix}.sqlite"
                in_a_process(
                    path, FOLDER / f"{name}{suffix}.golden", write_pattern(name, path, dies_at)
                )
        for name in TOOL_RUNS:
            path = Path(folder) / f"{name}.sqlite"
            in_a_process(path, FOLDER / f"{name}.golden", write_tools(name, path))
        for name in EVENT_RUNS:
            path = Path(folder) / f"{name}.sqlite"
            in_a_process(path, FOLDER / f"{name}.golden", write_events(name, path))
        for name in WIDE_RUNS:
            path = Path(folder) / f"{name}.sqlite"
            in_a_process(path, FOLDER / f"{name}.golden", write_wide(name, path))
    (FOLDER / "expected.json").write_text(json.dumps(states, indent=1) + "\n")
    (FOLDER / "requests.json").write_text(json.dumps(requests, indent=1) + "\n")
    print(f"wrote {', '.join(sorted(entry.name for entry in FOLDER.iterdir()))} in {FOLDER}")


if __name__ == "__main__":
    main()
