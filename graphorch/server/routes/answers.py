"""Open questions of all runs, answers to them, and signals."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from graphorch.graph.plan import Plan
from graphorch.server.actions.answers import give_answer
from graphorch.server.actions.letters import LetterReceipt
from graphorch.server.actions.signals import SentSignal, send_signal
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery, RequestModel
from graphorch.views.asking.inboxes import read_inbox
from graphorch.views.runs.inbox import Inbox

Name = Annotated[str, Field(min_length=1, max_length=200)]


class AnswerBody(RequestModel):
    """An answer to the `question` of an id, as it was read: its `digest` says so."""

    question: Name
    digest: Name
    answer: dict[str, Any]


class SignalBody(RequestModel):
    """A signal with what it carries; `key` is for nodes that wait with one.

    Sent again with the same `id`, it counts once.
    """

    signal: Name
    payload: dict[str, Any] = Field(default_factory=dict[str, Any])
    key: Annotated[str, Field(max_length=200)] = ""
    id: Annotated[str, Field(max_length=100)] = ""


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints by which people and programs answer runs."""

    def find_plan(flow: str) -> Plan | None:
        served = context.find_flow(flow)
        return None if served is None else served.flow.plan

    async def list_open_questions(call: Call[NoQuery, None]) -> Inbox:
        """List the open questions of all runs, the one that expires first at the top."""
        return await read_inbox(context.reader, find_plan)

    async def answer_question(call: Call[NoQuery, AnswerBody]) -> LetterReceipt:
        """Answer a question. The answer is stored before the response, and the run goes on."""
        body = call.body
        return await give_answer(context, call.names["id"], body.question, body.digest, body.answer)

    async def send_run_signal(call: Call[NoQuery, SignalBody]) -> LetterReceipt:
        """Send a signal to a run. It is stored before the response, and the run goes on."""
        body = call.body
        sent = SentSignal(body.signal, body.payload, body.key, body.id)
        return await send_signal(context, call.names["id"], sent)

    return [
        Endpoint("GET", "/api/inbox", list_open_questions, Inbox),
        Endpoint(
            "POST",
            "/api/runs/{id}/answers",
            answer_question,
            LetterReceipt,
            body=AnswerBody,
            status=202,
            refuses=(403, 404, 409, 410, 422),
        ),
        Endpoint(
            "POST",
            "/api/runs/{id}/signals",
            send_run_signal,
            LetterReceipt,
            body=SignalBody,
            status=202,
            refuses=(403, 404, 409, 422),
        ),
    ]
