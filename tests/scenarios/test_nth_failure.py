"""The n-th call of a node, a model or the store fails, for every n.

Each time the run ends with a typed error, nothing of a sibling is lost, nothing is left running,
and the resumed run ends like the undisturbed one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import (
    Context,
    Graph,
    InputError,
    ModelError,
    NodeError,
    Result,
    Retry,
    RunFailed,
    agent,
    node,
)
from graphorch.errors import JournalError
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.testing import FailNth, Injected, ScriptedModel, run_virtual, when
from tests.contracts.faulty_store import Fault, FaultyStore
from tests.scenarios.flows import FLOWS, AnyFlow, Ledger, State, to_the_end

Way = Literal["before", "after"]


def run(main: Any) -> Any:
    """Run in asyncio's debug mode, which complains about everything left or forgotten."""
    try:
        return run_virtual(main, debug=True)
    finally:
        gc.collect(0)


def done(steps: Any) -> set[str]:
    return {step.activation for step in steps if step.status == "done"}


async def answered(flow: AnyFlow, result: Result[Any, Any]) -> Result[Any, Any]:
    while result.status == "waiting":
        question = result.questions[0]
        result = await flow.answer("r", question, question.answer_type(approved=True))
    return result


def nothing_left() -> None:
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ---- nodes ------------------
async def fail_node(
    flow: AnyFlow, n: int, way: Way, policy: Any
) -> tuple[FailNth, Result[Any, Any], Ledger, bool]:
    """Run the flow with its n-th node call failing, and resume it where that stops it.

    Return the fault, the result, the ledger, and whether the run stopped.
    """
    fault, ledger = FailNth(n, when=way), Ledger()
    twin = fault.nodes(flow)
    try:
        return (
            fault,
            await answered(
                twin, await twin.run(State(), run_id="r", resources=ledger, on_failure=policy)
            ),
            ledger,
            False,
        )
    except RunFailed as error:
        failed = error
    nothing_left()
    (cause,) = failed.exceptions
    assert isinstance(cause, NodeError)
    assert isinstance(cause.__cause__, Injected)
    record: Any = failed.run
    kept, began = done(record.steps()), len(ledger.entries)
    result = await answered(twin, await twin.resume("r"))
    nothing_left()
    again = {line.split()[1] for line in ledger.entries[began:]}
    assert kept <= done(result.steps), "a commit is gone"
    assert not kept & again, "a committed activation ran again"
    return fault, result, ledger, True


@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("policy", ["drain", "cancel"])
@pytest.mark.parametrize("name", FLOWS)
def test_nth_node_call_fails(name: str, policy: str, way: Way) -> None:
    """Whichever node call fails, the resumed run ends like the undisturbed one."""
    flow = FLOWS[name]()
    calm = run(to_the_end(flow, "r", True, resources=Ledger()))
    stopped = 0
    for n in range(1, 200):
        fault, result, _, was_stopped = run(fail_node(flow, n, way, policy))
        if not fault.has_fired:
            break
        stopped += was_stopped
        assert result.status == "succeeded"
        if was_stopped:
            assert result.state == calm.state
            assert done(result.steps) == done(calm.steps)
    assert stopped >= 3


@pytest.mark.parametrize("name", FLOWS)
def test_nth_node_call_fails_in_isolation(name: str) -> None:
    """Whichever node call fails in isolation, the rest is done.

    The failed node is a dead path: what does not depend on it is committed, and the run ends with
    a status.
    """
    flow = FLOWS[name]()

    async def main(n: int) -> FailNth:
        fault = FailNth(n)
        twin = fault.nodes(flow)
        try:
            ended = (
                await answered(
                    twin,
                    await twin.run(State(), run_id="r", resources=Ledger(), on_failure="isolate"),
                )
            ).status
        except RunFailed as failed:
            ended = failed.end_reason
        assert ended in ("succeeded", "partial", "failed", "end not reached")
        nothing_left()
        return fault

    assert not all(run(main(n)).has_fired for n in range(1, 200))


# ---- models ------------------
class Text(BaseModel):
    text: str = ""


class Parts(BaseModel):
    left: str = ""
    right: str = ""


class Left(BaseModel):
    left: str = ""


class Right(BaseModel):
    right: str = ""


class Essay(Text, Left, Right): ...


@agent(output=Left)
def left(text: Text) -> str:
    return f"left of {text.text}"


@agent(output=Right, retry=Retry(2, first=0.1))
def right(text: Text) -> str:
    return f"right of {text.text}"


@node
async def join(ctx: Context, left: Left, right: Right) -> Text:
    first = await ctx.complete(f"join {left.left}", model="m")
    return Text(text=first + await ctx.complete(f"with {right.right}", model="m"))


