"""What a rerun would do, against what the same rerun then does."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from graphorch.errors import InputError
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.fork import select_change
from graphorch.views.reasons.what_if import Estimates, describe_what_if
from tests.scenarios.flows import FLOWS, Ledger, to_the_end

_NUMBERS = re.compile(r"\[[^\]]*\]|#\d+")  # of map items and visits, in a path


def _is_in(path: str, nodes: list[str]) -> bool:
    plain = _NUMBERS.sub("", path)
    return any(plain == node or plain.startswith(f"{node}/") for node in nodes)


@pytest.mark.parametrize("name", FLOWS)
def test_what_if_bounds_what_rerun_does(name: str, tmp_path: Path) -> None:
    """From whichever activation: what is served is kept, and what runs was named and is bounded."""

    async def main() -> None:
        flow = FLOWS[name]()
        store = await SqliteStore.open(tmp_path / "runs.sqlite", sync="normal")
        options: Any = {"durable": store, "resources": Ledger()}
        await to_the_end(flow, "old", True, **options)
        log = await store.load("old")
        committed = (record.body for record in log.records if record.kind == "commit")
        starts = dict.fromkeys(body["path"] for body in committed)
        estimates = Estimates(flow.estimate())
        for number, start in enumerate(starts):
            try:
                selected = select_change(flow.plan, log, start)
            except InputError:
                continue  # it did not end well, so nothing can start there
            told = describe_what_if(selected, estimates, gives_output=False, budget=None)
            run_id = f"new-{number}"
            outcome = await flow.rerun(
                "old", start=start, effects="repeat", **options, run_id=run_id
            )
            if outcome.result.status == "waiting":
                await to_the_end(flow, run_id, False, **options)
            after = select_change(flow.plan, await store.load(run_id), start).old
            paths = [each.path for each in after.run.history]
            kept = paths[: after.taken_over]
            assert sorted(kept) == sorted(told.served), start
            ran = paths[after.taken_over :]
            assert all(_is_in(path, told.may_run) or path in told.begins for path in ran), (
                start,
                ran,
                told,
            )
            assert told.worst.activations is not None
            assert len(ran) <= told.worst.activations, (start, ran, told)
            assert (await store.load("old")).head == log.head
        await store.close()

    asyncio.run(main())
