"""Flows that are used wrongly. A tag says who refuses the block, the comment `# wrong` on which line."""

from __future__ import annotations

import asyncio
from typing import assert_never

from pydantic import BaseModel

from graphorch import (
    QuestionAsked,
    Budget,
    ModelCalled,
    Cancelled,
    Committed,
    Context,
    Emitted,
    Ended,
    Expanded,
    Failed,
    Flow,
    Graph,
    Limits,
    ModelClient,
    Request,
    Result,
    RunEvent,
    Skipped,
    Started,
    TextDelta,
    WaitBegan,
    node,
)


class Ticket(BaseModel):
    ticket: str


class Reply(BaseModel):
    reply: str = ""


class Consent(BaseModel):
    consent: bool = False


class Help(Ticket, Reply, Consent): ...


class Phone:
    """What a node needs that is no part of the state."""


@node
def respond(t: Ticket) -> Reply:
    return Reply(reply=t.ticket.upper())


@node
async def call(ctx: Context[Phone], t: Ticket) -> Reply:
    return Reply(reply=t.ticket)


class Deaf:
    """No model client: it does not take a request."""

    async def complete(self, text: str) -> str:
        return text


desk = Graph("desk", Help, input=Ticket, output=Reply).chain(respond).build()

asking = Graph("asking", Help, input=Ticket, output=Reply)
agree = asking.ask("agree", question=lambda s: s.ticket, answer=Consent)
asking_flow = asking.chain(agree, respond).build()

TICKET = Ticket(ticket="lost")


# R01: [pyright mypy raises:InputError] an input of another type
def r01() -> object:
    return desk.run_sync(Reply(reply="lost"))  # wrong


# R02: [pyright mypy raises:InputError] an option that is misspelt
def r02() -> object:
    return desk.run_sync(TICKET, buget=Budget(usd=1))  # wrong


# R03: [pyright mypy raises:InputError] a policy that does not exist
def r03() -> object:
    return desk.run_sync(TICKET, on_failure="ignore")  # wrong


# R04: [pyright mypy raises:InputError] a budget is no number
def r04() -> object:
    return desk.run_sync(TICKET, budget=0.5)  # wrong


# R05: [pyright mypy raises:InputError] limits are no number of seconds
async def r05() -> object:
    return await desk.run(TICKET, limits=30)  # wrong


# R06: [pyright mypy raises:TypeError] a limit that does not exist
def r06() -> object:
    return Limits(minutes=1)  # wrong


# R07: [pyright mypy raises:TypeError] an amount without its unit
def r07() -> object:
    return Budget(0.5)  # wrong


# R08: [pyright mypy raises:AttributeError] a field that the output does not have
def r08() -> object:
    return desk.run_sync(TICKET).output.ticket  # wrong


# R09: [pyright mypy raises:AttributeError] a field that the state does not have
def r09() -> object:
    return desk.run_sync(TICKET).state.replies  # wrong


# R10: [pyright mypy] a field of the state has its type
def r10() -> int:
    return desk.run_sync(TICKET).state.reply  # wrong


# R11: [pyright mypy] a flow of another output
def r11() -> Flow[Ticket, Consent]:
    return desk  # wrong


# R12: [pyright mypy raises:AttributeError] a coroutine is awaited before it has an output
async def r12() -> object:
    pending = desk.run(TICKET)
    try:
        return pending.output  # wrong
    finally:
        pending.close()


# R13: [pyright mypy] an answer has the type of its question
async def r13(run_id: str) -> Result[Reply, Help]:
    return await asking_flow.answer(run_id, agree, Reply(reply="yes"))  # wrong


# R14: [pyright mypy] an answer is no plain value
async def r14(run_id: str) -> Result[Reply, Help]:
    return await asking_flow.answer(run_id, agree, True)  # wrong


# R15: [pyright mypy] an event that is forgotten
def r15(event: RunEvent) -> str:
    match event:
        case Started() | Expanded() | TextDelta() | ModelCalled() | Committed() | Skipped() | Cancelled() | QuestionAsked() | WaitBegan() | Emitted() | Ended():
            return event.path if not isinstance(event, Ended) else event.status
        case _:
            assert_never(event)  # wrong


# R16: [pyright mypy] a field that this event does not have
def r16(event: Failed | TextDelta) -> str:
    match event:
        case Failed():
            return event.error
        case TextDelta():
            return event.error  # wrong


# R17: [pyright mypy raises:TypeError] events come one by one, with `async for`
def r17() -> list[RunEvent]:
    return list(desk.stream(TICKET))  # wrong


# R18: [pyright mypy] a model client takes a request
def r18() -> ModelClient:
    return Deaf()  # wrong


# R19: [pyright mypy] what a request asks for is a model
def r19() -> Request:
    return Request("vendor/large", (), schema=dict)  # wrong


# R20: [raises:InputError] resources that a node names, and nobody gives
def r20() -> object:
    return Graph("phone", Help, input=Ticket, output=Reply).chain(call).build().run_sync(TICKET)


# R21: [raises:InputError] resources of another type
def r21() -> object:
    return Graph("phone", Help, input=Ticket, output=Reply).chain(call).build().run_sync(TICKET, resources="a number")


# R22: [pyright mypy raises:AttributeError] a result is read, not written
def r22() -> None:
    result = desk.run_sync(TICKET)
    result.run_id = "another"  # wrong


# R23: [raises:InputError] an output that is not there yet
def r23() -> object:
    return asking_flow.run_sync(TICKET).output


# R24: [raises:InputError] a run that nobody holds any more
def r24() -> object:
    return asyncio.run(asking_flow.answer("no-such-run", agree, Consent()))


# R25: [pyright mypy raises:InputError] tags are names with a text
def r25() -> object:
    return desk.run_sync(TICKET, tags=["urgent"])  # wrong


# R26: [pyright mypy raises:InputError] going on with an option that is misspelt
def r26() -> object:
    return asyncio.run(desk.resume("no-such-run", limit=Limits(seconds=60)))  # wrong


# R27: [pyright mypy] a journal is on, or somewhere
async def r27() -> object:
    return await desk.run(TICKET, durable=1.5)  # wrong


def takes_text(question: str) -> None: ...


# R28: [pyright mypy] a hook hears of an event, not of a text
async def r28() -> object:
    return await desk.run(TICKET, on_question=takes_text)  # wrong
