"""The asyncio tasks of one run; each runs a chain of activations.

Theory of operation. A *run task* runs one activation after another: what a commit makes ready
continues in the task that committed, and only further activations get tasks of their own. The first
run task is the caller's own task, so a chain makes no task at all, and a fan-out one for each
further branch. Those belong to one TaskGroup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from graphorch.core.events import Command, Event, RunStarted
from graphorch.core.tree import Activation, Status
from graphorch.engine.attempts.attempt import AttemptRunner
from graphorch.engine.attempts.run_task import RunTask
from graphorch.engine.dispatcher import Dispatcher
from graphorch.engine.invocation import binding
from graphorch.engine.observers import build_committed
from graphorch.engine.run_services import RunServices
from graphorch.errors import Unassigned

_RUNNING = Status.RUNNING  # looked up for every attempt

Backpressure: TypeAlias = Callable[[], Awaitable[None]]
"""Waited for before each node, so that a slow reader of events slows the run down."""


class TaskPool:
    """Runs activations, and what follows from them, in the caller's task and in further ones.

    `takes_fast_path` says that no journal and no overrides stand between a node and the core.
    """

    __slots__ = (
        "_attempts",
        "_backpressure",
        "_dispatcher",
        "_group",
        "_log",
        "_services",
        "_tasks",
        "takes_fast_path",
    )

    def __init__(
        self,
        services: RunServices,
        attempts: AttemptRunner,
        dispatcher: Dispatcher,
        backpressure: Backpressure | None,
    ) -> None:
        self._services = services
        self._log = services.log
        self._attempts = attempts
        self._dispatcher = dispatcher
        self._tasks = dispatcher.tasks
        self._backpressure = backpressure
        self._group: asyncio.TaskGroup | None = None  # once there are several tasks
        self.takes_fast_path = False

    async def run_from_start(self, first: RunStarted) -> None:
        """Run in the caller's task for as long as one thing follows another, then in a group."""
        ready = self._dispatcher.dispatch(first)
        while len(ready) == 1:
            ready = await self._run_chain(RunTask.of_caller(self._services.loop), ready.pop())
        if ready:
            async with asyncio.TaskGroup() as self._group:
                await self._run_all(ready)

    async def run_in_group(self, first: tuple[Event, ...], commands: Sequence[Command]) -> None:
        """Run from commands or events that may make many activations ready at once."""
        log = self._log
        async with asyncio.TaskGroup() as self._group:
            log.start_background(self._group)
            due_times = self._dispatcher.due_times
            if due_times is not None:
                due_times.open(self._group)
            ready = self._dispatcher.apply([*commands]) if commands else []
            for event in first:
                ready += self._dispatcher.dispatch(event)
            if due_times is not None:
                run = self._services.run
                ready += due_times.watch((*run.waits(), *run.ending_early()))
            await log.make_durable()
            is_held = due_times is not None and due_times.is_holding
            if self._services.run.status != "running" and not is_held:
                log.stop_background()
            if ready:
                await self._run_all(ready)
        if due_times is not None:
            due_times.close()

    @property
    def is_open(self) -> bool:
        """Whether there is a group for the tasks of what begins now."""
        return self._group is not None

    def spawn_when_durable(self, activations: list[Activation]) -> None:
        """Start activations once the events that led to them are durable."""
        if self._log.journal is None:
            self._start_all(activations)
        else:
            assert self._group is not None
            self._group.create_task(self._start_when_durable(activations))

    def close(self) -> None:
        """Forget the task group, which has ended."""
        self._group = None

    async def _start_when_durable(self, activations: list[Activation]) -> None:
        await self._log.make_durable()
        self._start_all(activations)

    async def _run_all(self, ready: list[Activation]) -> None:
        """Run the first activation in the caller's task, the others in tasks of their own."""
        self._start_all(ready[1:])
        await self._run_chain(RunTask.of_caller(self._services.loop), ready[0])

    def _start_all(self, activations: list[Activation]) -> None:
        for activation in activations:
            assert self._group is not None
            task = RunTask()
            task.asyncio_task = self._group.create_task(self._run_chain(task, activation))
            task.is_bound = True

    async def _run_chain(self, task: RunTask, first: Activation) -> list[Activation]:
        """Run an activation, then whatever its commit makes ready, one after another.

        Return what is ready at once where there is no task group for it yet.

        Fast path: must equal `_attempts.run` followed by `_commit`. Where nothing surrounds a node
        and nothing is journaled, no coroutine and no event stands between it and the core: a run
        spends its time in this loop.
        """
        run, attempts, dispatcher = self._services.run, self._attempts, self._dispatcher
        time, epoch, observers = self._services.time, self._services.epoch, self._log.observers
        if not task.is_bound:
            # An eager task factory runs this inside of `create_task`. Let that return first.
            await asyncio.sleep(0)
        takes_fast_path, asyncio_task = self.takes_fast_path, task.asyncio_task
        earlier_cancellations, backpressure = task.earlier_cancellations, self._backpressure
        kept_answers = self._services.kept_answers
        self._tasks.add(task)
        activation: Activation | None = first
        try:
            while activation is not None:
                task.current, step = activation, activation.step
                if not (
                    takes_fast_path
                    and step.is_simple
                    and activation.status is _RUNNING
                    and activation.fatal_error is None
                ):
                    ready = await self._commit(task, await attempts.run(task, activation))
                else:
                    activation.started_at = activation.started_at or epoch + time()
                    if observers is not None:
                        from graphorch.engine.events import Started

                        observers.notify(
                            Started(activation.path, step.name, activation.attempt, epoch + time())
                        )
                    try:
                        if step.maps_one:
                            try:
                                given = step.read(activation.version)
                            except Unassigned as error:
                                raise binding.MissingInput(str(error)) from error
                            output = await step.fn(given)
                            update = (
                                step.write(output)
                                if output is not given
                                else binding.build_update(step, output, [given], activation.version)
                            )
                        else:
                            given = binding.bind_arguments(activation)
                            output = await (
                                step.fn(attempts.build_context(activation, None), *given)
                                if step.has_context
                                else step.fn(*given)
                            )
                            update = binding.build_update(step, output, given, activation.version)
                    except BaseException as error:
                        event = attempts.event_for_exception(task, activation, error)
                        ready = await self._commit(task, event)
                    else:
                        if (
                            asyncio_task.cancelling() != earlier_cancellations
                            and not attempts.is_still_running(task, activation)
                        ):
                            return []
                        if kept_answers:
                            kept_answers.pop(activation, None)
                        commands = run.accept_success(activation, update, epoch + time())
                        if step.decides and commands:
                            commands = dispatcher.evaluate_route(activation)
                        elif observers is not None and not step.decides:
                            observers.notify(build_committed(activation))
                        # By far the most common: one activation follows, and nothing else.
                        if (
                            len(commands) == 1
                            and type(command := commands[0]) is Activation
                            and backpressure is None
                        ):
                            command.started_at = activation.ended_at
                            activation = command
                            continue
                        if not commands and backpressure is None:
                            break
                        ready = dispatcher.apply(commands)
                        if backpressure is not None:
                            task.current = None
                            await backpressure()
                if len(ready) > 1 and self._group is None:
                    return ready
                activation = self._take_next(ready)
        finally:
            task.node_ended()
            self._tasks.discard(task)
            if attempts.long_pauses is not None:
                attempts.long_pauses.look_again()
        return []

    async def _commit(self, task: RunTask, event: Event | None) -> list[Activation]:
        """Give the event of an attempt to the core, and return what is ready to run."""
        task.node_ended()
        if event is None:
            return self._end_suspended(task) if task.suspended is not None else []
        ready = self._dispatcher.dispatch(event)
        if self._log.journal is not None:
            await self._log.make_durable()
        if self._backpressure is not None:
            await self._backpressure()
        return ready

    def _end_suspended(self, task: RunTask) -> list[Activation]:
        """Take note that a suspended attempt has ended; return it if it is to run again."""
        suspended, task.suspended = task.suspended, None
        rounds = self._dispatcher.tool_rounds
        assert suspended is not None
        assert rounds is not None
        return rounds.end_suspended(suspended)

    def _take_next(self, ready: list[Activation]) -> Activation | None:
        """Return what the task continues with, and start the others in tasks of their own."""
        if not ready:
            return None
        activation = ready.pop()
        if ready:
            self._start_all(ready)
        return activation
