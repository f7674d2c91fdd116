"""Sums of runs: the list, the page, its nodes and the statistics agree to the microdollar."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from graphorch.journal.records import RunQuery
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from tests.golden.test_golden import FORMATS
from tests.views.agreement import check_reading_on, check_sums

# The first format and the present one; those between differ less.
JOURNALS = [
    pytest.param(
        path,
        id=f"{folder.name}-{path.stem}",
        marks=[] if folder in (FORMATS[0], FORMATS[-1]) else [pytest.mark.slow],
    )
    for folder in FORMATS
    for path in sorted(folder.glob("*.golden"))
]


def read_copy(path: Path, folder: Path, check: Callable[[Store], Awaitable[object]]) -> None:
    async def main() -> None:
        store = await SqliteStore.open(Path(shutil.copyfile(path, folder / "runs.sqlite")))
        try:
            await check(store)
        finally:
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("path", JOURNALS)
def test_sums_of_released_journals_agree(path: Path, tmp_path: Path) -> None:
    """In journals of every format, all views of a run have the same sums."""
    read_copy(path, tmp_path, check_sums)


@pytest.mark.parametrize("path", JOURNALS)
def test_reading_on_equals_reading_anew(path: Path, tmp_path: Path) -> None:
    """A run that is read while it is written has the views of one that is read at its end."""

    async def check(store: Store) -> None:
        for head in (await store.list_runs(RunQuery())).runs:
            await check_reading_on(store, head.run_id)

    read_copy(path, tmp_path, check)
