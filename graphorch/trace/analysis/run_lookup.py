"""Find a run in a store by what people type: its id, the beginning of it, or `last`."""

from __future__ import annotations

from graphorch.errors import InputError, did_you_mean
from graphorch.journal.errors import InvalidName, RunNotFound
from graphorch.journal.records import RunHead, RunQuery
from graphorch.journal.store import Store

LAST = "last"
_PAGE = 500


async def find_run(store: Store, wanted: str) -> RunHead:
    """Return the run with this id, this beginning of an id, or the newest one for `last`.

    Raises `InputError` unless there is exactly one, and `JournalError`.
    """
    if wanted == LAST:
        newest = (await store.list_runs(RunQuery(limit=1))).runs
        if not newest:
            raise InputError(
                "The journal holds no run yet. Run a flow with `durable=True` (or a path), "
                "and ask again."
            )
        return newest[0]
    try:
        return (await store.load(wanted)).head
    except (RunNotFound, InvalidName):
        pass  # it may be the beginning of an id
    heads: list[RunHead] = []
    query: RunQuery | None = RunQuery(limit=_PAGE)
    while query is not None:
        page = await store.list_runs(query)
        heads += page.runs
        query = RunQuery(limit=_PAGE, after=page.next) if page.next is not None else None
    matching = [head for head in heads if head.run_id.startswith(wanted)] if wanted else []
    if len(matching) == 1:
        return matching[0]
    if matching:
        ids = ", ".join(head.run_id for head in matching[:5])
        raise InputError(
            f"'{wanted}' begins the ids of {len(matching)} runs: {ids}. Give more of it."
        )
    hint = "It holds no run at all: runs are kept there with `durable=`."
    if heads:
        hint = did_you_mean(wanted, [head.run_id for head in heads[:1000]])
    raise InputError(f"The journal has no run '{wanted}'. {hint}")
