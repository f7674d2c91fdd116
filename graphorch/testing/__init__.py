"""Tools for tests of flows: a virtual clock, scripted models, faults on demand, and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphorch._lazy import lazy_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from graphorch.testing.check import FlowBroken as FlowBroken
    from graphorch.testing.check import FlowReport as FlowReport
    from graphorch.testing.check import check_flow as check_flow
    from graphorch.testing.faults import FailNth as FailNth
    from graphorch.testing.faults import Injected as Injected
    from graphorch.testing.faults import around_nodes as around_nodes
    from graphorch.testing.faults import with_nodes as with_nodes
    from graphorch.testing.models import FlakyModel as FlakyModel
    from graphorch.testing.models import ScriptedModel as ScriptedModel
    from graphorch.testing.models import ScriptMismatch as ScriptMismatch
    from graphorch.testing.models import call as call
    from graphorch.testing.models import tool_results as tool_results
    from graphorch.testing.models import when as when
    from graphorch.testing.recorded_run import RecordedRun as RecordedRun
    from graphorch.testing.reducers import ReducerBroken as ReducerBroken
    from graphorch.testing.reducers import ReducerReport as ReducerReport
    from graphorch.testing.reducers import check_reducer as check_reducer
    from graphorch.testing.schedule import Schedule as Schedule
    from graphorch.testing.schedule import run_under as run_under
    from graphorch.testing.strategies import Drawn as Drawn
    from graphorch.testing.strategies import flows as flows
    from graphorch.testing.strategies import schedules as schedules
    from graphorch.testing.strategies import slices as slices
    from graphorch.testing.strategies import updates as updates
    from graphorch.testing.tools import ScriptedTool as ScriptedTool
    from graphorch.testing.tools import recorded_tools as recorded_tools
    from graphorch.testing.tools import with_tools as with_tools
    from graphorch.testing.virtual_clock import Deadlock as Deadlock
    from graphorch.testing.virtual_clock import VirtualLoop as VirtualLoop
    from graphorch.testing.virtual_clock import run_virtual as run_virtual
    from graphorch.testing.virtual_clock import virtual_now as virtual_now

# Public names by module. Only `strategies` needs Hypothesis, and only when a strategy is used.
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy_names(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "check": "FlowBroken FlowReport check_flow",
        "virtual_clock": "Deadlock VirtualLoop run_virtual virtual_now",
        "faults": "FailNth Injected around_nodes with_nodes",
        "models": "FlakyModel ScriptMismatch ScriptedModel call tool_results when",
        "recorded_run": "RecordedRun",
        "reducers": "ReducerBroken ReducerReport check_reducer",
        "schedule": "Schedule run_under",
        "strategies": "Drawn flows schedules slices updates",
        "tools": "ScriptedTool recorded_tools with_tools",
    },
)
