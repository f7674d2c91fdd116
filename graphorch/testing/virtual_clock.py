"""An event loop whose time is virtual: it jumps to the next timer, so hours pass in milliseconds.

Theory of operation. The loop's selector never blocks. When nothing is ready it moves the time to
the next timer; when there is no timer either, every task waits for something that cannot happen,
and the loop raises `Deadlock` instead of hanging. Work on real threads is waited for in real time.
With a seed, callbacks that are ready at one moment run in a shuffled order, equal for equal seeds.

    # Sleeps, timeouts and retries take no real time.
    result = run_virtual(flow.run(Topic(topic="tides")), seed=7)

Timers of a flow go by the clock of its run. With that of the loop, days pass at once too:

    options = {"clock": virtual_now, "limits": Limits(waiting=None)}
    assert run_virtual(flow.run(Order(), **options)).output.done == ["reminded after 3 days"]
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from graphorch.errors import GraphorchError, InputError

T = TypeVar("T")
_EPOCH = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC, when each virtual loop begins


class Deadlock(GraphorchError):
    """Every task waits, and no timer is set that could wake one."""


class _Selector(selectors.SelectSelector):
    """Looks for real events without waiting, and has the loop's time jump if there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if loop is not None and loop.outside:
            # A thread works for a task: this takes real time.
            ready = super().select(timeout)
            if not ready and timeout is not None:
                # It still works, and this much time has passed: timeouts of the task are due.
                loop.jump(timeout)
            return ready
        ready = super().select(0)
        if not ready and loop is not None:
            loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time.

    `outside` counts the calls that run on threads at the moment. `steps` counts the loop's rounds,
    and `at_step` makes a call before one of them. `complaints` holds what asyncio would have
    logged: tasks destroyed while they waited, exceptions that were never retrieved.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._now = 0.0
        self._random = random.Random(seed) if seed is not None else None
        self.outside = 0
        self.steps = 0
        self.complaints: list[str] = []
        self._calls: dict[int, Callable[[], object]] = {}
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.set_exception_handler(_complain)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def jump(self, timeout: float | None) -> None:
        """Move to the next timer, when nothing is ready. Raises `Deadlock` if there is none."""
        if timeout is None:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise Deadlock(
                f"Every task waits and no timer is set: {', '.join(waiting)}. "
                "Something that they wait for never happens."
            )
        self._now += timeout

    def run_in_executor(
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run a function on a thread; time stands still until it returns."""
        future = super().run_in_executor(executor, func, *args)
        self.outside += 1
        future.add_done_callback(self._on_returned)
        return future

    def _on_returned(self, _: object) -> None:
        self.outside -= 1

    def at_step(self, step: int, call: Callable[[], object]) -> None:
        """Make a call before the loop's n-th round from its beginning.

        So a run can be disturbed at each of its await points.
        """
        self._calls[step] = call

    def _run_once(self) -> None:
        self.steps += 1
        if (call := self._calls.pop(self.steps, None)) is not None:
            call()
        ready = cast("deque[Any]", self._ready)  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]
        if self._random is not None and len(ready) > 1:
            shuffled = list(ready)
            self._random.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]


def virtual_now() -> float:
    """Return the time of the running loop as seconds since 1970: the `clock` of a run in a test.

    A loop begins on 2026-01-01. A run that waits for timers alone stays under way with
    `Limits(waiting=None)`, so they fire at once; one that also waits for people or signals returns,
    and goes on with `resume` after `asyncio.sleep`:

        async def wait_for_days() -> Result:
            waiting = await flow.run(Order(), clock=virtual_now)
            await asyncio.sleep(3 * 86_400)
            return await flow.resume(waiting.run_id, clock=virtual_now)
    """
    return _EPOCH + asyncio.get_running_loop().time()


def run_virtual(main: Coroutine[Any, Any, T], *, seed: int | None = None, debug: bool = False) -> T:
    """Run a coroutine on a virtual clock, and check that it leaves no task; `debug` is asyncio's.

    Raises `Deadlock`, the errors of the coroutine, `GraphorchError` if tasks are left or asyncio
    logged a complaint, and `InputError` where an event loop runs already.
    """
    _check_no_loop_runs(main)
    loop = VirtualLoop(seed)
    loop.set_debug(debug)
    try:
        result = loop.run_until_complete(main)
        left = asyncio.all_tasks(loop)
        if left:
            names = ", ".join(sorted(task.get_name() for task in left))
            raise GraphorchError(f"{len(left)} tasks are left running: {names}.")
        if loop.complaints:
            raise GraphorchError(f"asyncio complains: {'; '.join(loop.complaints)}.")
        return result
    finally:
        _cancel_all(loop)
        loop.close()


def _check_no_loop_runs(main: Coroutine[Any, Any, Any]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    main.close()
    raise InputError(
        "An event loop runs here already, and a virtual clock needs its own. "
        "Call it from a plain function, or with asyncio.to_thread(…)."
    )


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    message, error = str(context.get("message")), context.get("exception")
    if error is not None:
        message += f" ({type(error).__name__}: {error})"
    cast("VirtualLoop", loop).complaints.append(message)


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
