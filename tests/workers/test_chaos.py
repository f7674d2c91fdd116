"""Rounds of faults with real worker processes; `python -m tests.workers.chaos` plays more."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.postgres.cluster import find_programs
from tests.workers.chaos import FAULTS, open_stage, play_round


@pytest.mark.slow
@pytest.mark.skipif(find_programs() is None, reason="PostgreSQL is not installed")
def test_faults_break_no_promise() -> None:
    """Nothing is lost, committed twice, run again after its commit, or paid again."""
    chance, problems = random.Random(0), list[str]()
    with TemporaryDirectory() as name, open_stage(Path(name)) as stage:
        for number, fault in enumerate(2 * FAULTS):
            outcome = asyncio.run(play_round(stage, number, fault, chance))
            problems += [f"{fault}: {problem}" for problem in outcome.problems]
    assert problems == []
