"""The picture of a run that failed in a notebook's cell, below the traceback of the cell."""

from __future__ import annotations

import sys
from typing import Any

from graphorch.errors import RunFailed


def announce_in_notebook() -> None:
    """Have a cell that ends with a `RunFailed` show its picture; nothing happens elsewhere.

    IPython prints groups of exceptions by itself, without asking them how, so this hears of the
    end of each cell.
    """
    interactive: Any = sys.modules.get("IPython")
    shell: Any = interactive.get_ipython() if interactive is not None else None
    # A terminal shows no pictures.
    if hasattr(shell, "kernel"):
        shell.events.register("post_run_cell", _show_failure)


def _show_failure(result: Any) -> None:
    """Show the picture of what a cell raised, if that is a run that failed."""
    error = result.error_in_exec
    if isinstance(error, RunFailed) and error.drawing is not None:
        data, metadata = error.drawing.build_bundle(str(error))
        sys.modules["IPython.display"].display(data, metadata=metadata, raw=True)
