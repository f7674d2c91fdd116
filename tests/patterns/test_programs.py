"""Small programs for each pattern, in graphorch and in LangGraph: output, length and checks.

LangGraph has an environment of its own: `python -m venv /opt/langgraph` and
`/opt/langgraph/bin/pip install langgraph`, or name its interpreter in GRAPHORCH_LANGGRAPH.
`pytest tests/patterns/test_programs.py -s` prints the table.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
PRINTED = {
    "pipeline": "x draft edited",
    "supervisor": "['facts', 'text']",
    "fan_out": "['A', 'B', 'n=2']",
    "router": "math",
    "hierarchy": "['A!', 'report of 1']",
    "evaluator_loop": "xxx",
}
SKETCH = {
    "pipeline": 8,
    "supervisor": 18,
    "fan_out": 16,
    "router": 17,
    "hierarchy": 19,
    "evaluator_loop": 11,
}
# lines of the shortest programs for LangGraph that are known
LANGGRAPH = {
    "pipeline": 8,
    "supervisor": 12,
    "fan_out": 15,
    "router": 10,
    "hierarchy": 16,
    "evaluator_loop": 11,
}
# by the type checker or by build(), before anything runs;
# LangGraph checks that the named nodes exist
CHECKED = {
    "pipeline": "each step's reads and writes are in the state and assigned before they are read",
    "supervisor": "every label has a worker and every worker a label;"
    " items, reports and gather fit; the number of tasks is bounded",
    "fan_out": "items, results and gather fit; the number of items is bounded",
    "router": "labels are those of the selector; each leads somewhere;"
    " the answer is written on every route",
    "hierarchy": "what goes into the team and comes out of it fits;"
    " no field is shared by coincidence of name",
    "evaluator_loop": "the loop is bounded; evaluator and generator are different models;"
    " acceptance reads what is written",
}
PEER = Path(os.environ.get("GRAPHORCH_LANGGRAPH", "/opt/langgraph/bin/python"))


def count_lines(path: Path) -> int:
    """Count the lines of a program without blank lines and the heading of every file."""
    heading = ("#", '"""', "from __future__")
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(1 for line in lines if line.strip() and not line.startswith(heading))


@pytest.mark.parametrize("pattern", PRINTED)
def test_program_prints_expected_output(
    pattern: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program for graphorch prints the expected output."""
    name = f"ours_{pattern}"
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # where pydantic looks names up
    spec.loader.exec_module(module)
    assert capsys.readouterr().out.strip() == PRINTED[pattern]


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(
    not PEER.exists(), reason="LangGraph is not installed in an environment of its own"
)
@pytest.mark.parametrize("pattern", PRINTED)
def test_langgraph_program_prints_equally(pattern: str) -> None:
    """The program for LangGraph prints the expected output too."""
    outcome = subprocess.run(
        [str(PEER), str(PROGRAMS / f"peer_{pattern}.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.strip() == PRINTED[pattern]


def test_program_fits_sketch_length() -> None:
    """No program is longer than the sketch, and a table compares both libraries."""
    titles = f"{'pattern':16}{'ours':>6}{'sketch':>8}{'LangGraph here':>16}{'shortest known':>16}"
    print(f"\n{titles}  checked before it runs")
    for pattern in PRINTED:
        ours = count_lines(PROGRAMS / f"ours_{pattern}.py")
        peer = count_lines(PROGRAMS / f"peer_{pattern}.py")
        numbers = f"{ours:>6}{SKETCH[pattern]:>8}{peer:>16}{LANGGRAPH[pattern]:>16}"
        print(f"{pattern:16}{numbers}  {CHECKED[pattern]}")
        assert ours <= SKETCH[pattern]
