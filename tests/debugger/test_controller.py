"""Commands run one at a time, and a cancelled command leaves nothing of it running."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from typing import Any

import pytest

from graphorch import Graph, InputError, node
from graphorch.runs.background_loop import background_loop
from tests.debugger.stepping import opened
from tests.scenarios.flows import Ledger, Number, State, up


def tasks() -> set[asyncio.Task[Any]]:
    async def look() -> set[asyncio.Task[Any]]:
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    return background_loop().wait(look())


def test_close_during_call_leaves_no_task() -> None:
    """Closing in the middle of a model call ends everything."""
    before, began, stopped = tasks(), threading.Event(), threading.Event()

    @node
    async def slow(number: Number) -> Number:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return number

    session = Graph("g", State).chain(slow).build().debug(State())
    errors: list[BaseException] = []

    def press() -> None:
        try:
            session.step()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=press)
    thread.start()
    began.wait()
    session.close()
    thread.join()
    assert stopped.is_set()
    assert session.status == "closed"
    assert tasks() <= before
    with pytest.raises(
        InputError, match=r"The session is closed\. Make a new one with flow\.debug"
    ):
        session.step()
    assert [type(error) for error in errors] == [InputError]


def test_interrupted_step_is_undone() -> None:
    """As after Ctrl-C, or the kernel's stop button."""
    began, calls, main = threading.Event(), 0, threading.main_thread().ident or 0

    @node
    async def slow(number: Number) -> Number:
        nonlocal calls
        calls += 1
        began.set()
        if calls == 1:
            await asyncio.Event().wait()
        return Number(n=number.n + 1)

    with (
        Graph("g", State)
        .chain(up("first"), slow)
        .build()
        .debug(State(), resources=Ledger()) as session
    ):
        session.step()
        presses = threading.Thread(
            target=lambda: (began.wait(), signal.pthread_kill(main, signal.SIGINT))
        )
        presses.start()
        with pytest.raises(KeyboardInterrupt):
            session.step()
        presses.join()
        assert session.step().path == "slow"
        assert (calls, session.result.state.n, len(session.history)) == (2, 2, 2)


def test_collected_session_leaves_no_task() -> None:
    """As when the cell that made it runs again."""
    before = tasks()
    session = opened("chain")
    session.step()
    assert tasks() - before
    del session
    gc.collect()
    for _ in range(5):
        if not tasks() - before:
            break
    assert not tasks() - before


def test_command_notifies_observers() -> None:
    """They see the session at rest after each command, a failed one included."""
    with opened("chain") as session:
        controller, seen = session.controller, list[tuple[bool, int]]()
        controller.observe(lambda: seen.append((controller.is_busy, len(controller.history))))
        session.step()
        assert seen[-1] == (False, 1)
        count = len(seen)
        with pytest.raises(InputError):
            session.edit({"unknown": 1})
        assert len(seen) > count


def test_fork_has_controller_of_its_own() -> None:
    """What one of the two does afterwards does not show in the other."""
    with opened("chain") as session:
        session.step()
        with session.fork() as fork:
            fork.pin("b", Number(n=9))
            fork.step()
            lengths = len(session.controller.history), len(fork.controller.history)
            assert lengths == (1, 2)
            assert (session.controller.pins, list(fork.controller.pins)) == ({}, ["b"])


def test_edited_step_is_never_missing() -> None:
    """Who looks on during an edit sees the step as it was or as it is, and never neither."""
    session = Graph("g", State).chain(up(), up("b")).build().debug(State(), resources=Ledger())
    session.step()
    seen: list[list[str]] = []

    async def edit() -> None:
        editing = asyncio.ensure_future(session.controller.edit({"n": 7}))
        while not editing.done():
            seen.append([step.how for step in session.controller.history])
            await asyncio.sleep(0)
        await editing

    background_loop().wait(edit())
    assert len(seen) > 2
    assert set(map(len, seen)) == {1}
    assert [step.how for step in session.history] == ["edited"]
    assert session.state.n == 7
    session.close()
