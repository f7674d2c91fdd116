"""Programs that are compared: they do the work they are timed for, or raise an error."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import by_asyncio, by_graphorch
from tests.benchmarks.measuring import WrongAnswer, time_once, time_repeated
from tests.benchmarks.workloads import WORKLOADS, Job, Workload, build_dag, select_workloads

QUICK = [
    workload for workload in WORKLOADS if workload.kind == "repeat" and workload.clock == "cpu"
]
DURABLE = [workload for workload in WORKLOADS if workload.kind == "durable"]
SYSTEMS = {"asyncio": by_asyncio.Programs(), "graphorch": by_graphorch.Programs()}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("workload", QUICK, ids=lambda workload: workload.name)
def test_smallest_size_is_right(workload: Workload, system: str) -> None:
    wall, _ = asyncio.run(time_once(getattr(SYSTEMS[system], workload.program)(workload.sizes[0])))
    assert wall > 0


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("workload", DURABLE, ids=lambda workload: workload.name)
def test_durable_run_is_right(workload: Workload, system: str, tmp_path: Path) -> None:
    async def run() -> None:
        job: Job = await getattr(SYSTEMS[system], workload.program)(
            workload.sizes[0], tmp_path / "runs.db"
        )
        await time_once(job)
        assert job.close is not None
        await job.close()

    asyncio.run(run())
    assert (tmp_path / "runs.db").stat().st_size > 0


def test_wrong_answer_is_an_error() -> None:
    async def run() -> int:
        return 41

    with pytest.raises(WrongAnswer, match="wrong answer: 41"):
        asyncio.run(time_repeated(Job(run, lambda result: result == 42), 0.0))


def test_setup_runs_each_time() -> None:
    calls: list[str] = []

    async def before() -> None:
        calls.append("before")

    async def run() -> str:
        return "run"

    async def after(result: Any) -> None:
        calls.append(result)

    asyncio.run(time_once(Job(run, lambda result: result == "run", before, after)))
    assert calls == ["before", "run"]


def test_workloads_are_found_by_name() -> None:
    assert [workload.program for workload in select_workloads("W1, W3")] == ["chain", "loop"]
    with pytest.raises(SystemExit, match=r"no workload W99\. Workloads: W1, "):
        select_workloads("W99")


def test_critical_path_is_longer_lane() -> None:
    assert build_dag("lanes").critical_path() == pytest.approx(0.05)
