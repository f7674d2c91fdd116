"""States of a run after each record, in whatever order they are asked for."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from graphorch.engine.replay import rebuild
from graphorch.errors import InputError
from graphorch.journal.records import RunLog
from graphorch.testing import run_virtual
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reasons.state import StateView, read_output, read_state
from tests.trace.acting import act, desk
from tests.trace.flows import shop
from tests.trace.running import ran
from tests.views.agreement import begin


def open_log(log: RunLog) -> OpenRun:
    run = OpenRun(log.head)
    run.take(log.head, log.records)
    return run


async def read_cases() -> list[tuple[RunLog, Any]]:
    """Return runs of several kinds with the plans of their flows."""
    cases = [(await (await act()).load("one"), desk().plan)]
    for run_id, amount in (("one", 3), ("one", 12), ("one", 200)):
        cases.append((await (await ran(run_id, amount)).load(run_id), shop().plan))
    return cases


def test_state_does_not_depend_on_steps_before() -> None:
    """Stepping forward, back and at random gives the state that each record left."""

    async def main() -> None:
        for log, plan in await read_cases():
            seqs = [record.seq for record in log.records]
            fresh: dict[int, StateView] = {
                seq: read_state(open_log(log), plan, seq) for seq in seqs
            }
            shuffled = random.Random(7).sample(seqs, len(seqs))
            for order in (seqs, seqs[::-1], shuffled):
                stepped = open_log(log)
                assert {seq: read_state(stepped, plan, seq) for seq in order} == fresh

    run_virtual(main())


def test_state_while_run_grows_is_state_afterwards() -> None:
    """The state after the last record of a run under way is that of a run that went on."""

    async def main() -> None:
        for log, plan in await read_cases():
            growing, whole = OpenRun(log.head), open_log(log)
            for record in log.records:
                growing.take(begin(log.head, record), [record])
                now, later = (read_state(run, plan, record.seq) for run in (growing, whole))
                assert (now.state, now.changes, now.running) == (
                    later.state,
                    later.changes,
                    later.running,
                )

    run_virtual(main())


def test_running_activations_are_those_of_core() -> None:
    """What is under way after a record is what the core has open then."""

    async def main() -> None:
        for log, plan in await read_cases():
            run = open_log(log)
            for record in log.records:
                replayed = rebuild(plan, log.head.run_id, log.records, until=record.seq)
                expected = [each.path for each in replayed.unfinished()]
                assert read_state(run, plan, record.seq).running == expected

    run_virtual(main())


def test_output_is_that_of_result() -> None:
    """The output of a run that has one is its result; others have none."""

    async def main() -> None:
        good, bad = await ran("one"), await ran("one", 12)
        plan = shop().plan
        output = read_output(open_log(await good.load("one")), plan)
        assert output.value == {"reply": "done: Answer tides with 3 in stock"}
        assert read_output(open_log(await bad.load("one")), plan).value is None

    asyncio.run(main())


@pytest.mark.parametrize("seq", [0, 10_000])
def test_state_of_record_that_is_not_there(seq: int) -> None:
    """The message about a record that a run does not have names those that it has."""

    async def main() -> None:
        log = await (await ran("one")).load("one")
        with pytest.raises(InputError, match=f"records 1 to {len(log.records)}"):
            read_state(open_log(log), shop().plan, seq)

    asyncio.run(main())
