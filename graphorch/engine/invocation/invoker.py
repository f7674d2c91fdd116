"""How a node's function is called: when there is room, in time, hedged if it wants to be, on the loop, in a thread or in a process.

A second attempt beside one that takes long: the first that succeeds counts, the other is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from graphorch.core.tree import Activation
from graphorch.engine.invocation import binding
from graphorch.engine.invocation.threads import ThreadPool
from graphorch.errors import GraphorchError

if TYPE_CHECKING:
    from graphorch.engine.invocation.processes import ProcessPool


ContextOf = Callable[[Activation, float | None], Any]


class NodeTimedOut(GraphorchError, TimeoutError):
    """An attempt took longer than the node's `timeout`, or the activation longer than its `deadline`."""


class NodeInvoker:
    """Calls the functions of one run's nodes, for as long as one event loop works at the run.

    `context_of` makes the context of an attempt with its deadline, in the event loop's time; `epoch` added to the loop's time is the time of
    day. `concurrency` is how many nodes may run at once; `abandon` gets the paths of those whose thread could not be stopped.
    """

    def __init__(
        self,
        context_of: ContextOf,
        epoch: float,
        concurrency: int | None,
        abandon: Callable[[str], None],
    ) -> None:
        self._context_of = context_of
        self._epoch = epoch
        self._abandon = abandon
        self._slots = None if concurrency is None else asyncio.Semaphore(concurrency)
        self._node_slots: dict[tuple[int, int], asyncio.Semaphore] = {}
        self._threads: ThreadPool | None = None
        self._processes: ProcessPool | None = None

    async def stop_processes(self) -> None:
        """End the worker processes, and wait until they are gone."""
        if self._processes is not None:
            await self._processes.close()

    def close(self) -> None:
        """Let idle threads end."""
        if self._threads is not None:
            self._threads.close()

    async def call(self, activation: Activation, given: list[Any]) -> Any:
        """What the function returns or raises for these slices. Raises `NodeTimedOut` beside that."""
        node = activation.step.node
        options = node.options
        deadline = self._deadline_of(activation)
        arguments = self._arguments(activation, deadline, given)
        if (
            deadline is None
            and self._slots is None
            and options.concurrency is None
            and options.hedge_after is None
        ):
            return await self._invoke(activation, arguments)
        async with self._slot(activation):
            scope = asyncio.timeout_at(deadline)
            try:
                async with scope:
                    if options.hedge_after is None:
                        return await self._invoke(activation, arguments)
                    return await call_hedged(
                        lambda: self._invoke(activation, self._arguments(activation, deadline)),
                        options.hedge_after,
                    )
            except TimeoutError as error:
                if not scope.expired():
                    raise
                raise NodeTimedOut(_too_long(activation)) from error

    def _arguments(
        self, activation: Activation, deadline: float | None, given: list[Any] | None = None
    ) -> list[Any]:
        """What the function is called with; read anew for each hedge, so that no two calls share what they may change."""
        slices = binding.bind_arguments(activation) if given is None else given
        if not activation.step.node.signature.has_context:
            return slices
        return [self._context_of(activation, deadline), *slices]

    async def _invoke(self, activation: Activation, arguments: list[Any]) -> Any:
        node = activation.step.node
        if node.signature.is_async:
            return await node.fn(*arguments)
        if node.options.isolation == "inline":
            return node.fn(*arguments)
        if node.options.isolation == "process":
            if self._processes is None:
                from graphorch.engine.invocation.processes import ProcessPool

                self._processes = ProcessPool()
            return await self._processes.call(node, arguments, _declared(activation))
        if self._threads is None:
            self._threads = ThreadPool()
        try:
            return await self._threads.call(node.fn, *arguments)
        except asyncio.CancelledError:
            self._abandon(activation.path)
            raise

    def _slot(self, activation: Activation) -> _Slots:
        """Room to run: under the run's limit and under the node's own."""
        own = activation.step.node.options.concurrency
        found = [self._slots] if self._slots is not None else []
        if own is not None:
            key = (id(activation.scope.plan), activation.step.index)
            found.insert(0, self._node_slots.setdefault(key, asyncio.Semaphore(own)))
        return _Slots(found)

    def _deadline_of(self, activation: Activation) -> float | None:
        """When this attempt has to end, in the loop's time."""
        options = activation.step.node.options
        if options.timeout is None and options.deadline is None:
            return None
        now = asyncio.get_running_loop().time()
        ends = [now + options.timeout] if options.timeout is not None else []
        if options.deadline is not None:
            ends.append(activation.started_at - self._epoch + options.deadline)
        return min(ends)


class _Slots:
    """Several semaphores as one: taken in order, given back in reverse."""

    __slots__ = ("_semaphores", "_taken")

    def __init__(self, semaphores: list[asyncio.Semaphore]) -> None:
        self._semaphores = semaphores
        self._taken = 0

    async def __aenter__(self) -> None:
        try:
            for semaphore in self._semaphores:
                await semaphore.acquire()
                self._taken += 1
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        for semaphore in reversed(self._semaphores[: self._taken]):
            semaphore.release()
        self._taken = 0


def _declared(activation: Activation) -> list[type[BaseException]]:
    """The exceptions that the flow names for a node: those that it retries, and those that an error edge handles."""
    retry = activation.step.node.options.retry
    return [
        *(retry.on if retry is not None else ()),
        *(kind for kinds, _ in activation.step.errors for kind in kinds),
    ]


def _too_long(activation: Activation) -> str:
    options = activation.step.node.options
    if options.timeout is not None:
        return f"Attempt {activation.attempt} took longer than timeout={options.timeout:g} s. Raise the timeout, or make the node faster."
    return f"It took longer than deadline={options.deadline:g} s in all its attempts. Raise the deadline, or make the node faster."


T = TypeVar("T")


async def call_hedged(call: Callable[[], Coroutine[Any, Any, T]], after: float) -> T:
    """The result of `call`, or of a second one that starts `after` seconds later if the first is not done by then.

    Raises the first attempt's exception if both fail. Whatever happens, neither is running afterwards.
    """
    first = asyncio.create_task(call())
    tasks = [first]
    try:
        done, _ = await asyncio.wait(tasks, timeout=after)
        if not done:
            tasks.append(asyncio.create_task(call()))
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            winner = next(
                (task for task in tasks if task in done and task.exception() is None), None
            )
            if winner is not None:
                return winner.result()
        return first.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
