"""What all endpoints of a server share: the open journal, the served flows, and what goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from graphorch.clock import Clock, system_clock
from graphorch.errors import did_you_mean
from graphorch.journal.address import JournalAddress
from graphorch.journal.store import Store
from graphorch.mcp_server.served_runs import ServedRuns
from graphorch.runs.options import RunOptions
from graphorch.runs.stores import open_store
from graphorch.server.gate.limits import Places
from graphorch.server.problems import Problem
from graphorch.server.served_flow import ServedFlow, index_flows
from graphorch.server.settings import ServerSettings
from graphorch.server.text_previews import TextPreviews
from graphorch.views.reading.journal_changes import JournalChanges
from graphorch.views.reading.journal_reader import JournalReader

SERVER_ENDED = "the server ended"
_GRACE_SECONDS = 0.3  # for running nodes after Ctrl-C, before they are interrupted


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What the endpoints of a server share; made by `open_context`.

    - `store` is the journal, open for as long as the server runs; `reader` reads its runs for
      views, and keeps what it read; `changes` tells which runs change. `journal` is its place: show
      `str(journal)`, which holds no password. `durable` names it as an option of a run, and is
      never shown.
    - `flows` are the served flows by their names in paths.
    - `options` are those of every run that a request begins or continues; `runs` drives these runs,
      each once, whichever endpoint began it.
    - `ending` is set when the server is to end: whatever waits longer than a moment waits for it
      too (`streams` of events do so by themselves).
    - `clock` returns the seconds since 1970.
    """

    store: Store
    reader: JournalReader
    changes: JournalChanges
    journal: JournalAddress
    durable: str = field(repr=False)
    settings: ServerSettings
    flows: Mapping[str, ServedFlow]
    options: RunOptions
    runs: ServedRuns
    streams: Places
    begun_runs: Places
    ending: asyncio.Event
    clock: Clock

    def get_flow(self, name: str) -> ServedFlow:
        """Return a served flow by its name in paths. Raises `Problem` if there is none."""
        served = self.flows.get(name)
        if served is None:
            raise Problem(
                404,
                "flow-not-found",
                f"This server has no flow '{name}'. {did_you_mean(name, self.flows)} Flows are "
                "named when it is started: `graphorch serve FLOW…`.",
            )
        return served

    def find_flow(self, flow: str) -> ServedFlow | None:
        """Return the served flow of a run, by the name that its record has; None if there is none.

        It may have changed since: whether it fits the run is another question.
        """
        return next((each for each in self.flows.values() if each.flow.name == flow), None)


@asynccontextmanager
async def open_context(
    settings: ServerSettings,
    journal: JournalAddress,
    flows: Sequence[ServedFlow] = (),
    options: RunOptions | None = None,
    clock: Clock = system_clock,
) -> AsyncGenerator[ServerContext]:
    """Open a journal for a server, and keep it open meanwhile.

    At the end the runs that requests began are stopped: what they have done is kept, and they can
    be resumed. Raises `JournalError`, and `InputError` for flows of one name.
    """
    given = options or RunOptions()
    limits = settings.limits
    indexed = index_flows(flows)
    async with open_store(journal.text) as store:
        reader = JournalReader(store)
        changes = JournalChanges(reader)
        runs = ServedRuns(journal.text, given, TextPreviews(changes).watch)
        try:
            yield ServerContext(
                store=store,
                reader=reader,
                changes=changes,
                journal=journal,
                durable=journal.text,
                settings=settings,
                flows=indexed,
                options=given,
                runs=runs,
                streams=Places(limits.streams, "streams of events", status=429, retry_seconds=5),
                begun_runs=Places(limits.runs, "runs", status=429, retry_seconds=5),
                ending=asyncio.Event(),
                clock=clock,
            )
        finally:
            await stop_runs(runs)
            await changes.close()
            reader.close()


async def stop_runs(runs: ServedRuns) -> list[str]:
    """Stop the runs that this process drives, and return their ids.

    Nodes may finish for a moment, then they may not.
    """
    stopped = list[str]()
    for now in (False, True):
        stopped += runs.stop_all(SERVER_ENDED, now=now)
        if await runs.wait_for_all(_GRACE_SECONDS):
            break
    return list(dict.fromkeys(stopped))


def require_served(context: ServerContext, flow: str, what: str) -> ServedFlow:
    """Return the served flow of a run.

    Raises `Problem` if it is not served, with the command that would: `what` needs its code.
    """
    served = context.find_flow(flow)
    if served is None:
        raise Problem(
            409,
            "flow-not-loaded",
            f"{what} needs the code of the flow '{flow}', and this server has not loaded it. A "
            "journal never says which code to run: start the server with the flow, "
            "`graphorch serve FLOW.py`.",
            extra={"flow": flow, "command": "graphorch serve FLOW.py"},
        )
    return served
