"""Bugs to plant into signals, timers and firsts, one at a time, for the simulation to find."""

from __future__ import annotations

import contextlib
from typing import Any

from graphorch.core import run as run_module
from graphorch.core import waits as waits_module
from graphorch.core.events import Resumed
from graphorch.core.run import Run
from graphorch.core.state import RunState
from graphorch.core.tree import Activation, Scope
from tests.simulation.planted import replaced, replaced_handler


def signal_goes_to_the_last_that_waits() -> Any:
    """A signal is given to the last activation that waits for it instead of the first."""

    def find_waiting(scope: Scope, name: str, key: str) -> Activation | None:
        found = [
            activation
            for activation in waits_module.list_waits(scope)
            if activation.wait is not None and activation.wait[:2] == (name, key)
        ]
        return found[-1] if found else None

    return replaced(waits_module, "find_waiting", lambda _: find_waiting)


def rivals_go_on() -> Any:
    """The events that come second are not cancelled."""

    def withdraw_rivals(run: RunState, activation: Activation) -> None:
        pass

    both = contextlib.ExitStack()
    for module in (waits_module, run_module):
        both.enter_context(replaced(module, "withdraw_rivals", lambda _: withdraw_rivals))
    return both


def timer_leaves_its_rivals() -> Any:
    """A signal withdraws the other events, a timer or an answer does not."""

    def withdraw_rivals(run: RunState, activation: Activation) -> None:
        pass

    return replaced(run_module, "withdraw_rivals", lambda _: withdraw_rivals)


def kept_signals_are_lost_on_resume() -> Any:
    """A run that is resumed has forgotten the signals that were kept."""

    def wrong(right: Any) -> Any:
        def resumed(run: Run, event: Resumed) -> None:
            run.kept_signals = {}
            right(run, event)

        return resumed

    return replaced_handler(Resumed, wrong)


def signal_is_given_again() -> Any:
    """A signal that is given to an activation is kept for the next one as well."""

    def wrong(right: Any) -> Any:
        def give(run: RunState, activation: Activation, value: Any) -> None:
            right(run, activation, value)
            wait = activation.wait
            assert wait is not None
            run.kept_signals = {**run.kept_signals, (wait.signal, wait.key): [value]}

        return give

    return replaced(waits_module, "_give", wrong)


def nothing_starts_after_a_withdrawal() -> Any:
    """A join that waited for an event that is withdrawn does not start in that step."""
    return replaced(waits_module, "fire_ready", lambda _: lambda run, scope: None)
