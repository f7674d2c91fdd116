"""Event loop on a thread of its own: it returns results and errors, and refuses to await itself."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from graphorch import InputError
from graphorch.runs.background_loop import BackgroundLoop, background_loop
from tests.forks import run_in_fork


@pytest.fixture
def background() -> BackgroundLoop:
    """Return a loop of this test's own, whose thread lives as long as the process."""
    return BackgroundLoop()


class _Odd(BaseException):
    """An exception that is neither an `Exception` nor one of Python's own."""


async def thread_name() -> str:
    return threading.current_thread().name


def test_wait_returns_result(background: BackgroundLoop) -> None:
    """Coroutines run on the thread of the loop."""
    assert background.wait(thread_name()) == "graphorch-loop"
    assert not background.is_here


def test_wait_raises_error(background: BackgroundLoop) -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        background.wait(fail())


def test_wait_inside_running_loop(background: BackgroundLoop) -> None:
    async def main() -> str:
        return background.wait(thread_name())

    assert asyncio.run(main()) == "graphorch-loop"


def test_wait_on_own_thread_is_refused(
    background: BackgroundLoop,
) -> None:
    """Waiting on the loop's own thread is refused, and the coroutine is closed."""

    async def nested() -> None:
        assert background.is_here
        background.wait(thread_name())

    with pytest.raises(
        InputError,
        match=r"run_sync\(\) was called by a node, on the engine's own loop, "
        r"and would wait for itself",
    ):
        background.wait(nested())


def test_interrupt_cancels_coroutine_first(
    background: BackgroundLoop,
) -> None:
    """Ctrl-C is raised once the coroutine has ended."""
    notes: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.02)  # by then the caller waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("cancelled")

    with pytest.raises(KeyboardInterrupt):
        background.wait(slow())
    assert notes == ["cancelled"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupt_of_submission_leaves_nothing(
    background: BackgroundLoop, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C while the coroutine is handed to the loop: it ends, and what it holds is free."""
    began, lock = threading.Event(), asyncio.Lock()
    hand_over = background.loop.call_soon_threadsafe

    async def hold_lock() -> None:
        async with lock:
            began.set()
            await asyncio.Event().wait()

    async def take_lock() -> bool:
        async with asyncio.timeout(5), lock:
            return True

    def interrupted(callback: Callable[..., object], *arguments: Any) -> None:
        monkeypatch.undo()
        if moment == "after":
            hand_over(callback, *arguments)
            assert began.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(background.loop, "call_soon_threadsafe", interrupted)
    coroutine = hold_lock()
    with pytest.raises(KeyboardInterrupt):
        background.wait(coroutine)
    assert began.is_set() == (moment == "after")
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert background.wait(take_lock())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), _Odd()])
def test_loop_survives_any_exception(background: BackgroundLoop, error: BaseException) -> None:
    """Whatever a coroutine raises, its caller gets it, and the loop goes on for others."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    other = background.submit(asyncio.sleep(0.05, "done"))
    with pytest.raises(type(error)):
        background.wait(fail())
    assert other.result(5) == "done"
    assert background.wait(thread_name()) == "graphorch-loop"


def test_loop_survives_lost_task(background: BackgroundLoop) -> None:
    """A task that nobody awaits and that raises `SystemExit` does not end the loop."""
    lost: list[asyncio.Task[None]] = []

    async def exit_later() -> None:
        raise SystemExit

    async def start() -> None:
        lost.append(asyncio.create_task(exit_later()))

    background.wait(start())
    assert background.wait(thread_name()) == "graphorch-loop"
    assert isinstance(lost[0].exception(), SystemExit)


def test_loop_survives_stop(background: BackgroundLoop) -> None:
    """A function that stops the loop that it runs on stops it for nobody."""

    async def stop() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return "done"

    assert background.wait(stop()) == "done"
    assert background.wait(thread_name()) == "graphorch-loop"


def test_background_loop_is_shared() -> None:
    """All callers in the process share the loop."""
    assert background_loop() is background_loop()


def test_forked_child_has_own_loop() -> None:
    """A forked child does not wait for the loop of its parent, whose thread it does not have."""
    parent = background_loop()
    assert parent.wait(thread_name()) == "graphorch-loop"

    def use_loop() -> bool:
        child = background_loop()
        return child is not parent and child.wait(thread_name()) == "graphorch-loop"

    assert run_in_fork(use_loop)
    assert parent.wait(thread_name()) == "graphorch-loop"
