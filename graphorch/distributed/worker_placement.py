"""Where the functions of one run's nodes are called: in the worker that drives it, or in others.

Rules of this file:

1. Agents, undos, calls of tools and functions that run inline stay with their run. They take no
   room, as in a process without workers.
2. A node or tool that asks for other workers always goes out. Any other node goes out if there is
   no room here, if it can be sent, and if that pays: so a map that states no `concurrency`, or a
   greater one than the room here, fills all workers.
3. A result that was posted counts before anything is sent. After a take-over that is so for every
   call of an attempt whose end is not recorded, also one that an earlier owner sent.
4. The first result of a call counts. What comes later, or for a call that was given up, is
   dropped.
5. A call that is cancelled is withdrawn, unless its run is handed over: then it is taken over.
6. While another worker may have taken the run, nothing begins here, and no model is asked: it would
   be done twice.
7. Model calls of a function are made here, by the context of its own attempt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graphorch.core.tree import Activation, is_inside_call
from graphorch.distributed.certainty import Certainty, always_certain, wait_until
from graphorch.distributed.engine import Job
from graphorch.distributed.local_slots import SHORT, LocalSlots
from graphorch.distributed.node_messages import (
    RESULT,
    CallKey,
    NodeCall,
    check_size,
    decode_message,
    name_node_kind,
    read_note_key,
)
from graphorch.distributed.node_places import find_place, find_step
from graphorch.distributed.outbox import Outbox
from graphorch.distributed.results import Note
from graphorch.distributed.sent_call import SentCall, SentResult
from graphorch.engine.invocation.call_codec import CallCodec
from graphorch.engine.invocation.invoker import build_timeout, list_declared
from graphorch.engine.invocation.process_protocol import Unportable, decode_error
from graphorch.engine.invocation.secret_values import has_mark
from graphorch.errors import Ambiguous
from graphorch.graph.edges import Topology
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.graph.plan import USUAL_CONCURRENCY, Plan
from graphorch.trace_context import current_headers

Here = Callable[[], Awaitable[Any]]
Node = tuple[int, int]
"""A node of a graph, wherever the flow is used: the id of its topology, and its number there."""

MOST_AT_ONCE: Final = 1_000
"""Items of one map that are under way at once at most, unless the map states more."""

_KEPT_SECONDS: Final = 60.0  # for which the notes of a call stay after its activation was over

_LOOK_SECONDS: Final = 0.5  # between two looks whether a cancelled call is still under way
_LOOKS: Final = 20
_NO_POOLS: Final[Mapping[str, Outbox]] = {}


@dataclass(slots=True)
class _TakenOver:
    """A call of the process before: its notes by word, and whether it may still be under way."""

    key: CallKey
    notes: dict[str, bytes] = field(default_factory=dict[str, bytes])


class WorkerPlacement:
    """The placement of one run, in a worker that has `slots` for functions of all its runs.

    `count_served` returns how many functions all workers together run for runs of others.
    Jobs of nodes whose pool is one of `pools` leave by the outbox of that pool.
    `may_begin` says whether the run is certainly still that of this worker.
    """

    def __init__(
        self,
        outbox: Outbox,
        slots: LocalSlots,
        run_id: str,
        plan: Plan,
        count_served: Callable[[], int],
        pools: Mapping[str, Outbox] = _NO_POOLS,
        may_begin: Certainty = always_certain,
    ) -> None:
        self._may_begin = may_begin
        self._outbox = outbox
        self._pools = pools
        self._slots = slots
        self._count_served = count_served
        self._run_id = run_id
        self._plan = plan
        self._fingerprint = compute_fingerprint(plan)
        self._codec = CallCodec()
        self._sent: dict[str, SentCall] = {}  # by the key of the job
        self._taken_over: dict[str, _TakenOver] = {}  # by the id of the activation
        self._found: dict[CallKey, _TakenOver] | None = None  # while it takes over
        self._ended: deque[tuple[float, Activation, list[str]]] = deque()
        self._stays: set[Node] = set()  # nodes that turned out to need their run
        self._is_watching = False
        self._is_leaving = False

    # ---- for the engine --------------------------------------------------------------------------
    async def call(self, activation: Activation, arguments: list[Any], here: Here) -> Any:
        """Return what a node's function returns, wherever it runs."""
        if activation.step.node.options.goes_out or activation.id in self._taken_over:
            return await self._call_elsewhere(activation, arguments, here)
        if not _needs_room(activation):
            await self.wait_until_certain()
            return await here()
        if await self._take_room(activation):
            return await self._call_here(activation, here)
        return await self._call_elsewhere(activation, arguments, here)

    def count_at_once(self, activation: Activation) -> int | None:
        """Return how many items of a map run at once here and elsewhere.

        Agents take no room, and their calls are bounded by money and by limits per minute. So a map
        with agents inside has as many items at once as in a process without workers.
        """
        plan = activation.step.inner_plan
        if plan is None or _has_agents(plan, set()):
            return None
        return max(USUAL_CONCURRENCY, min(MOST_AT_ONCE, self._slots.count + self._count_served()))

    async def wait_until_certain(self) -> None:
        """Return once the run is certainly that of this worker: else its process ends meanwhile."""
        if not self._may_begin():
            await wait_until(self._may_begin)

    async def take_over(self, vanished: Sequence[Activation]) -> Collection[Activation]:
        """Find the calls of the process before that have ended, or are under way."""
        self._found = {}
        await self._watch()
        possible = {
            activation: list(_list_possible_keys(self._run_id, activation))
            for activation in vanished
        }
        alive = await self._list_alive(possible)
        found, self._found = self._found, None
        for activation, keys in possible.items():
            chosen = _choose_taken_over(activation, keys, found, alive)
            if chosen is not None:
                self._taken_over[activation.id] = chosen
        return [activation for activation in vanished if activation.id in self._taken_over]

    def leave(self) -> None:
        """Let what runs elsewhere go on: the next owner of the run takes it over."""
        self._is_leaving = True

    async def close(self, *, is_at_rest: bool = True) -> None:
        """Take no more notes. Those of a run at rest are dropped: they are recorded, or not wanted.

        So are the calls of the owner before that nobody waited for. A run that goes on elsewhere
        needs them all.
        """
        if self._is_watching:
            self._outbox.results.unwatch(self._run_id)
            self._is_watching = False
            if is_at_rest:
                for left in self._taken_over.values():
                    self._outbox.withdraw(left.key)
                await self._outbox.drop(self._run_id)

    # ---- what the owner before left --------------------------------------------------------------
    async def _list_alive(
        self, possible: Mapping[Activation, Sequence[CallKey]]
    ) -> Collection[str]:
        """Return the keys of jobs that may be under way.

        Of a cluster that does not answer, all may be. They are put again under their keys once it
        does, so none is done twice at a time. A function with effect once is not among them: it may
        have begun where it left no note.
        """
        alive: set[str] = set()
        by_outbox: dict[Outbox, dict[str, Activation]] = {}
        for activation, keys in possible.items():
            asked = by_outbox.setdefault(self._find_outbox(activation), {})
            asked.update((key.job, activation) for key in keys)
        for outbox, asked in by_outbox.items():
            if outbox is self._outbox:
                alive |= await outbox.list_alive(list(asked))
            elif (answer := await outbox.ask_alive(list(asked))) is not None:
                alive |= answer
            else:
                alive.update(job for job, activation in asked.items() if not _acts_once(activation))
        return alive

    # ---- in this process -------------------------------------------------------------------------
    def _can_go_out(self, activation: Activation, node: Node) -> bool:
        """Return whether a node may be sent although it does not ask for other workers."""
        step = activation.step
        return (
            node not in self._stays
            and not _acts_once(activation)
            and not step.exclusive
            and not has_mark(activation, "secret")
        )

    async def _take_room(self, activation: Activation, *, must_stay: bool = False) -> bool:
        """Take room for a function, if there is some or it is worth waiting for.

        Return False for one that is to go out.
        """
        slots, node, time = self._slots, _identify(activation), asyncio.get_running_loop().time
        if not slots.is_full:
            return await slots.take()
        began = time()
        waits = must_stay or not self._can_go_out(activation, node)
        is_taken = await slots.take(None if waits or slots.is_short(node) else SHORT)
        # Others of its kind may have shown meanwhile that they are short.
        if not is_taken and slots.is_short(node):
            is_taken = await slots.take()
        activation.waited += time() - began
        return is_taken

    async def _call_here(self, activation: Activation, here: Here) -> Any:
        """Run a function in room that was taken for it, and make room again."""
        time = asyncio.get_running_loop().time
        try:
            await self.wait_until_certain()
            began = time()
            output = await here()
            self._slots.note(_identify(activation), time() - began)
            return output
        finally:
            self._slots.give_back()

    # ---- elsewhere -------------------------------------------------------------------------------
    async def _call_elsewhere(
        self, activation: Activation, arguments: list[Any], here: Here
    ) -> Any:
        """Send a call and return its result; run it here if it turns out that no other can."""
        taken_over = self._taken_over.pop(activation.id, None)
        key = self._name_call(activation) if taken_over is None else taken_over.key
        sent = self._sent[key.job] = SentCall(key, activation, arguments)
        must_go_out = activation.step.node.options.goes_out
        try:
            job = self._build_job(activation, sent)
            await self._watch()
            for word, body in taken_over.notes.items() if taken_over is not None else ():
                sent.take(word, body)
            if taken_over is None or RESULT not in taken_over.notes:
                self._find_outbox(activation).put(job)
            result = await self._wait(activation, sent)
        except Unportable:
            if must_go_out:
                raise
            result = None
        finally:
            self._forget(activation, sent)
        if result is None or ("refused" in result.header and not must_go_out):
            self._stays.add(_identify(activation))
            await self._take_room(activation, must_stay=True)
            return await self._call_here(activation, here)
        if "cancelled" in result.header:  # by the process that sent it, before it was taken over
            return await self._call_elsewhere(activation, arguments, here)
        return self._read_result(activation, sent, result)

    def _name_call(self, activation: Activation) -> CallKey:
        key = CallKey(self._run_id, activation.id, str(activation.attempt))
        is_second_copy = key.job in self._sent
        return key._replace(call=f"{key.call}h") if is_second_copy else key

    def _build_job(self, activation: Activation, sent: SentCall) -> Job:
        """Return the job of a call. Raises `Unportable`."""
        step, path, place = activation.step, activation.path, find_place(activation)
        if find_step(self._plan, place) is not step:
            raise Unportable(
                f"'{path}' cannot run on another worker: only the code of its node knows this "
                "tool. Give it to an agent: @agent(tools=[…])."
            )
        if has_mark(activation, "secret"):
            raise Unportable(
                f"'{path}' reads a secret, which would be written into the database on its way to "
                "another worker. Leave out its isolation and pool."
            )
        lines = self._codec.encode_arguments(step.node.signature, sent.given)
        names = [type(given).__name__ for given in sent.given]
        check_size(lines, names, f"What '{path}' reads")
        options = step.node.options
        call = NodeCall(
            *sent.key,
            flow=self._plan.name,
            fingerprint=self._fingerprint,
            path=path,
            place=place,
            attempt=activation.attempt,
            timeout=options.timeout,
            context=sent.describe_context(),
            trace=current_headers(),
            lines=tuple(lines),
        )
        kind = name_node_kind(self._plan.name, self._fingerprint, options.pool)
        return Job(kind, sent.key.job, call.encode())

    def _find_outbox(self, activation: Activation) -> Outbox:
        return self._pools.get(activation.step.node.options.pool or "", self._outbox)

    async def _wait(self, activation: Activation, sent: SentCall) -> SentResult:
        outbox = self._find_outbox(activation)
        began = asyncio.get_running_loop().time()
        try:
            result = await sent.wait(self._outbox.post)
        except BaseException:
            if self._is_leaving:
                raise
            outbox.withdraw(sent.key)
            if self._plan.has_undos or activation.step.exclusive:
                await self._wait_for_end(sent, outbox)
            raise
        outbox.forget(sent.key)
        seconds = asyncio.get_running_loop().time() - began
        activation.waited += max(0.0, seconds - result.header.get("seconds", seconds))
        return result

    async def _wait_for_end(self, sent: SentCall, outbox: Outbox) -> None:
        """Wait until a function that was cancelled has ended, on whatever machine.

        What it did is undone after it, and its exclusive region is free after it. A machine that
        does not say so for long is not waited for any more.
        """
        for _ in range(_LOOKS):
            if await sent.has_ended(_LOOK_SECONDS):
                return
            alive = await outbox.ask_alive([sent.key.job])
            if alive is not None and sent.key.job not in alive:
                return

    def _forget(self, activation: Activation, sent: SentCall) -> None:
        """Forget a call, and drop the notes of those that have been over for long."""
        del self._sent[sent.key.job]
        self._find_outbox(activation).settle(sent.key)
        now = asyncio.get_running_loop().time()
        self._ended.append((now, activation, sent.note_keys))
        keys: list[str] = []
        # A result has to stay until what follows from it is durable, which it is by far then.
        while self._ended and self._ended[0][0] < now - _KEPT_SECONDS:
            _, ended, notes = self._ended.popleft()
            keys += notes if ended.is_over else []
        if keys:
            self._outbox.drop_later(self._run_id, keys)

    def _read_result(self, activation: Activation, sent: SentCall, result: SentResult) -> Any:
        """Return what a function returned. Raises what it raised."""
        step, header = activation.step, result.header
        if "refused" in header:
            raise Unportable(header["refused"])
        if "vanished" in header:
            raise Ambiguous(
                f"'{activation.path}' began on a worker that ended; whether it acted is not known."
            )
        if "late" in header:
            raise build_timeout(activation)
        if "error" in header:
            raise decode_error(header["error"], list_declared(step))
        if sent.context is not None:
            for text in header["notes"]:
                sent.context.note(text)
        self._slots.note(_identify(activation), header["seconds"])
        signature = step.node.signature
        return self._codec.decode_output(signature, result.lines, header["same"], sent.given)

    # ---- notes -----------------------------------------------------------------------------------
    async def _watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            await self._outbox.watch(self._run_id, self._take)

    def _take(self, note: Note) -> None:
        """Take a note of a worker, unless its call is not wanted."""
        key, word = read_note_key(self._run_id, note.key)
        sent = self._sent.get(key.job)
        taken_over = self._taken_over.get(key.activation)
        if sent is not None:
            sent.take(word, note.body)
        elif self._found is not None:
            self._found.setdefault(key, _TakenOver(key)).notes[word] = note.body
        elif taken_over is not None and taken_over.key == key:
            taken_over.notes[word] = note.body


