"""What a graph waits for from outside: signals, timers, and the first of several events."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.errors import GraphError, Problem
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.node import Ask, Node, NodeKind, Reads, Signal, Timer
from graphorch.graph.options import LONGEST_WAIT, is_count, is_patience
from graphorch.graph.plan import SignalSpec, TimerSpec
from graphorch.graph.route import Of, Steps
from graphorch.graph.signature import Signature, StateFunction
from graphorch.graph.wrong_calls import shows_right_call

S = TypeVar("S", bound=BaseModel)
W = TypeVar("W", bound=BaseModel)
_MOST_KEPT = 10_000


class EventMethods(GraphBuilder[S], Generic[S]):
    """The methods of a graph that add nodes which wait for something from outside."""

    @shows_right_call("graph.signal('paid', Payment)")
    def signal(
        self,
        name: str,
        value: type[W],
        *,
        keep: int = 1,
        key: Of[S, str] | None = None,
        expires: float | None = None,
    ) -> Signal[S, W]:
        """Add a node that waits for a signal from outside, and writes its value.

        `flow.send(run_id, name, value)` or `graphorch send` brings it, from any process. Up to
        `keep` signals (0: none) are kept that come before a node waits for them; further ones are
        refused. With `key`, a function of the state, the node takes only a signal that was sent
        with that key: so each item of a map can wait for its own. Without an answer within
        `expires` seconds it fails as `Expired`.
        """
        _check_value(self.name, name, value)
        where = f"signal '{name}'"
        if keep != 0 and not (is_count(keep) and keep <= _MOST_KEPT):
            self.add_problem(
                "SIGNAL_KEEP", where, f"keep={keep!r} is not a count", f"give 0 to {_MOST_KEPT}"
            )
        if expires is not None and not is_patience(expires):
            self.add_problem(
                "SIGNAL_EXPIRES",
                where,
                f"expires={expires!r} is not a duration",
                "give seconds greater than 0, at most a thousand years, or leave it out",
            )
        function = None if key is None else self.make_function(key, f"key of {where}", (str,))
        self.spec.events[name] = SignalSpec(value, keep, function, expires)
        return self._add_event(Signal[S, W], name, "signal", (value,))

    @shows_right_call("graph.timer('after_3_days', after=timedelta(days=3))")
    def timer(
        self,
        name: str,
        *,
        after: timedelta | Of[S, timedelta] | None = None,
        at: datetime | Of[S, datetime] | None = None,
    ) -> Timer[S]:
        """Add a node that waits for a time: `after` it is reached, or `at` a date.

        Both may be functions of the state. A date needs a time zone; one that is over passes at
        once. The time is recorded when the wait begins, so it survives a crash, and a run that only
        waits returns as `waiting` when its time is far away (see `Limits`): `result.due` says until
        when, and `graphorch resume --due` continues what is due.
        """
        where = f"timer '{name}'"
        spec = TimerSpec(seconds=0.0)
        if (after is None) == (at is None):
            fix = "give either after=timedelta(…) or at=datetime(…, tzinfo=UTC)"
            self.add_problem("TIMER_TIME", where, "it needs one of `after` and `at`", fix)
        elif after is not None:
            spec = self._read_duration(after, where)
        else:
            spec = self._read_moment(at, where)
        self.spec.events[name] = spec
        return self._add_event(Timer[S], name, "timer", ())

    @shows_right_call("graph.first('decided', {approve: ship, paid: ship, after_3_days: remind})")
    def first(
        self, name: str, events: Mapping[Ask[Any, Any] | Signal[Any, Any] | Timer[Any], Steps[S]]
    ) -> Node[Reads[S]]:
        """Add a node that waits for the first of several events, and goes on as that one says.

        Each event is a question, a signal or a timer, with the node or nodes that follow it. The
        first that comes wins; the others are withdrawn by name, and what comes late is refused.
        """
        where = f"first '{name}'"
        if not isinstance(events, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            what = f"a {type(events).__name__} is not a mapping of events"
            fix = "give {event: node}, such as {approve: ship, after_3_days: remind}"
            raise GraphError(self.name, [Problem("FIRST_EVENTS", where, what, fix)])
        names: list[str] = []
        for event, targets in events.items():
            names.append(self.add_step(event, where))
            self.chain(event, targets)  # pyright: ignore[reportArgumentType]
        self.spec.firsts[name] = tuple(names)
        node = Node[Reads[S]](
            _no_function, Signature((), (), False, None, False, False), name=name, kind="first"
        )
        self._register(node)
        return node

    def read_cancel_signal(self, signal: object, where: str) -> str:
        """Return the name of the signal that ends a map or sub-flow; "" for None."""
        if signal is None:
            return ""
        fix = "give what graph.signal(…) of this graph returns"
        if not isinstance(signal, Signal):
            kind = "a name, not a signal" if isinstance(signal, str) else "not a signal"
            what = f"cancel_on={signal!r:.80} is {kind}"
            self.add_problem("CANCEL_ON", where, what, fix)
            return ""
        given = cast("Signal[Any, Any]", signal)
        if self.spec.nodes.get(given.name) is not given:
            what = f"signal '{given.name}' of cancel_on= belongs to another graph"
            self.add_problem("CANCEL_ON", where, what, fix)
            return ""
        return given.name

    # ---- helpers -------------------------------------------------------------------------------
    def _add_event(
        self,
        kind: type[Any],
        name: str,
        word: NodeKind,
        writes: tuple[type[BaseModel], ...],
    ) -> Any:
        signature = Signature((), writes, False, None, False, False)
        node = kind(_no_function, signature, name=name, kind=word)
        self._register(node)
        return node

    def _read_duration(self, after: object, where: str) -> TimerSpec:
        if isinstance(after, timedelta):
            if is_patience(after.total_seconds()):
                return TimerSpec(seconds=after.total_seconds())
            is_long = after.total_seconds() > LONGEST_WAIT
            why = "is longer than a thousand years" if is_long else "is not in the future"
            what = f"after={after!r} {why}"
        elif callable(after):
            return TimerSpec(function=self._read_function(after, where, timedelta))
        else:
            what = f"after={after!r:.80} is not a duration"
        fix = "give timedelta(minutes=5), or a function of the state that returns one"
        self.add_problem("TIMER_TIME", where, what, fix)
        return TimerSpec(seconds=0.0)

    def _read_moment(self, at: object, where: str) -> TimerSpec:
        if isinstance(at, datetime):
            if at.tzinfo is not None:
                return TimerSpec(moment=at.timestamp())
            what = f"at={at!r} has no time zone"
        elif callable(at):
            return TimerSpec(function=self._read_function(at, where, datetime), is_moment=True)
        else:
            what = f"at={at!r:.80} is not a date"
        fix = "give datetime(…, tzinfo=UTC), or a function of the state that returns one"
        self.add_problem("TIMER_TIME", where, what, fix)
        return TimerSpec(seconds=0.0)

    def _read_function(self, fn: Any, where: str, wanted: type) -> StateFunction:
        return self.make_function(fn, f"time of {where}", (wanted,), f"return a {wanted.__name__}")


def _check_value(graph: str, name: str, value: object) -> None:
    """Raise `GraphError` at once unless the value of a signal is a model."""
    if not (inspect.isclass(value) and issubclass(value, BaseModel)):
        got = f"'{value.__name__}'" if isinstance(value, type) else f"a {type(value).__name__}"
        fix = "give a class that derives from BaseModel, a slice of the state"
        problem = Problem("NOT_A_MODEL", f"value of signal '{name}'", f"{got} is not a model", fix)
        raise GraphError(graph, [problem])


def _no_function() -> None:
    """Stand in for the function of a signal, a timer, or a first of several."""
