"""People in the middle of a flow: a question with a typed answer, and a gate before what must not happen unasked."""

from __future__ import annotations

import asyncio
from typing import assert_type

from pydantic import BaseModel

from graphorch import (
    END,
    Approval,
    Ask,
    Expired,
    Graph,
    OnQuestion,
    Question,
    QuestionEvent,
    Rejected,
    Result,
    node,
)


class Offer(BaseModel):
    offer: str


class Decision(BaseModel):
    accepted: bool = False
    by: str = ""


class Letter(BaseModel):
    letter: str = ""


class Deal(Offer, Decision, Letter): ...


@node(gate="before", expires=3600, effect="once")
def send(o: Offer, d: Decision) -> Letter:
    return Letter(letter=f"{o.offer}: {'yes' if d.accepted else 'no'}, {d.by}")


@node
def drop(o: Offer) -> Letter:
    return Letter(letter=f"{o.offer}: dropped")


def ask_for(o: Offer) -> str:
    return f"Do we take the offer '{o.offer}'?"


deal = Graph("deal", Deal, input=Offer, output=Letter)
decide = deal.ask("decide", question=ask_for, answer=Decision, expires=3600)
assert_type(decide, Ask[Deal, Decision])
deal.chain(decide, send, END).on_error(send, drop, when=Rejected).on_error(decide, drop, when=Expired)
flow = deal.build()

# A question may be made in the call that connects it.
inline = Graph("inline", Deal, input=Offer, output=Letter)
inline.chain(inline.ask("decide", question=ask_for, answer=Decision), send)

sent: list[str] = []


def send_mail(event: QuestionEvent) -> None:
    sent.append(f"{event.kind}: {event.text}")


async def post_message(event: QuestionEvent) -> bool:
    assert_type(event.answer_type, type[BaseModel])
    assert_type(event.expires, float | None)
    return event.kind == "opened" and bool(event.answer_schema)


hooks: list[OnQuestion] = [send_mail, post_message]

ANSWER = ["Do we take the offer 'ten'?", "ten: yes, Ada", "ten: dropped"]


async def one_run(approval: Approval) -> tuple[str, str]:
    result = await flow.run(Offer(offer="ten"), on_question=send_mail)
    asked: Question = result.questions[0]
    result = await flow.answer(result.run_id, decide, Decision(accepted=True, by="Ada"), on_question=post_message)
    assert_type(result, Result[Letter, Deal])
    result = await flow.answer(result.run_id, result.questions[0], approval)
    return asked.text, result.output.letter


async def both() -> list[str]:
    text, taken = await one_run(Approval(approved=True))
    _, dropped = await one_run(Approval(approved=False))
    return [text, taken, dropped]


def main() -> list[str]:
    return asyncio.run(both())
