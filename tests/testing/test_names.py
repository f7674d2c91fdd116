"""The public names of `graphorch.testing`, each there, documented and lazily loaded."""

from __future__ import annotations

import subprocess
import sys

import graphorch.testing

PUBLIC = (
    "Deadlock Drawn FailNth FlakyModel FlowBroken FlowReport Injected RecordedRun ReducerBroken "
    "ReducerReport Schedule ScriptMismatch ScriptedModel ScriptedTool VirtualLoop around_nodes "
    "call check_flow check_reducer flows recorded_tools run_under run_virtual schedules slices "
    "tool_results updates virtual_now when with_nodes with_tools"
).split()


def test_exported_names_are_promised() -> None:
    assert graphorch.testing.__all__ == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(graphorch.testing))
    for name in PUBLIC:
        assert (getattr(graphorch.testing, name).__doc__ or "").strip(), name


def test_hypothesis_loads_with_strategies() -> None:
    """Nothing needs Hypothesis until a strategy is used."""
    imports = "import sys, graphorch.testing as t; t.check_flow, t.ScriptedModel, t.flows"
    program = f"{imports}; assert 'hypothesis' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
