"""Run the notebooks from a clean kernel, and write them with their outputs.

    python -m tests.debugger.notebook.notebooks            # run them all, and print what failed
    python -m tests.debugger.notebook.notebooks --write    # and keep the outputs, after a change

What is kept can be shown without a kernel and without trust, also by hosts that clean HTML: a
picture is kept as PNG, and a session with its tables as HTML too. A widget's view would be an empty
place, and SVG needs trust.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[3] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(path: Path) -> Any:
    """The notebook after all its cells have run. Raises `CellExecutionError`."""
    notebook: Any = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        store_widget_state=False,
    )
    client.execute()
    return notebook


def kept(notebook: Any) -> Any:
    """Return the notebook as it is written, without what only this execution has."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {}
        cell["id"] = f"cell-{number}"
        if "outputs" in cell:
            cell.outputs = [item for item in cell.outputs if WIDGET not in item.get("data", {})]
        for output in cell.get("outputs", []):
            sizes = output.pop("metadata", {}).get("image/png")
            output.get("data", {}).pop("image/svg+xml", None)
            if "image/png" in output.get("data", {}) and "<table" not in output.data["text/html"]:
                del output.data["text/html"]  # the same picture
            if output.output_type in ("display_data", "execute_result"):
                output["metadata"] = {"image/png": sizes} if sizes else {}
    return notebook


def main(names: list[str], *, write: bool) -> int:
    """Run notebooks; the number of those that failed."""
    failed = 0
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        try:
            notebook = executed(path)
        except CellExecutionError as error:
            failed += 1
            print(f"{path.name} failed:\n{error}", file=sys.stderr)
            continue
        if write:
            nbformat.write(kept(notebook), path)
    return failed


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main([text for text in given if not text.startswith("--")], write="--write" in given))
