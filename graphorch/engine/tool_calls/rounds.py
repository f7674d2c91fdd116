"""Rounds of tool calls on their way through the core, and back to the attempts that wait for them.

Theory of operation. An attempt hands a round of calls to the core, which makes activations of them,
and waits. The calls run like any other activation. When the core says that the round has ended, the
attempt goes on with the outcomes.

Rules of this file:
1. A call starts only while an attempt waits for its round: one that a resume makes ready is kept
   until the attempt, which runs again, has come to it. So its function is known by then.
2. A round that the core knows is not handed over again: what has an outcome is served.
3. An attempt that was suspended, since only people can continue it, has ended before the next
   attempt of the same activation begins.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from graphorch.core.events import Event, ToolsCalled
from graphorch.core.state import RunState
from graphorch.core.tree import Activation, Status, ToolCalled, ToolRound, ToolScope, ToolScopes
from graphorch.engine.invocation.binding import build_inner_failed
from graphorch.engine.tool_calls.call_plans import bind_tool, read_arguments

if TYPE_CHECKING:
    from graphorch.agents.tool import Tool
    from graphorch.graph.payloads import ToolOutcome

_Place: TypeAlias = tuple[Activation, str]
"""A round: the activation that it is inside of, and its key."""


class ToolRounds:
    """Rounds of the tool calls of one run.

    `dispatch` gives an event to the core and returns what is ready, `spawn` starts that, and `now`
    returns seconds since the epoch. `check_doubt` raises `Ambiguous` for a call that may have
    acted.
    """

    def __init__(
        self,
        run: RunState,
        dispatch: Callable[[Event], list[Activation]],
        spawn: Callable[[list[Activation]], None],
        now: Callable[[], float],
        check_doubt: Callable[[Activation], None],
    ) -> None:
        self._run = run
        self._dispatch = dispatch
        self._spawn = spawn
        self._now = now
        self._check_doubt = check_doubt
        self._waiting: dict[_Place, asyncio.Future[None]] = {}
        self._held: dict[_Place, list[Activation]] = {}
        self._suspended: set[Activation] = set()  # whose attempts have not ended yet
        self._woken: set[Activation] = set()  # of those, to be attempted again

    # ---- for attempts ----------------------------------------------------------------------------
    def find(self, activation: Activation, key: str) -> ToolRound | None:
        """Return a round that the core knows already."""
        children = activation.children
        return children.rounds.get(key) if isinstance(children, ToolScopes) else None

    def is_waiting(self, activation: Activation) -> bool:
        """Return whether an attempt waits for a round of its calls."""
        return any(agent is activation for agent, _ in self._waiting)

    async def start(
        self,
        activation: Activation,
        key: str,
        label: str,
        calls: Sequence[ToolCalled],
        abandons: Sequence[ToolRound] = (),
    ) -> list[ToolOutcome]:
        """Return the outcomes of a new round of calls, in their order.

        Rounds that it `abandons` are withdrawn. Raises `InnerFailed` if a call fails for good, and
        `Ambiguous` if one of those that are withdrawn may have acted.
        """
        for round in abandons:
            for scope in round.scopes:
                for call in scope.active.values():
                    self._check_doubt(call)
            self._held.pop((activation, round.key), None)
        event = ToolsCalled(
            activation, key, label, calls, self._now(), [round.key for round in abandons]
        )
        with self._wait(activation, key) as ended:
            self._spawn(self._dispatch(event))
            await ended
        return self._read_outcomes(activation, key)

    async def take_up(
        self, activation: Activation, key: str, tools: Mapping[str, Tool]
    ) -> list[ToolOutcome]:
        """Return the outcomes of a round that is known, once its open calls have ended too.

        Raises `InnerFailed` if one of them fails for good.
        """
        round = self.find(activation, key)
        assert round is not None
        with self._wait(activation, key) as ended:
            for scope in round.scopes:
                if not scope.finished:
                    bind_tool(scope, tools)
            held = self._held.pop((activation, key), [])
            startable = (Status.RUNNING, Status.RETRYING)
            self._spawn([call for call in held if call.status in startable])
            if round.unfinished:
                await ended
        return self._read_outcomes(activation, key)

    @contextmanager
    def _wait(self, activation: Activation, key: str) -> Generator[asyncio.Future[None]]:
        """Let the calls of a round start, and give the future that `end` sets."""
        place = activation, key
        ended = self._waiting[place] = asyncio.get_running_loop().create_future()
        try:
            yield ended
        finally:
            if self._waiting.get(place) is ended:
                del self._waiting[place]

    def _read_outcomes(self, activation: Activation, key: str) -> list[ToolOutcome]:
        round = self.find(activation, key)
        assert round is not None
        if round.unfinished:
            raise self._build_failure(round)
        return [_read_outcome(scope) for scope in round.scopes]

    def _build_failure(self, round: ToolRound) -> Exception:
        unfinished = [scope for scope in round.scopes if not scope.finished]
        names = ", ".join(sorted({scope.call.tool for scope in unfinished}))
        return build_inner_failed(f"A call of {names} failed", unfinished, self._run.errors)

    # ---- for the dispatcher ----------------------------------------------------------------------
    def end(self, activation: Activation, round: ToolRound) -> None:
        """Let the attempt go on that waits for a round, if there is one."""
        ended = self._waiting.get((activation, round.key))
        if ended is not None and not ended.done():
            ended.set_result(None)

    def suspend(self, activation: Activation) -> None:
        """Remember an attempt that is about to end without an outcome."""
        self._suspended.add(activation)

    def take_ready(self, ready: list[Activation]) -> list[Activation]:
        """Return what may start now, and keep the rest.

        That is calls that no attempt waits for (rule 1), and attempts whose predecessors have not
        ended (rule 3).
        """
        return [activation for activation in ready if self._may_start(activation)]

    def _may_start(self, activation: Activation) -> bool:
        if activation in self._suspended:
            self._woken.add(activation)
            return False
        scope = activation.scope
        if not isinstance(scope, ToolScope):
            return True
        agent = scope.parent
        assert agent is not None
        place = agent, scope.round.key
        if place in self._waiting:
            return True
        self._held.setdefault(place, []).append(activation)
        return False

    # ---- for the task pool -----------------------------------------------------------------------
    def end_suspended(self, activation: Activation) -> list[Activation]:
        """Take note that a suspended attempt has ended; return the activation if it was woken."""
        self._suspended.discard(activation)
        if activation not in self._woken:
            return []
        self._woken.discard(activation)
        return [activation] if activation.status is Status.RUNNING else []


def _read_outcome(scope: ToolScope) -> ToolOutcome:
    """Return the outcome of a call, which says so if a person changed the arguments."""
    output = scope.output
    assert output is not None
    outcome: ToolOutcome = scope.plan.read_output.result(output)
    arguments = read_arguments(scope, output)
    if arguments != scope.call.arguments:
        changed = json.dumps(arguments, ensure_ascii=False)
        note = f"(A person changed the arguments of this call to {changed}.)"
        outcome.text = f"{note}\n{outcome.text}"
    return outcome
