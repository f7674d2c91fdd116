"""Whether the code of a run's flow is at hand, and is the graph that wrote the run."""

from __future__ import annotations

from graphorch.errors import JournalError
from graphorch.graph.plan import Plan
from graphorch.journal.records import RunLog
from graphorch.runs.durable import check_log
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.run_page import FlowFit

COMMAND = "graphorch serve FILE.py"
"""Command line that loads a flow, with FILE for what a journal never says."""


def describe_fit(run: OpenRun, plan: Plan | None) -> FlowFit:
    """Return whether a plan, the one that was loaded for the flow of a run, fits the run."""
    name = run.head.flow
    if plan is None:
        problem = (
            f"The code of flow '{name}' is not loaded here. A journal holds data and never says "
            "which code to run, so only a person can name the file that defines it."
        )
        return FlowFit(name, is_loaded=False, fits=False, problem=problem, command=COMMAND)
    try:
        check_log(RunLog(run.head, tuple(run.records)), plan)
    except JournalError as error:
        return FlowFit(name, is_loaded=True, fits=False, problem=str(error))
    return FlowFit(name, is_loaded=True, fits=True)
