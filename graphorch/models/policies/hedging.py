"""Second copy of a call that takes unusually long: the first to begin its answer wins.

J. Dean and L. A. Barroso, "The tail at scale", CACM 56(2), 2013. Hedging has to be switched on,
since the copy that loses is usually charged. The copy is reserved and settled like any call, is
limited to a share of the calls, and is never started once text of the first has gone out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from graphorch.errors import InputError, contain_exit
from graphorch.models.client import OnText

T = TypeVar("T")

_MOST_SAVED = 5.0  # copies that may be saved up for later


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Rules for sending a second copy of a slow call.

    `after`: seconds without a first token (or answer) before the copy is sent; about the 95th
    percentile is the usual choice. `share`: copies per call, on average.

    Raises `InputError` for values out of range.
    """

    after: float
    share: float = 0.05

    def __post_init__(self) -> None:
        if self.after <= 0 or not 0 < self.share <= 1:
            raise InputError(
                f"{self} makes no sense: after is in seconds above 0, and 0 < share ≤ 1."
            )


class HedgeAllowance:
    """Number of copies that may be sent: one at the start, and a share of the calls.

    Unused ones are kept, up to five.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = 1.0

    def count_call(self) -> None:
        """Add the share that a new call earns."""
        self._left = min(_MOST_SAVED, self._left + self._share)

    def try_take(self) -> bool:
        """Take one copy out of the allowance; return False if there is none."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Race(Generic[T]):
    """Two runners of one race, of which only the winner's text goes out."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self.winner: int | None = None
        self.has_winner = asyncio.Event()

    def listener(self, runner: int) -> OnText | None:
        """Return the `on_text` of a runner: its first piece makes it the winner, if none is yet."""
        on_text = self._on_text
        if on_text is None:
            return None

        def listen(piece: str) -> None:
            if self.winner is None:
                self.winner = runner
                self.has_winner.set()
            if self.winner == runner:
                on_text(piece)

        return listen


async def race(
    first: Callable[[OnText | None], Coroutine[Any, Any, T]],
    second: Callable[[OnText | None], Coroutine[Any, Any, T]],
    *,
    on_text: OnText | None,
    wait: Callable[[], Awaitable[None]],
    may_start: Callable[[], bool],
    succeeded: Callable[[T], bool],
) -> T:
    """Run `first`, and beside it `second` if the first is slow; return the first success.

    `second` starts after `wait`, unless the first has ended or begun its answer by then, and only
    if `may_start`. If neither succeeds, the outcome of the first is returned. After it returns or
    raises, neither runs any more.

    Raises what `first` raises. An exception of `second` is raised only if its text has gone out.
    """
    state = _Race[T](on_text)
    tasks: list[asyncio.Task[T]] = [asyncio.ensure_future(contain_exit(first(state.listener(0))))]
    signals: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(state.has_winner.wait()),
        asyncio.ensure_future(_call(wait)),
    ]
    try:
        await asyncio.wait([tasks[0], *signals], return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done() and state.winner is None and may_start():
            tasks.append(asyncio.ensure_future(contain_exit(second(state.listener(1)))))
        return await _first_success(tasks, state, signals[0], succeeded)
    finally:
        everything: list[asyncio.Task[Any]] = [*tasks, *signals]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _call(wait: Callable[[], Awaitable[None]]) -> None:
    """Make a coroutine, which a task needs, of any awaitable."""
    await wait()


async def _first_success(
    tasks: Sequence[asyncio.Task[T]],
    state: _Race[T],
    winner_signal: asyncio.Task[Any],
    succeeded: Callable[[T], bool],
) -> T:
    while True:
        # 1. Text that has gone out decides: the other answer cannot replace it any more.
        if state.winner is not None:
            return await tasks[state.winner]
        # Listed before step 2, so that a task that ends meanwhile is looked at once more.
        running = [task for task in tasks if not task.done()]
        # 2. A task that ended well wins; the first is looked at first.
        for index, task in enumerate(tasks):
            if not task.done():
                continue
            # The exception of a copy is ignored, that of the first is raised by `result`.
            if index > 0 and task.exception() is not None:
                continue
            if succeeded(task.result()):
                return task.result()
        # 3. Both ended, and neither well.
        if not running:
            return tasks[0].result()
        await asyncio.wait([*running, winner_signal], return_when=asyncio.FIRST_COMPLETED)