def _has_agents(plan: Plan, seen: set[Topology]) -> bool:
    """Return whether an agent is in a graph, or inside of it; look into each graph once."""
    if plan.topology in seen:
        return False
    seen.add(plan.topology)
    inner_plans = [step.inner_plan for step in plan.steps if step.inner_plan is not None]
    return any(step.node.kind == "agent" for step in plan.steps) or any(
        _has_agents(inner, seen) for inner in inner_plans
    )


def _identify(activation: Activation) -> Node:
    return id(activation.scope.plan.topology), activation.step.index


def _acts_once(activation: Activation) -> bool:
    return activation.step.node.options.effect == "once"


def _needs_room(activation: Activation) -> bool:
    """Return whether a function takes room: others have to run, whatever else there is to do."""
    node = activation.step.node
    return (
        node.kind == "node"
        and node.options.isolation != "inline"
        and not activation.scope.is_undo
        and not is_inside_call(activation)
    )


def _list_possible_keys(run_id: str, activation: Activation) -> Iterator[CallKey]:
    """Yield the keys under which a process before this one may have sent an activation.

    A take-over begins a new attempt, but waits for the call of the old one. So where one followed
    another, the call has the number of an earlier attempt.
    """
    is_hedged = activation.step.node.options.hedge_after is not None
    for attempt in range(1, activation.attempt + 1):
        yield CallKey(run_id, activation.id, str(attempt))
        if is_hedged:
            yield CallKey(run_id, activation.id, f"{attempt}h")


def _choose_taken_over(
    activation: Activation,
    possible: Sequence[CallKey],
    found: dict[CallKey, _TakenOver],
    alive: Collection[str],
) -> _TakenOver | None:
    """Return the call whose outcome the next attempt gets; None if there is none.

    Cases: one that succeeded; one that failed, if it is of the attempt that vanished: failures of
    earlier ones are recorded, and their retries followed; else the latest that may be under way.
    """
    failed: _TakenOver | None = None
    ended = [key for key in possible if RESULT in found.get(key, _TakenOver(key)).notes]
    for key in ended:
        result = SentResult(*decode_message(found[key].notes[RESULT]))
        if result.is_success:
            return found[key]
        if result.is_failure and key.attempt == activation.attempt:
            failed = found[key]
    if failed is not None:
        return failed
    under_way = [key for key in possible if key.job in alive and key not in ended]
    return found.get(under_way[-1], _TakenOver(under_way[-1])) if under_way else None
