"""The worker's side of a node that runs elsewhere than its run: from a job to a result.

Rules of this file:

1. A job is over when its result is stored. What cannot be run has a result as well, which says why.
   A job that has a result already is not done again: an engine may hand out what is over. Nor is a
   job that was given to another worker while this one was stopped. It may have no result any more:
   those of a run that is over are dropped.
2. The node is found in the worker's own graph; nothing in a job chooses what code runs.
3. A function with effect `once` begins once for each attempt: a worker that finds that it has
   begun reports that this call vanished.
4. A worker that is asked to cancel a call ends it, and says so: an owner that has taken over the
   run meanwhile may wait for it.
5. A process can be stopped at any moment. So the last thing before a function is the look whether
   its job is still held; a plain function repeats it in its thread, just before its first line. For
   a function with effect `once` the note of rule 3 does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Final, TypeVar

from graphorch import trace_context
from graphorch.clock import Clock, system_clock
from graphorch.distributed.engine import Holds, Job
from graphorch.distributed.errors import EngineUnavailable
from graphorch.distributed.node_messages import (
    BEGAN,
    CANCEL,
    RESULT,
    NodeCall,
    check_size,
    encode_message,
)
from graphorch.distributed.node_places import find_step
from graphorch.distributed.remote_context import NeedsOwner, RemoteContext
from graphorch.distributed.results import Note, Results
from graphorch.engine.invocation.call_codec import CallCodec
from graphorch.engine.invocation.invoker import is_late, list_declared
from graphorch.engine.invocation.process_protocol import encode_error
from graphorch.engine.invocation.processes import ProcessPool
from graphorch.errors import as_failure
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan, Step
from graphorch.journal.errors import StoreUnavailable
from graphorch.threads import ThreadPool

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_COROUTINE: Final[Any] = CoroutineType
_LATE: Final = encode_message({"late": True})  # the result of a call whose time was over
_CANCELLED: Final = encode_message({"cancelled": True})  # that of a call that was given up
_PAUSES: Final = (0.1, 0.3, 1.0)  # seconds before a result is posted again; the last repeats


class _Stopped(BaseException):
    """The process was stopped for long while a function was on its way to its thread."""


@dataclass(frozen=True, slots=True)
class WorkerFlow:
    """A flow whose nodes a worker runs, and the resources that it has for them."""

    plan: Plan
    resources: Any = None


class NodeHandler:
    """Runs the functions of nodes for other workers, and posts what they return or raise."""

    def __init__(
        self,
        flows: Sequence[WorkerFlow],
        results: Results,
        holds: Holds,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._holds = holds
        self._flows: Mapping[tuple[str, str], WorkerFlow] = {
            (flow.plan.name, compute_fingerprint(flow.plan)): flow for flow in flows
        }
        self._results = results
        self._clock = clock
        self._codec = CallCodec()
        self._threads = ThreadPool()
        self._processes: ProcessPool | None = None

    async def close(self) -> None:
        """End the worker processes, and let idle threads end."""
        self._threads.close()
        if self._processes is not None:
            await self._processes.close()

    async def handle(self, job: Job) -> None:
        """Do a job: call the function, and store its result."""
        try:
            call = NodeCall.decode(job.payload)
        except Exception:  # bytes that no version wrote
            _LOG.exception("job %s cannot be read, and is dropped", job.key)
            return
        run, result = call.key.run, call.key.name_note(RESULT)
        if await _repeat(lambda: self._results.has(run, result)):
            return
        # Nothing is awaited from here to the function, unless the worker was stopped.
        while await _repeat(lambda: self._holds.keep(job.key)):
            with contextlib.suppress(_Stopped):
                body = await self._run_cancellable(call)
                await self._post_patiently(call, RESULT, body)
                return

    async def _run_cancellable(self, call: NodeCall) -> bytes:
        """Return the result of a call, which its owner may cancel."""
        flow = self._flows.get((call.flow, call.fingerprint))
        step = None if flow is None else find_step(flow.plan, call.place)
        if flow is None or step is None:
            return _refuse(self._explain_unknown(call))
        context = RemoteContext(call, step, self._results, flow.resources, self._clock)
        running, is_withdrawn = asyncio.current_task(), False
        assert running is not None

        def take(note: Note) -> None:
            nonlocal is_withdrawn
            if note.key != CANCEL:
                context.take_answer(note)
            elif not is_withdrawn:
                is_withdrawn = True
                running.cancel()

        watching = asyncio.ensure_future(self._results.watch(call.key.job, take))
        try:
            return await self._run(call, step, context)
        except asyncio.CancelledError:
            if not is_withdrawn or running.uncancel():  # its worker ends, which goes first
                raise
            return _CANCELLED
        finally:
            self._results.unwatch(call.key.job)
            watching.cancel()
            await asyncio.wait([watching])

    def _explain_unknown(self, call: NodeCall) -> str:
        versions = [fingerprint for flow, fingerprint in self._flows if flow == call.flow]
        known = f"it has versions {', '.join(versions)}" if versions else "it has no such flow"
        return (
            f"The worker cannot find node '{call.path}' of flow '{call.flow}' in version "
            f"{call.fingerprint}: {known}. Start workers of the version that drives the run."
        )

    async def _run(self, call: NodeCall, step: Step, context: RemoteContext) -> bytes:
        """Return the message of what a function returned or raised."""
        if step.node.options.effect == "once" and not await self._begin(call):
            return encode_message({"vanished": True})
        if call.trace:
            trace_context.enter(call.trace)
        began = asyncio.get_running_loop().time()
        scope = asyncio.timeout(call.timeout)
        context.limit_time(scope.when())
        try:
            signature = step.node.signature
            given = self._codec.decode_arguments(signature, call.lines)
            arguments = [context, *given] if signature.has_context else given
            async with scope:
                output = await self._call(call, step, arguments, given)
            if is_late(scope):
                return _LATE
            lines, same = self._codec.encode_output(signature, output, given)
            names = [model.__name__ for model in signature.writes]
            check_size(lines, names, f"What '{call.path}' returned")
        except NeedsOwner as error:
            return _refuse(str(error), needs_owner=True)
        # The border to the user's code: all that it raises is sent to the owner of the run.
        except BaseException as raised:
            task = asyncio.current_task()
            failure = as_failure(raised)
            if failure is None or (task is not None and task.cancelling()):
                raise
            if is_late(scope):
                return _LATE
            return encode_message({"error": encode_error(failure, {})})
        finally:
            await context.finish()
        seconds = asyncio.get_running_loop().time() - began
        return encode_message({"same": same, "notes": context.notes, "seconds": seconds}, lines)

    async def _call(
        self, call: NodeCall, step: Step, arguments: Sequence[Any], given: Sequence[Any]
    ) -> Any:
        node = step.node
        if node.signature.is_async:
            return await node.fn(*arguments)
        if node.options.isolation == "process":
            if self._processes is None:
                self._processes = ProcessPool()
            return await self._processes.call(node, given, list_declared(step))
        output = await self._threads.call(self._enter, call.key.job, node, arguments)
        # A plain wrapper around an async function, such as a tracer's, returns a coroutine.
        return await output if type(output) is _COROUTINE else output

    def _enter(self, job: str, node: Node[Any], arguments: Sequence[Any]) -> Any:
        """Call a function in its thread, unless others may have called it meanwhile."""
        if node.options.effect != "once" and not self._holds.is_held(job):
            raise _Stopped
        return node.fn(*arguments)

    async def _begin(self, call: NodeCall) -> bool:
        """Record that an attempt begins; return whether it has not begun before."""
        return await self._post_patiently(call, BEGAN, secrets.token_bytes(12))

    async def _post_patiently(self, call: NodeCall, word: str, body: bytes) -> bool:
        """Post a note to the owner, also if the database is away for a while."""
        note = Note(call.key.run, call.key.run, call.key.name_note(word), body)
        return await _repeat(lambda: self._results.post(note))


async def _repeat(work: Callable[[], Awaitable[T]]) -> T:
    """Do something at the database, also if that is away for a while, and return what it said."""
    failures = 0
    while True:
        with contextlib.suppress(StoreUnavailable, EngineUnavailable):
            return await work()
        pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
        failures += 1
        await asyncio.sleep(pause)


def _refuse(reason: str, *, needs_owner: bool = False) -> bytes:
    return encode_message({"refused": reason, "needs_owner": needs_owner})
