"""Find a run in a store by what people type: its id, the beginning of it, or `last`."""

from __future__ import annotations

from graphorch.errors import InputError, did_you_mean
from graphorch.journal.errors import InvalidName, RunNotFound
from graphorch.journal.records import RunHead, RunPage, RunQuery
from graphorch.journal.store import Store

LAST = "last"
_PAGE = 500


async def find_run(store: Store, wanted: str) -> RunHead:
    """Return the run with this id, this beginning of an id, or the newest one for `last`.

    Raises `InputError` unless there is exactly one, and `JournalError`.
    """
    if wanted == LAST:
        newest = _list_ids(await store.list_runs(RunQuery(limit=1)))
        if not newest:
            raise InputError(
                "The journal holds no run yet. Run a flow with `durable=True` (or a path), "
                "and ask again."
            )
        return await _load_head(store, newest[0])
    try:
        return await _load_head(store, wanted)
    except (RunNotFound, InvalidName):
        pass  # it may be the beginning of an id
    ids: list[str] = []
    query: RunQuery | None = RunQuery(limit=_PAGE)
    while query is not None:
        page = await store.list_runs(query)
        ids += _list_ids(page)
        query = RunQuery(limit=_PAGE, after=page.next) if page.next is not None else None
    matching = [run_id for run_id in ids if run_id.startswith(wanted)] if wanted else []
    if len(matching) == 1:
        return await _load_head(store, matching[0])
    if matching:
        raise InputError(
            f"'{wanted}' begins the ids of {len(matching)} runs: {', '.join(matching[:5])}. "
            "Give more of it."
        )
    hint = "It holds no run at all: runs are kept there with `durable=`."
    if ids:
        hint = did_you_mean(wanted, [LAST, *ids[:1000]])
    raise InputError(f"The journal has no run '{wanted}'. {hint}")


def _list_ids(page: RunPage) -> list[str]:
    """Return the ids of all runs of a page; those that cannot be read are runs as well."""
    return [*(head.run_id for head in page.runs), *page.damaged, *page.refused]


async def _load_head(store: Store, run_id: str) -> RunHead:
    """Return the head of a run that loads; a damaged or refused one raises what is wrong."""
    return (await store.load(run_id)).head
