"""Call a node's function: when there is room, within its deadline, hedged if the node is.

The function runs on the event loop, in a thread or in a worker process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from graphorch.core.tree import Activation, is_inside_call
from graphorch.engine.invocation import binding
from graphorch.errors import GraphorchError, contain_exit
from graphorch.graph.plan import Step
from graphorch.threads import ThreadPool

if TYPE_CHECKING:
    from graphorch.engine.invocation.placement import Placement
    from graphorch.engine.invocation.processes import ProcessPool


_COROUTINE: Final[Any] = CoroutineType  # without the parameters that a type checker asks for
ContextBuilder = Callable[[Activation, float | None], Any]


class NodeTimedOut(GraphorchError, TimeoutError):
    """An attempt that exceeded the node's `timeout`, or all attempts together its `deadline`."""


class NodeInvoker:
    """Calls the functions of one run's nodes, for as long as the run is under way.

    `build_context` makes the context of an attempt with its deadline, in the event loop's time;
    `epoch` plus the loop's time is seconds since the epoch. `concurrency` is how many nodes may run
    at once. `abandon` gets the paths of nodes whose thread could not be stopped. `placement`
    decides whether a function runs here; without one, all do.
    """

    def __init__(
        self,
        build_context: ContextBuilder,
        epoch: float,
        concurrency: int | None,
        abandon: Callable[[str], None],
        placement: Placement | None = None,
    ) -> None:
        self._build_context = build_context
        self._epoch = epoch
        self._abandon = abandon
        self._slots = None if concurrency is None else asyncio.Semaphore(concurrency)
        self._node_slots: dict[tuple[int, int], asyncio.Semaphore] = {}
        self._threads: ThreadPool | None = None
        self._processes: ProcessPool | None = None
        self._placement = placement
        # Chosen once, so that a call in this process costs nothing more.
        self._invoke = self._invoke_here if placement is None else self._invoke_somewhere

    async def stop_processes(self) -> None:
        """End the worker processes, and wait until they are gone."""
        if self._processes is not None:
            await self._processes.close()

    def close(self) -> None:
        """Let idle threads end."""
        if self._threads is not None:
            self._threads.close()

    async def call(self, activation: Activation, given: list[Any]) -> Any:
        """Return what the function returns for these slices.

        Raises `NodeTimedOut`, and what the function raises.
        """
        options = activation.step.node.options
        if self._slots is None and options.concurrency is None:
            if options.timeout is None and options.deadline is None and options.hedge_after is None:
                return await self._invoke(
                    activation, self._build_arguments(activation, None, given)
                )
            return await self._call_in_time(activation, given)
        # Its time begins when there is room: waiting is not the node's own slowness.
        async with self._build_slots(activation):
            return await self._call_in_time(activation, given)

    async def _call_in_time(self, activation: Activation, given: list[Any]) -> Any:
        """Return what the function returns within its deadline, hedged if the node is."""
        options = activation.step.node.options
        deadline = self._compute_deadline(activation, has_begun=self._placement is None)
        arguments = self._build_arguments(activation, deadline, given)
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                if options.hedge_after is None:
                    output = await self._invoke(activation, arguments, scope)
                else:
                    activation.hedged_at, activation.is_hedge_taken = 0.0, False
                    output = await call_hedged(
                        # Bound again for each hedge: two calls must not share mutable slices.
                        lambda: self._invoke(
                            activation, self._build_arguments(activation, deadline), scope
                        ),
                        options.hedge_after,
                        lambda is_taken: self._note_hedge(activation, is_taken),
                    )
        except Exception as error:
            if not is_late(scope):
                raise
            raise build_timeout(activation) from error
        if is_late(scope):
            raise build_timeout(activation)
        return output

    def _note_hedge(self, activation: Activation, is_taken: bool) -> None:
        if is_taken:
            activation.is_hedge_taken = True
        else:
            activation.hedged_at = asyncio.get_running_loop().time() + self._epoch

    def _build_arguments(
        self, activation: Activation, deadline: float | None, given: list[Any] | None = None
    ) -> list[Any]:
        """Return the arguments of a call; the slices are read from the state if not given."""
        slices = binding.bind_arguments(activation) if given is None else given
        if not activation.step.node.signature.has_context:
            return slices
        return [self._build_context(activation, deadline), *slices]

    async def _invoke_somewhere(
        self, activation: Activation, arguments: list[Any], scope: asyncio.Timeout | None = None
    ) -> Any:
        """Call a function where its placement says; its time begins when it does."""
        assert self._placement is not None

        async def here() -> Any:
            if scope is not None and activation.step.node.options.timeout is not None:
                end, before = self._compute_deadline(activation, has_begun=True), scope.when()
                assert end is not None
                scope.reschedule(end if before is None else min(before, end))
                if activation.step.node.signature.has_context:
                    arguments[0].limit_time(end)
            return await self._invoke_here(activation, arguments)

        return await self._placement.call(activation, arguments, here)

    async def _invoke_here(
        self, activation: Activation, arguments: list[Any], scope: asyncio.Timeout | None = None
    ) -> Any:
        node = activation.step.node
        if node.signature.is_async:
            return await node.fn(*arguments)
        if node.options.isolation == "inline":
            output = node.fn(*arguments)
            # A plain wrapper around an async function, such as a tracer's, returns a coroutine.
            return await output if type(output) is _COROUTINE else output
        if node.options.isolation == "process":
            if self._processes is None:
                from graphorch.engine.invocation.processes import ProcessPool

                self._processes = ProcessPool()
            return await self._processes.call(node, arguments, list_declared(activation.step))
        if self._threads is None:
            self._threads = ThreadPool()
        try:
            output = await self._threads.call(node.fn, *arguments)
        except asyncio.CancelledError:
            self._abandon(activation.path)
            raise
        return await output if type(output) is _COROUTINE else output

    def _build_slots(self, activation: Activation) -> _Slots:
        """Return the slots that a call needs: one of the node's, then one of the run's."""
        limit = activation.step.node.options.concurrency
        slots: list[asyncio.Semaphore] = []
        if limit is not None:
            # The levels of a flow that runs itself have one topology, and share the limit.
            key = (id(activation.scope.plan.topology), activation.step.index)
            slots.append(self._node_slots.setdefault(key, asyncio.Semaphore(limit)))
        # A call of a tool runs within the slot of its agent, which waits for it.
        if self._slots is not None and not is_inside_call(activation):
            slots.append(self._slots)
        return _Slots(slots, activation)

    def _compute_deadline(self, activation: Activation, *, has_begun: bool) -> float | None:
        """Return when this attempt has to end, in the loop's time.

        The timeout of a function that has not begun yet does not count.
        """
        options = activation.step.node.options
        ends: list[float] = []
        if options.timeout is not None and has_begun:
            ends.append(asyncio.get_running_loop().time() + options.timeout)
        if options.deadline is not None:
            ends.append(activation.started_at - self._epoch + options.deadline)
        return min(ends, default=None)


