"""Cost of `import graphorch`: functions import what only some programs need."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("openai", "networkx", "graphviz", "typer", "rich")
# Share of the time of asyncio and pydantic, which every program with a run needs anyway.
MOST_COST = 0.42

IMPORT = "import graphorch"
BUILDING = "from graphorch import Graph, node"
EVERY_NAME = "import graphorch; [getattr(graphorch, name) for name in graphorch.__all__]"
RUNNING = """
from pydantic import BaseModel
from graphorch import Graph, node

class Topic(BaseModel):
    topic: str

class Draft(BaseModel):
    text: str = ""

class State(Topic, Draft): ...

@node
def write(topic: Topic) -> Draft:
    return Draft(text=topic.topic)

flow = Graph("g", State, input=Topic, output=Draft).chain(write).build()
assert flow.run_sync(Topic(topic="x")).output.text == "x"
"""

# Modules that a run in memory without a model does not need, nor the modules inside of them.
FOR_SOME_RUNS = """
    sqlite3 statistics multiprocessing difflib pydantic.type_adapter
    graphorch.agents graphorch.journal graphorch.patterns graphorch.render graphorch.trace
    graphorch.graph.approval graphorch.graph.estimate.estimator
    graphorch.engine.run_journal graphorch.engine.invocation.processes graphorch.engine.replay
    graphorch.runs.durable graphorch.runs.fork graphorch.debugger.session
    graphorch.models.budgets.budget graphorch.models.config.loader
    graphorch.models.messages graphorch.models.openai.client
""".split()
# What `build()` adds: its checks, and pydantic's machinery for the first model, the user's.
FOR_BUILDING = """
    graphorch.graph.checks graphorch.graph.payloads
    importlib.metadata importlib.resources pydantic.fields
""".split()


def run_fresh(program: str) -> str:
    """Return the output of a program in a fresh interpreter that sees this checkout.

    It keeps its bytecode, since compiling is not part of a usual import.
    """
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def loaded_after(statement: str) -> set[str]:
    """Return the modules that a statement leaves loaded, with the packages around them."""
    return set(
        json.loads(
            run_fresh(f"{statement}\nimport json, sys; print(json.dumps(list(sys.modules)))")
        )
    )


def compare_cost(statement: str) -> float:
    """Return the processor time of a statement as a share of that of asyncio and pydantic.

    Both are measured in one fresh process, so the speed of the machine does not show.
    """
    program = "\n".join(
        [
            "from time import process_time as now",
            "begun = now()",
            "import asyncio",
            "from pydantic import BaseModel",
            "class Model(BaseModel): number: int",
            "loaded = now()",
            statement,
            "print((now() - loaded) / (loaded - begun))",
        ]
    )
    return float(run_fresh(program))


@pytest.mark.parametrize("statement", [IMPORT, EVERY_NAME], ids=["import", "every public name"])
def test_import_loads_nothing_heavy(statement: str) -> None:
    """Neither the package nor any public name loads a heavy library."""
    assert sorted(loaded_after(statement) & set(HEAVY)) == []


def test_building_names_load_little() -> None:
    """Names to build with load no module that only some programs need."""
    assert sorted(loaded_after(BUILDING) & {*HEAVY, *FOR_SOME_RUNS, *FOR_BUILDING}) == []


def test_plain_run_loads_little() -> None:
    """A module that an import does not load is not loaded by the first run either: it is saved."""
    loaded = loaded_after(RUNNING)
    assert sorted(loaded & {*HEAVY, *FOR_SOME_RUNS}) == []
    assert {"graphorch.graph.checks", "graphorch.engine.scheduler"} <= loaded


def test_heavy_module_is_noticed() -> None:
    """A check that cannot fail guards nothing."""
    assert "rich" in loaded_after("import rich")
    assert "graphorch.journal" in loaded_after("import graphorch.journal.sqlite.store")


@pytest.mark.parametrize("statement", [IMPORT, BUILDING], ids=["import", "names to build with"])
def test_import_is_fast_beside_pydantic(statement: str) -> None:
    """Importing costs at most 0.42 of what asyncio and pydantic cost; on a busy machine again."""
    compare_cost(statement)  # writes the bytecode
    rounds: list[float] = []
    for _ in range(5):
        rounds.append(statistics.median(compare_cost(statement) for _ in range(5)))
        if rounds[-1] <= MOST_COST:
            return
    pytest.fail(f"`{statement}` took {min(rounds):.2f} of pydantic's time, more than {MOST_COST}")
