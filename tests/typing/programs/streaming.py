"""Every event of a run, told apart by its class: the checkers see to it that none is forgotten."""

from __future__ import annotations

import asyncio
from typing import assert_never

from pydantic import BaseModel

from graphorch import (
    QuestionAsked,
    ModelCalled,
    Cancelled,
    Committed,
    Context,
    Emitted,
    Ended,
    Expanded,
    Failed,
    Graph,
    RunEvent,
    Skipped,
    Started,
    TextDelta,
    WaitBegan,
    node,
)


class Count(BaseModel):
    count: int = 0


class Step(BaseModel):
    step: str


@node
async def climb(ctx: Context, c: Count) -> Count:
    ctx.emit(Step(step="up"))
    return Count(count=c.count + 1)


flow = Graph("stairs", Count).chain(climb, climb.named("again")).build()

ANSWER = ["climb", "up", "→again", "again", "up", "→END", "succeeded"]


def told(event: RunEvent) -> str:
    match event:
        case Started(node=name):
            return name
        case Expanded(items=items):
            return str(items)
        case TextDelta(text=text):
            return text
        case ModelCalled(model=model, usd=usd):
            return f"{model} ${usd:.2f}"
        case Committed(to=to):
            return f"→{', '.join(to)}"
        case Failed(error=reason) | Skipped(reason=reason) | Cancelled(reason=reason):
            return reason
        case QuestionAsked(question=question):
            return question
        case WaitBegan(signal=signal, due=due):
            return signal or str(due)
        case Emitted(event=own):
            return own.step if isinstance(own, Step) else ""
        case Ended(status=status):
            return status
        case _:
            assert_never(event)


async def follow() -> list[str]:
    return [told(event) async for event in flow.stream(Count())]


def main() -> list[str]:
    return asyncio.run(follow())