class _Slots:
    """Several semaphores as one: acquired in order, released in reverse.

    The seconds without all of them count as waited by the activation that needs them.
    """

    __slots__ = ("_acquired", "_activation", "_semaphores")

    def __init__(self, semaphores: list[asyncio.Semaphore], activation: Activation) -> None:
        self._semaphores = semaphores
        self._activation = activation
        self._acquired = 0

    async def __aenter__(self) -> None:
        time = asyncio.get_running_loop().time
        began, has_to_wait = time(), any(semaphore.locked() for semaphore in self._semaphores)
        try:
            for semaphore in self._semaphores:
                await semaphore.acquire()
                self._acquired += 1
        except BaseException:
            self._release()
            raise
        finally:
            if has_to_wait:
                self._activation.waited += time() - began

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        for semaphore in reversed(self._semaphores[: self._acquired]):
            semaphore.release()
        self._acquired = 0


def is_late(scope: asyncio.Timeout) -> bool:
    """Return whether the time of an attempt was over when it ended, whatever it returned.

    A function may swallow its cancellation, or block the loop so that its timer cannot go off.
    """
    end = scope.when()
    return scope.expired() or (end is not None and asyncio.get_running_loop().time() > end)


def list_declared(step: Step) -> list[type[BaseException]]:
    """Return the exceptions that the flow names for a node: retried, handled by an edge, or read
    by a model.
    """
    options = step.node.options
    retry = options.retry
    retried = retry.on if retry is not None else ()
    handled = [kind for kinds, _ in step.errors for kind in kinds]
    return [*retried, *handled, *options.tells]


def build_timeout(activation: Activation) -> NodeTimedOut:
    """Return the failure of an attempt whose time was over."""
    options = activation.step.node.options
    if options.timeout is not None:
        return NodeTimedOut(
            f"Attempt {activation.attempt} took longer than timeout={options.timeout:g} s. "
            "Raise the timeout, or make the node faster."
        )
    return NodeTimedOut(
        f"It took longer than deadline={options.deadline:g} s in all its attempts. "
        "Raise the deadline, or make the node faster."
    )


T = TypeVar("T")


async def call_hedged(
    call: Callable[[], Coroutine[Any, Any, T]],
    after: float,
    note: Callable[[bool], None] | None = None,
) -> T:
    """Return the result of `call`, or of a second `call` if the first takes long.

    The second one starts `after` seconds later; the first that succeeds counts, the other is
    cancelled. `note` is called with False when the second one starts, and with True if it counts.
    Raises the exception of the first one if both fail. Neither is running afterwards.
    """
    note = note or _note_nothing
    first = asyncio.create_task(contain_exit(call()))
    tasks = [first]
    try:
        done, _ = await asyncio.wait(tasks, timeout=after)
        if not done:
            note(False)
            tasks.append(asyncio.create_task(contain_exit(call())))
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            winner = next(
                (task for task in tasks if task in done and task.exception() is None), None
            )
            if winner is not None:
                if winner is not first:
                    note(True)
                return winner.result()
        return first.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _note_nothing(is_taken: bool) -> None:
    """Take no note of a second call."""
