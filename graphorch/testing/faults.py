"""Faults on demand: the n-th call of a node, a model or a store fails.

Theory of operation. `around_nodes` copies a flow's plan with every node replaced by a twin, whose
function calls the original. Names, edges, reducers and fingerprint are those of the original, so a
run that failed in one can be resumed with the other. Nothing of graphorch is patched. All twins are
async: a function that is not runs on the event loop, so that one seed is one schedule.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from graphorch.errors import ModelError
from graphorch.flow.flow import Flow
from graphorch.graph.context import Context
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan, Step
from graphorch.journal.codec import BodyLimits
from graphorch.journal.completion import Completion
from graphorch.journal.errors import StoreUnavailable
from graphorch.journal.records import (
    Lease,
    Letter,
    NewLetter,
    NewRun,
    Pruned,
    Record,
    RunHead,
    RunLog,
    RunPage,
    RunQuery,
    Settlement,
    Snapshot,
)
from graphorch.journal.store import Store
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Request, Response

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)
State = TypeVar("State", bound=BaseModel)
T = TypeVar("T")
Call = Callable[[], Awaitable[Any]]
Around = Callable[[Context[Any], Call], Awaitable[Any]]


class Injected(Exception):
    """Error of a node that was made to fail."""


def around_nodes(flow: Flow[In, Out, State], around: Around) -> Flow[In, Out, State]:
    """Return the flow with a function around every node, also those in sub-flows and maps.

    `around` gets the node's context and the call; its result or error is that of the node:

        async def slowly(ctx, call):
            await asyncio.sleep(1)
            return await call()

        flow = around_nodes(flow, slowly)
    """
    return with_nodes(flow, lambda node: copy_flow(node, around))


def with_nodes(
    flow: Flow[In, Out, State], change: Callable[[Node[Any]], Node[Any]]
) -> Flow[In, Out, State]:
    """Return the flow with other nodes under their names.

    `change` makes them of each node that has a function.
    """
    changed: dict[int, Plan] = {}

    def change_plan(plan: Plan) -> Plan:
        # A flow in several places stays one.
        if id(plan) not in changed:
            steps = tuple(_change_step(step, change, change_plan) for step in plan.steps)
            changed[id(plan)] = replace(plan, steps=steps)
        return changed[id(plan)]

    return Flow(change_plan(flow.plan))


def _change_step(
    step: Step,
    change: Callable[[Node[Any]], Node[Any]],
    change_plan: Callable[[Plan], Plan],
) -> Step:
    if step.inner_plan is not None:
        return replace(step, inner_plan=change_plan(step.inner_plan))
    if step.ask is not None or step.event is not None or step.node.kind in ("first", "end"):
        return step  # it has no function
    node = change(step.node)
    return replace(step, node=node, decides=step.decides or node.options.gate == "after")


def copy_flow(node: Node[Any], around: Around) -> Node[Any]:
    """Return the node with a function around its own."""
    twin = copy.copy(node)
    twin.fn = _Surrounded(node, around)
    twin.signature = replace(node.signature, has_context=True, is_async=True)
    return twin


class _Surrounded:
    """A node's function with another one around it.

    Other attributes (an agent's prompt, its model) are those of the original.
    """

    __slots__ = ("_around", "_node")

    def __init__(self, node: Node[Any], around: Around) -> None:
        self._node = node
        self._around = around

    async def __call__(self, ctx: Context[Any], *slices: Any) -> Any:
        return await self._around(ctx, partial(self._call, ctx, slices))

    async def _call(self, ctx: Context[Any], slices: tuple[Any, ...]) -> Any:
        signature = self._node.signature
        result = self._node.fn(ctx, *slices) if signature.has_context else self._node.fn(*slices)
        return await result if signature.is_async else result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node.fn, name)


class FailNth:
    """Makes the n-th call of a flow's nodes, a model or a store fail.

    `calls` counts them, and n = 0 lets all of them pass. `when="after"` makes the call and then
    fails: an effect whose result is lost. Without `error` a node raises `Injected`, a model a
    retryable `ModelError`, a store `StoreUnavailable`. For every n, until a run makes fewer calls:

        fault = FailNth(n)
        with pytest.raises(RunFailed):
            await fault.nodes(flow).run(Topic(topic="tides"))
    """

    def __init__(
        self, n: int, error: Exception | None = None, *, when: Literal["before", "after"] = "before"
    ) -> None:
        self.n = n
        self.calls = 0
        self._error = error
        self._when = when

    def nodes(self, flow: Flow[In, Out, State]) -> Flow[In, Out, State]:
        """Return the flow, in which the n-th call of a node fails."""
        return around_nodes(flow, self.around)

    def model(self, client: ModelClient) -> ModelClient:
        """Return the client, of which the n-th call fails."""
        return _FailingModel(self, client)

    def store(self, store: Store) -> Store:
        """Return the store, of which the n-th call fails."""
        return _FailingStore(self, store)

    @property
    def has_fired(self) -> bool:
        """Return whether the n-th call was made."""
        return 0 < self.n <= self.calls

    async def around(self, ctx: Context[Any], call: Call) -> Any:
        """Count the call of a node, and make it, or fail; for `around_nodes`."""
        number = self.calls + 1
        error = Injected(f"call {number} of a node, at {ctx.path}, was made to fail")
        return await self.call(call, error)

    async def call(self, call: Callable[[], Awaitable[T]], otherwise: Exception) -> T:
        """Count a call, and make it, or fail."""
        self.calls += 1
        if self.calls != self.n:
            return await call()
        if self._when == "after":
            await call()
        raise self._error or otherwise


class _FailingModel:
    def __init__(self, fault: FailNth, client: ModelClient) -> None:
        self._fault = fault
        self._client = client

    @property
    def inner(self) -> ModelClient:
        """The client that this one is around."""
        return self._client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        error = ModelError(
            f"call {self._fault.calls + 1} of a model was made to fail",
            model=request.model,
            retryable=True,
        )
        return await self._fault.call(partial(self._client.complete, request, on_text), error)


class _FailingStore:
    def __init__(self, fault: FailNth, store: Store) -> None:
        self._fault = fault
        self._store = store

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._fault.call(
            call, StoreUnavailable(f"call {self._fault.calls + 1} of a store was made to fail")
        )

    @property
    def limits(self) -> BodyLimits:
        return self._store.limits

    async def create(self, run: NewRun) -> RunHead:
        return await self._call(partial(self._store.create, run))

    async def claim(self, run_id: str, owner: str, *, ttl: float) -> Lease:
        return await self._call(partial(self._store.claim, run_id, owner, ttl=ttl))

    async def renew(self, lease: Lease, *, ttl: float) -> Lease:
        return await self._call(partial(self._store.renew, lease, ttl=ttl))

    async def release(self, lease: Lease) -> None:
        await self._call(partial(self._store.release, lease))

    async def release_unless_mail(self, lease: Lease) -> bool:
        return await self._call(partial(self._store.release_unless_mail, lease))

    async def append(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> None:
        await self._call(
            partial(
                self._store.append,
                lease,
                records,
                expected_last_seq=expected_last_seq,
                status=status,
                settled=settled,
            )
        )

    def append_soon(
        self,
        lease: Lease,
        records: Sequence[Record],
        *,
        expected_last_seq: int,
        status: str | None = None,
        settled: Sequence[Settlement] = (),
    ) -> Completion | None:
        return Completion.of(
            self.append(
                lease, records, expected_last_seq=expected_last_seq, status=status, settled=settled
            )
        )

    async def post(self, letter: NewLetter) -> Letter:
        return await self._call(partial(self._store.post, letter))

    async def list_letters(self, run_id: str, *, after: int = 0) -> tuple[Letter, ...]:
        return await self._call(partial(self._store.list_letters, run_id, after=after))

    def watch_mail(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        return self._store.watch_mail(run_id, wake)

    def watch_records(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        return self._store.watch_records(run_id, wake)

    async def enter_regions(
        self, lease: Lease, names: Sequence[str], *, is_nested: bool = False
    ) -> bool:
        enter = partial(self._store.enter_regions, lease, names, is_nested=is_nested)
        return await self._call(enter)

    async def leave_regions(self, lease: Lease, names: Sequence[str]) -> None:
        await self._call(partial(self._store.leave_regions, lease, names))

    def watch_regions(self, run_id: str, wake: Callable[[], None]) -> Callable[[], None]:
        return self._store.watch_regions(run_id, wake)

    async def read_head(self, run_id: str) -> RunHead:
        return await self._call(partial(self._store.read_head, run_id))

    async def load(self, run_id: str, *, after_seq: int = 0) -> RunLog:
        return await self._call(partial(self._store.load, run_id, after_seq=after_seq))

    async def save_snapshot(self, lease: Lease, snapshot: Snapshot) -> None:
        await self._call(partial(self._store.save_snapshot, lease, snapshot))

    async def load_snapshot(self, run_id: str) -> Snapshot | None:
        return await self._call(partial(self._store.load_snapshot, run_id))

    async def list_runs(self, query: RunQuery | None = None) -> RunPage:
        return await self._call(partial(self._store.list_runs, query))

    async def erase(self, run_id: str) -> None:
        await self._call(partial(self._store.erase, run_id))

    async def prune(
        self, *, before: float, statuses: Sequence[str], any_key: bool = False
    ) -> Pruned:
        return await self._call(
            partial(self._store.prune, before=before, statuses=statuses, any_key=any_key)
        )

    async def close(self) -> None:
        await self._store.close()