def essay() -> Any:
    return Graph("essay", Essay).chain([left, right], join).build()


def script() -> ScriptedModel:
    return ScriptedModel(
        *[
            when(re.compile(f"^{word}"), f"{word}!", repeats=True)
            for word in ("left", "right", "join", "with")
        ]
    )


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("n", range(1, 7))
def test_nth_model_call_fails(n: int, way: Way, durable: bool) -> None:
    """Whichever model call fails, the resumed run gives an equal text."""
    flow = essay()

    async def main() -> tuple[Any, FailNth, bool]:
        fault = FailNth(n, when=way)
        options: Any = {
            "client": fault.model(script()),
            "run_id": "r",
            **({"durable": MemoryStore()} if durable else {}),
        }
        try:
            return await flow.run(Essay(text="tides"), **options), fault, False
        except RunFailed as failed:
            (error,) = failed.exceptions
            assert isinstance(error.__cause__, ModelError)
            nothing_left()
        options = (
            {name: value for name, value in options.items() if name != "run_id"} if durable else {}
        )
        return await flow.resume("r", **options), fault, True

    result, fault, stopped = run(main())
    assert result.output.text == "join!with!"
    assert stopped == (n in (1, 3, 4))  # the second is retried
    # what the failed attempt was answered is served: only the call that failed is made again
    assert fault.calls == (5 if n <= 4 else 4)


# ---- stores ------------------
class Kept:
    """Store of either kind that lives as long as a test; its clock can be moved past a lease."""

    def __init__(self, kind: str, path: Any) -> None:
        self.late = 0.0
        self._kind = kind
        self._path = path

    async def open(self) -> Store:
        if self._kind == "memory":
            return MemoryStore(clock=lambda: 1e9 + self.late)
        return await SqliteStore.open(self._path, clock=lambda: 1e9 + self.late, sync="normal")


def committed(records: Any) -> list[str]:
    return [record.body["id"] for record in records if record.kind == "commit"]


async def fail_store(
    flow: AnyFlow, kept: Kept, fault: Fault, n: int
) -> tuple[int, Any, list[str], list[str]]:
    """Run the flow with a store whose n-th call goes wrong, and resume it.

    Return the number of calls, the result, the ids of the durable commits, and what ran after the
    failure although it was committed.
    """
    store = await kept.open()
    faulty, ledger = FaultyStore(store, fault, n), Ledger()
    before: list[str] = []
    try:
        result = await to_the_end(flow, "r", True, durable=faulty, resources=ledger)
    except (JournalError, TimeoutError):
        nothing_left()
        kept.late += 60.0  # the lease has run out
        with contextlib.suppress(JournalError):  # not even created
            before = committed((await store.load("r")).records)
        began = len(ledger.entries)
        try:
            result = await to_the_end(flow, "r", False, durable=faulty, resources=ledger)
        except (InputError, JournalError):
            assert not before
            result = await to_the_end(flow, "r", True, durable=faulty, resources=ledger)
        before = [
            text for text in before if text in {line.split()[1] for line in ledger.entries[began:]}
        ]
    commits = committed((await store.load("r")).records)
    await store.close()
    return faulty.calls, result, commits, before


def store_faults(name: str, kind: str, tmp_path: Any, step: int = 1) -> Iterator[int]:
    flow = FLOWS[name]()
    _, calm, wanted, _ = asyncio.run(
        fail_store(flow, Kept(kind, tmp_path / "calm.sqlite"), "fails", 0)
    )
    for fault in ("fails", "times out", "loses the reply"):
        for n in range(1, 400, step):
            calls, result, commits, again = asyncio.run(
                fail_store(flow, Kept(kind, tmp_path / f"{fault}{n}.sqlite"), fault, n)
            )
            if calls < n:
                break
            assert result.state == calm.state, (fault, n)
            assert sorted(commits) == sorted(wanted), (fault, n, "a commit is lost or doubled")
            assert not again, (fault, n, "a committed activation ran again")
            yield n


@pytest.mark.parametrize(
    ("name", "kind", "step"),
    [*((name, "memory", 3) for name in FLOWS), ("diamond", "sqlite", 4), ("asked", "sqlite", 4)],
)
def test_nth_store_call_fails(name: str, kind: str, step: int, tmp_path: Any) -> None:
    """Whichever call of the store fails, no commit is lost or doubled."""
    assert len(list(store_faults(name, kind, tmp_path, step))) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("name", FLOWS)
def test_every_store_call_fails_once(name: str, kind: str, tmp_path: Any) -> None:
    """Every call of the store fails once, and no commit is lost or doubled."""
    assert len(list(store_faults(name, kind, tmp_path))) > 15
