"""Events that a run told its observers, and those that followers read from its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pydantic import BaseModel

from graphorch import Flow, RunFailed
from graphorch.engine.events import EVENT_NAMES, Cancelled, Emitted, Ended, RunEvent, TextDelta
from graphorch.runs.stores import Durable

AnyFlow = Flow[Any, Any, Any]
_TIMES = frozenset({"at", "seconds", "seq"})

Described = tuple[str, dict[str, Any]]


def describe(event: RunEvent) -> Described:
    """Return an event without its times."""
    values = {
        item.name: getattr(event, item.name) for item in fields(event) if item.name not in _TIMES
    }
    return EVENT_NAMES[type(event)], values


def by_path(events: Iterable[RunEvent]) -> dict[str, list[Described]]:
    """Return the events that a journal holds by path: branches have no order among each other.

    An attempt that is stopped right away may have begun, or may have been about to.
    """
    described: dict[str, list[Described]] = {}
    for event in events:
        if not isinstance(event, TextDelta | Emitted):
            path = "" if isinstance(event, Ended) else event.path
            earlier = described.setdefault(path, [])
            if isinstance(event, Cancelled) and earlier and earlier[-1][0] == "started":
                del earlier[-1]
            earlier.append(describe(event))
    return described


async def follow_all(flow: AnyFlow, run_id: str, durable: Durable, after: int = 0) -> list[Any]:
    """Return the events of a run that is at rest."""
    return [event async for event in flow.follow(run_id, durable=durable, after=after)]


async def lead_to_end(flow: AnyFlow, value: BaseModel, **options: Any) -> str:
    """Run a flow as run `r`, and return how it ended.

    Every question is answered with yes. Where nobody is asked, the first signal that the run waits
    for is sent, with the defaults of its value.
    """
    try:
        result = await flow.run(value, run_id="r", **options)
        while result.status == "waiting":
            if result.questions:
                question = result.questions[0]
                yes = question.answer_type(approved=True)
                result = await flow.answer("r", question, yes, **options)
            else:
                name = next(wait.signal for wait in result.waits if wait.signal)
                value = flow.plan.signals[name].value()
                result = await flow.send("r", name, value, **options)
    except RunFailed:
        return "failed"
    return result.status
