"""Execution of a run from the command line: watch it, let Ctrl-C end it, and report it."""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from pydantic import BaseModel

from graphorch.cli.exit_codes import INTERRUPTED
from graphorch.cli.files import check_writable
from graphorch.cli.flow_loader import AnyFlow
from graphorch.cli.interrupts import run_until_interrupted
from graphorch.cli.json_output import to_json_line
from graphorch.cli.live.display import show_progress
from graphorch.cli.live.progress import Progress
from graphorch.cli.run_report import print_result, report_failure, report_interrupt
from graphorch.cli.run_request import RunRequest
from graphorch.cli.terminal import print_status
from graphorch.engine import events
from graphorch.errors import RunFailed
from graphorch.models.budgets.budget import Alert
from graphorch.models.config.accounts import format_alert
from graphorch.runs.result import Result

RunCoroutine: TypeAlias = Coroutine[Any, Any, Result[Any, Any]]


def run_flow(flow: AnyFlow, value: BaseModel, request: RunRequest) -> int:
    """Run a flow with an input, report the run, and return the exit code.

    Raises what `Flow.run` raises, and `InputError` for a file that cannot be written.
    """
    run_id = uuid.uuid4().hex

    def start(options: dict[str, Any]) -> RunCoroutine:
        return flow.run(value, run_id=run_id, **options)

    return execute(flow, run_id, start, request)


def execute(
    flow: AnyFlow,
    run_id: str,
    start: Callable[[dict[str, Any]], RunCoroutine],
    request: RunRequest,
    describe_extra: Callable[[], Mapping[str, Any]] = dict,
) -> int:
    """Execute a new or resumed run, report it, and return the exit code.

    `start` gets the options of the run and returns its coroutine. `describe_extra` is called after
    the run, for what a program gets beside the result. Raises as `run_flow` does.
    """
    if request.output_file:
        check_writable(request.output_file)
    progress = Progress()
    try:
        # what nodes print is not the output of the run
        with (
            observe_run(progress, request, lambda: flow.stop(run_id, now=True)) as observer,
            contextlib.redirect_stdout(sys.stderr),
        ):
            options = {"watch": [observer], "on_alert": _print_alert}
            run = start({**request.build_run_options(), **options})
            result = run_until_interrupted(run, lambda: flow.stop(run_id))
    except RunFailed as error:
        report_failure(error, flow, request)
        if error.end_reason != "interrupted":
            raise
        report_interrupt(flow, run_id, progress, request, failure=error)
        return INTERRUPTED
    except KeyboardInterrupt:
        report_interrupt(flow, run_id, progress, request)
        return INTERRUPTED
    return print_result(flow, result, request, describe_extra())


def _print_alert(alert: Alert) -> None:
    print_status(f"alert: {format_alert(alert)}")


# ---- while it runs -------------------------------------------------------------------------------
def observe_run(
    progress: Progress, request: RunRequest, stop_now: Callable[[], None]
) -> AbstractContextManager[events.Observer]:
    """Return the observer of a run, as a context: it shows or writes what happens.

    `stop_now` is called if it writes events that nobody reads any more.
    """
    if request.output_format == "events":
        return contextlib.nullcontext(_make_event_writer(progress, stop_now))
    if request.output_format == "json" or request.quiet:
        return contextlib.nullcontext(progress.feed)
    return show_progress(progress)


def _make_event_writer(progress: Progress, stop_now: Callable[[], None]) -> events.Observer:
    """Return an observer that writes each event to standard output.

    When the reader of standard output is gone, the rest of the run has no use: `stop_now` is
    called.
    """
    # the stream of now: while the run runs, `sys.stdout` is redirected
    stream = sys.stdout

    def write(event: events.RunEvent) -> None:
        progress.feed(event)
        line = to_json_line(_describe_event(event))
        try:
            print(line, file=stream, flush=True)
        except BrokenPipeError:
            if not isinstance(event, events.Ended):
                stop_now()

    return write


def _describe_event(event: events.RunEvent) -> dict[str, Any]:
    """Return an event as programs read it; `value` is a user's own, of class `type`."""
    described: dict[str, Any] = {"event": events.EVENT_NAMES[type(event)]}
    if isinstance(event, events.Emitted):
        own = event.event
        return described | {
            "path": event.path,
            "node": event.node,
            "type": type(own).__name__,
            "value": own,
        }
    described |= {name: getattr(event, name) for name in event.__slots__}
    # Of an event that was read from a journal.
    return described | ({"seq": seq} if (seq := getattr(event, "seq", 0)) else {})
