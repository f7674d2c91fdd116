"""A second copy of a call that takes unusually long: whichever begins to answer first is taken, the other is cancelled.

Dean and Barroso, "The tail at scale" (CACM 56(2), 2013). It is opted in, since the copy that loses is usually charged; it is reserved and
settled like any call, capped to a share of the calls, and never started once text of the first has gone out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from graphorch.errors import InputError
from graphorch.models.client import OnText

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """`after`: seconds without a first token (or answer) before the copy is sent; about the 95th percentile is the usual choice.

    `share`: copies per call, on average.
    """

    after: float
    share: float = 0.05

    def __post_init__(self) -> None:
        if self.after <= 0 or not 0 < self.share <= 1:
            raise InputError(
                f"{self} makes no sense: after is in seconds above 0, and 0 < share ≤ 1."
            )


class HedgeAllowance:
    """How many copies may be sent: one at the start, and a share of the calls; unused ones are kept up to five."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._left = 1.0

    def count_call(self) -> None:
        """A call begins: it earns its share."""
        self._left = min(5.0, self._left + self._share)

    def try_take(self) -> bool:
        """Whether a copy may be sent."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Race(Generic[T]):
    """Whose text goes out, and a signal that it has begun."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self.winner: int | None = None
        self.begun = asyncio.Event()

    def listener(self, runner: int) -> OnText | None:
        on_text = self._on_text
        if on_text is None:
            return None

        def hear(piece: str) -> None:
            if self.winner is None:
                self.winner = runner
                self.begun.set()
            if self.winner == runner:
                on_text(piece)

        return hear


async def race(
    first: Callable[[OnText | None], Coroutine[Any, Any, T]],
    second: Callable[[OnText | None], Coroutine[Any, Any, T]],
    *,
    on_text: OnText | None,
    wait: Callable[[], Awaitable[None]],
    may_start: Callable[[], bool],
    succeeded: Callable[[T], bool],
) -> T:
    """The first success; if there is none, what the first came to. After it returns or raises, nothing of either still runs."""
    state = _Race[T](on_text)
    tasks: list[asyncio.Task[T]] = [asyncio.ensure_future(first(state.listener(0)))]
    signals: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(state.begun.wait()),
        asyncio.ensure_future(_awaited(wait)),
    ]
    try:
        await asyncio.wait([tasks[0], *signals], return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done() and state.winner is None and may_start():
            tasks.append(asyncio.ensure_future(second(state.listener(1))))
        return await _first_success(tasks, state, signals[0], succeeded)
    finally:
        everything: list[asyncio.Task[Any]] = [*tasks, *signals]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)


async def _awaited(wait: Callable[[], Awaitable[None]]) -> None:
    await wait()


async def _first_success(
    tasks: Sequence[asyncio.Task[T]],
    state: _Race[T],
    begun: asyncio.Task[Any],
    succeeded: Callable[[T], bool],
) -> T:
    while True:
        if state.winner is not None:
            return await tasks[state.winner]
        running = [item for item in tasks if not item.done()]
        for place, task in enumerate(tasks):
            # the copy may fail as it likes
            if (
                task.done()
                and (place == 0 or task.exception() is None)
                and succeeded(task.result())
            ):
                return task.result()
        if not running:
            return tasks[0].result()
        await asyncio.wait([*running, begun], return_when=asyncio.FIRST_COMPLETED)
