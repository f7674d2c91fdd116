"""A flow with an agent that acts, for everything that shows tool calls."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Flow, Graph, agent, node, tool
from graphorch.graph.approval import ToolApproval
from graphorch.journal.memory import MemoryStore
from graphorch.journal.store import Store
from graphorch.models.offline.client import OfflineClient
from tests.trace.flows import AnyFlow

SEND, SECOND_SEND = "write/r2/send#0", "write/r2/send#1"

# The offline model makes the calls that are written here, round by round.
_STEPS = """{topic}.
Steps:
search {{"query": "{topic}"}}
search {{"query": "nowhere"}}
search {{"question": "?"}}
note {{"text": "look again"}}

send {{"to": "ann", "body": "at noon"}}
send {{"to": "bob", "body": "at noon"}}
search {{"query": "more"}}
"""


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class Words(BaseModel):
    words: int = 0


class Desk(Topic, Draft, Words): ...


@tool(effect="pure", tells=LookupError)
def search(query: str) -> str:
    """Search the archive."""
    if query == "nowhere":
        raise LookupError("no such shelf")
    return f"3 pages on {query}"


@tool(effect="idempotent", max_calls=3, timeout=5.0)
async def note(text: str) -> str:
    """Keep a note."""
    return f"noted {text}"


@tool(approve=True)
async def send(to: str, body: str) -> str:
    """Send a letter."""
    return f"sent to {to}: {body}"


@tool(effect="idempotent")
async def file(text: str) -> str:
    """File a text; no model calls it."""
    return text


@agent(output=Draft, tools=[search, note, send, file], rounds=4)
def write(topic: Topic) -> str:
    return _STEPS.format(topic=topic.topic)


@node
def count(draft: Draft) -> Words:
    return Words(words=len(draft.draft.split()))


def desk() -> AnyFlow:
    """write (search, note, send) → count."""
    flow: Flow[Topic, Desk, Desk] = (
        Graph("desk", Desk, input=Topic, output=Desk).chain(write, count).build()
    )
    return flow


async def wait_for_people(store: Store | None = None, run_id: str = "one") -> Store:
    """Run until two letters wait for a person: 3 searches and a note were called before."""
    kept = store or MemoryStore()
    await desk().run(Topic(), run_id=run_id, durable=kept, client=OfflineClient())
    return kept


async def act(store: Store | None = None, run_id: str = "one") -> Store:
    """Run to the end: one letter is sent, after it was changed, and one is refused."""
    kept = await wait_for_people(store, run_id)
    changed = ToolApproval(approved=True, arguments={"to": "ann", "body": "at one"})
    client = OfflineClient()
    await desk().answer(run_id, SEND, changed, durable=kept, client=client)
    refused = ToolApproval(approved=False, reason="not to bob")
    await desk().answer(run_id, SECOND_SEND, refused, durable=kept, client=client)
    return kept
