"""Flows to serve, and a client in the same process that sends single legs of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from mcp.client.client import Client
from mcp_types import CallToolResult, ElicitResult, InputRequiredResult, TextContent
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.flow.flow import Flow
from graphorch.journal.records import RunHead, RunLog
from graphorch.mcp_server.served_flows import ServedFlow
from graphorch.mcp_server.served_runs import ServedRuns
from graphorch.mcp_server.server import build_server
from graphorch.runs.stores import open_store

T = TypeVar("T")
AnyFlow = Flow[Any, Any, Any]
KEY = b"k" * 32


class Topic(BaseModel):
    topic: str


class Letter(BaseModel):
    letter: str = ""


class Verdict(BaseModel):
    approved: bool = False


class State(Topic, Letter, Verdict): ...


@node
def write(topic: Topic) -> Letter:
    return Letter(letter=f"A letter on {topic.topic}")


def build_letters(sent: list[str]) -> AnyFlow:
    """Return a flow that asks before it acts; each act is one entry of `sent`."""

    @node(effect="once")
    def send(letter: Letter, verdict: Verdict) -> Letter:
        sent.append(letter.letter)
        return Letter(letter=f"{letter.letter}: {'sent' if verdict.approved else 'kept'}")

    graph = Graph("letters", State, input=Topic, output=Letter)
    approve = graph.ask("approve", question=lambda s: f"Send '{s.letter}'?", answer=Verdict)
    return graph.chain(write, approve, send).build()


def build_plain(*nodes: Any, name: str = "plain") -> AnyFlow:
    """Return a flow from a topic to a letter, of nodes in a row."""
    return Graph(name, State, input=Topic, output=Letter).chain(*nodes).build()


def format_command(name: str, *words: str, value: str = "") -> str:
    """Return a command as the command line would."""
    return " ".join(["graphorch", name, "flows.py", *words, *([value] if value else [])])


class Served:
    """A server of flows over a journal, which may be started again, and its client."""

    def __init__(self, db: Path, *flows: AnyFlow, leg: float = 20.0, **options: Any) -> None:
        self.db = str(db)
        served = [ServedFlow(flow, f"{flow.name}.py", "", format_command) for flow in flows]
        self.runs = ServedRuns(self.db, options)
        self.server, self.calls = build_server(served, self.runs, key=KEY, leg_seconds=leg)

    def connect(self, mode: str = "auto", **options: Any) -> Client:
        """Return a client, which shows forms unless told otherwise."""
        options = {"elicitation_callback": _never_ask, **options}
        return Client(self.server, mode=mode, raise_exceptions=True, **options)

    def find_runs(self) -> Awaitable[list[RunHead]]:
        """Return the heads of all runs in the journal."""

        async def find() -> list[RunHead]:
            async with open_store(self.db) as store:
                return list((await store.list_runs()).runs)

        return find()

    async def load(self, run_id: str) -> RunLog:
        """Return the records of a run."""
        async with open_store(self.db) as store:
            return await store.load(run_id)


async def _never_ask(context: Any, params: Any) -> ElicitResult:
    raise AssertionError(f"a leg was driven by the client: {params.message}")


Outcome = CallToolResult | InputRequiredResult


async def send_leg(
    client: Client,
    leg: InputRequiredResult | None = None,
    *,
    tool: str = "letters",
    arguments: dict[str, Any] | None = None,
    answer: dict[str, Any] | None = None,
    responses: dict[str, Any] | None = None,
    meta: Any = None,
) -> Outcome:
    """Send the first leg of a call, or the next after `leg`, with one answer to all it asks."""
    state = None
    if leg is not None:
        state = leg.request_state
        if answer is not None:
            filled = ElicitResult(action="accept", content=answer)
            responses = dict.fromkeys(leg.input_requests or {}, filled)
    return await client.session.call_tool(
        tool,
        {"topic": "tides"} if arguments is None else arguments,
        input_responses=responses,
        request_state=state,
        allow_input_required=True,
        meta=meta,
    )


def require_leg(outcome: Outcome) -> InputRequiredResult:
    """Return a leg that is not the last."""
    assert isinstance(outcome, InputRequiredResult), outcome
    return outcome


def read_message(leg: Outcome) -> str:
    """Return the text of the only question of a leg."""
    (request,) = (require_leg(leg).input_requests or {}).values()
    return str(getattr(request.params, "message", ""))


def read_text(outcome: Outcome, *, is_error: bool = False) -> str:
    """Return the texts of a result."""
    assert isinstance(outcome, CallToolResult), outcome
    assert outcome.is_error == is_error, outcome
    texts = [part.text for part in outcome.content if isinstance(part, TextContent)]
    return "\n".join(texts)


def read_run_id(outcome: Outcome) -> str:
    """Return the id of the run that a result names."""
    return str((outcome.meta or {}).get("graphorch/run_id", ""))


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run the body of a test, which must not hang."""

    async def limited() -> T:
        async with asyncio.timeout(30):
            return await main()

    return asyncio.run(limited())


def count_kinds(log: RunLog, kind: str) -> int:
    """Return how many records of a kind a run has."""
    return sum(record.kind == kind for record in log.records)
