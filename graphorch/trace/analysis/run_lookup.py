"""Finds a run in a store by what people type: its id, the beginning of it, or `last`."""

from __future__ import annotations

from graphorch.errors import InputError, did_you_mean
from graphorch.journal.errors import InvalidName, RunNotFound
from graphorch.journal.records import RunHead, RunQuery
from graphorch.journal.store import Store

LAST = "last"
_PAGE = 500


async def find_run(store: Store, wanted: str) -> RunHead:
    """The run that is meant. Raises `InputError` if there is none, or several, and `JournalError`."""
    if wanted == LAST:
        newest = (await store.list_runs(RunQuery(limit=1))).runs
        if not newest:
            raise InputError(
                "The journal holds no run yet. Run a flow with `durable=True` (or a path), and ask again."
            )
        return newest[0]
    try:
        return (await store.load(wanted)).head
    except (RunNotFound, InvalidName):
        pass
    heads: list[RunHead] = []
    query: RunQuery | None = RunQuery(limit=_PAGE)
    while query is not None:
        page = await store.list_runs(query)
        heads += page.runs
        query = RunQuery(limit=_PAGE, after=page.next) if page.next is not None else None
    found = [head for head in heads if head.run_id.startswith(wanted)] if wanted else []
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(head.run_id for head in found[:5])
        raise InputError(
            f"'{wanted}' begins the ids of {len(found)} runs: {shown}. Give more of it."
        )
    hint = (
        did_you_mean(wanted, [head.run_id for head in heads[:1000]])
        if heads
        else "It holds no run at all: runs are kept there with `durable=`."
    )
    raise InputError(f"The journal has no run '{wanted}'. {hint}")
