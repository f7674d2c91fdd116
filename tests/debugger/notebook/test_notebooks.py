"""The notebooks run from a clean kernel, and what is kept of their outputs can be read where nothing runs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in cells(path) for output in cell.get("outputs", [])]


def test_there_is_a_tour() -> None:
    assert "tour" in [path.stem for path in NOTEBOOKS]


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("nbclient", "ipykernel", "anywidget")),
    reason="needs nbclient, ipykernel and anywidget",
)
@by_name
def test_it_runs_from_a_clean_kernel(path: Path) -> None:
    command = [sys.executable, "-m", "tests.debugger.notebook.notebooks", path.stem]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


@by_name
def test_it_begins_with_a_question_and_every_cell_has_run_in_order(path: Path) -> None:
    first, *rest = cells(path)
    assert first["cell_type"] == "markdown"
    assert "?" in "".join(first["source"])
    counts = [cell["execution_count"] for cell in rest if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@by_name
def test_its_outputs_are_kept_with_pictures_and_without_widgets_and_errors(path: Path) -> None:
    kinds = [kind for output in outputs(path) for kind in output.get("data", {})]
    assert "image/svg+xml" in kinds
    assert not [kind for kind in kinds if "widget" in kind]
    assert not [
        output
        for output in outputs(path)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
