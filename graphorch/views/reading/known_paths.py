"""Paths that a question about a run may name."""

from __future__ import annotations

from graphorch.errors import InputError, did_you_mean
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.paths import is_inside


def require_path(run: OpenRun, path: str) -> None:
    """Raise `InputError` for a path that is not in the flow of a run, with the nearest ones."""
    if run.spans.flow.kind(path):
        return  # a node, whether the run came there or not
    known = dict.fromkeys(
        name for span in run.trace.spans for name in (span.path, span.step) if name
    )
    if not any(is_inside(name, path) for name in known):
        raise InputError(
            f"{path!r:.200} is not a node of run {run.head.run_id}. "
            f"{did_you_mean(path, list(known)[:1000])}"
        )
