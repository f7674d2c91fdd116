"""The notebooks run from a clean kernel, and their outputs can be read without one."""

from __future__ import annotations

import json
import re
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


def test_tour_exists() -> None:
    """The list of notebooks is not empty by mistake."""
    assert "tour" in [path.stem for path in NOTEBOOKS]


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("nbclient", "ipykernel", "anywidget")),
    reason="needs nbclient, ipykernel and anywidget",
)
@by_name
def test_notebook_runs_from_clean_kernel(path: Path) -> None:
    """Every cell of a notebook runs without an error."""
    command = [sys.executable, "-m", "tests.debugger.notebook.notebooks", path.stem]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


@by_name
def test_notebook_begins_with_question(path: Path) -> None:
    """A notebook asks a question, and its cells have run in order."""
    first, *rest = cells(path)
    assert first["cell_type"] == "markdown"
    assert "?" in "".join(first["source"])
    counts = [cell["execution_count"] for cell in rest if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@by_name
def test_notebook_keeps_static_outputs(path: Path) -> None:
    """Pictures are kept in forms that need no trust, and without widgets and errors."""
    shown = [output["data"] for output in outputs(path) if "data" in output]
    kinds = {kind for data in shown for kind in data}
    assert {"image/png"} < kinds <= {"text/plain", "text/html", "image/png"}
    for data in shown:
        markup = "".join(data.get("text/html", ""))
        assert not re.search(r"<(svg|script)", markup)
        assert not markup or 'src="data:image/svg+xml;base64,' in markup
        is_picture = re.match(r"<(flow|\w+ run|\w+ session) ", "".join(data["text/plain"]))
        assert not is_picture or "image/png" in data
    assert not [
        output
        for output in outputs(path)
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]


@by_name
def test_notebook_leaves_sessions_open(path: Path) -> None:
    """A session that a cell shows can still be stepped after the notebook ran in one go."""
    source = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]
    shown = [text for text in source if text.splitlines()[-1] == "session"]
    assert not shown or not any("session.close()" in text for text in source)
