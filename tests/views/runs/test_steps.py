"""Rows of activations from records alone."""

from __future__ import annotations

from dataclasses import replace

from graphorch.journal.records import Record, RunLog
from graphorch.state.marks import HIDDEN
from graphorch.testing import run_virtual
from graphorch.views.runs.steps import build_step_rows
from tests.trace.acting import SEND, wait_for_people


def test_fork_hides_secrets_of_its_flow() -> None:
    """In a fork the flow is described after its first record, and its secret fields are hidden."""

    async def main() -> None:
        log = await (await wait_for_people()).load("one")
        started, *others = log.records
        flow = {**started.body["flow"], "secrets": ["to"]}
        records = [
            Record(1, "forked", {"from": "zero", "at": "write", "copied": 0}),
            replace(started, body={**started.body, "flow": flow}),
            *others,
        ]
        numbered = [replace(record, seq=seq) for seq, record in enumerate(records, 1)]
        rows, _, faults = build_step_rows(RunLog(log.head, tuple(numbered)))
        assert not faults
        arguments = {row.path: row.arguments for row in rows}
        assert arguments[SEND] == {"to": HIDDEN, "body": "at noon"}

    run_virtual(main())
