"""`import graphorch` is cheap: what only some programs need is imported by the functions that need it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("openai", "networkx", "graphviz", "typer", "rich")
COST_LIMIT = 0.060  # seconds beyond pydantic, which every program with a state has paid for already

IMPORT = "import graphorch"
EVERY_NAME = "import graphorch; [getattr(graphorch, name) for name in graphorch.__all__]"


def run_fresh(program: str) -> str:
    """The output of a program in a fresh interpreter that sees this checkout."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a statement leaves loaded."""
    loaded = json.loads(run_fresh(f"{statement}\nimport json, sys; print(json.dumps(list(sys.modules)))"))
    return {name.partition(".")[0] for name in loaded}


def cost_of(statement: str) -> float:
    """Seconds that a statement takes once pydantic's models are there."""
    program = f"from time import perf_counter as now\nfrom pydantic import BaseModel\nbegun = now()\n{statement}\nprint(now() - begun)"
    return float(run_fresh(program))


@pytest.mark.parametrize("statement", [IMPORT, EVERY_NAME], ids=["import", "every public name"])
def test_nothing_heavy_is_loaded(statement: str) -> None:
    assert sorted(loaded_after(statement) & set(HEAVY)) == []


def test_a_heavy_module_would_be_noticed() -> None:
    assert "rich" in loaded_after("import rich")


def test_importing_costs_at_most_60_ms_beyond_pydantic() -> None:
    """The median of five fresh processes; on a busy machine up to four more rounds, since other work only ever adds time."""
    cost_of(IMPORT)  # writes the bytecode
    rounds: list[float] = []
    for _ in range(5):
        rounds.append(statistics.median(cost_of(IMPORT) for _ in range(5)))
        if rounds[-1] <= COST_LIMIT:
            return
    pytest.fail(f"`import graphorch` took {min(rounds) * 1000:.0f} ms beyond pydantic, more than {COST_LIMIT * 1000:.0f}")
