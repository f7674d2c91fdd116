"""One run by the command line: its input, who watches it, and what ends it."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Callable, Coroutine, Generator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from graphorch.cli.encoding import as_object
from graphorch.cli.ending import INTERRUPTED
from graphorch.cli.files import check_writable
from graphorch.cli.finding import AnyFlow, Found
from graphorch.cli.interrupts import run_until_interrupted
from graphorch.cli.live import shown
from graphorch.cli.progress import Progress
from graphorch.cli.reading import options_of, read_input
from graphorch.cli.safe import say
from graphorch.cli.telling import tell, tell_failure, tell_interrupt
from graphorch.cli.wishes import Wishes
from graphorch.engine import events
from graphorch.errors import RunFailed
from graphorch.graph.plan import Plan
from graphorch.models.config.environment import is_configured
from graphorch.models.config.loader import find_config
from graphorch.runs.result import Result

Run: TypeAlias = Coroutine[Any, Any, Result[Any, Any]]

OFFLINE = (
    "note: no model endpoint is configured (OPENAI_BASE_URL, OPENAI_API_KEY), so the embedded offline/extractive answers. "
    "It is no language model: it picks sentences out of the text that it is given, and measures."
)


def input_of(found: Found, source: str | None, arguments: list[str]) -> BaseModel:
    """The input that was given, or the sample if none was. Raises `InputError`."""
    if source is None and not arguments and found.sample is not None:
        names = ", ".join(option.name for option in options_of(found.flow.plan.input))
        say(
            f"note: no input was given, so the sample in {found.where.rpartition(':')[0]} is used; give {names} or --input for another."
        )
        return found.sample
    return read_input(found.flow.plan.input, source, arguments)


def execute(flow: AnyFlow, value: BaseModel, wishes: Wishes) -> int:
    """Run, show, write and tell; the exit code. Raises what `Flow.run` raises, and `InputError` for a file that cannot be written."""
    run_id = uuid.uuid4().hex
    return carry_out(
        flow, run_id, lambda options: flow.run(value, run_id=run_id, **options), wishes
    )


def carry_out(
    flow: AnyFlow,
    run_id: str,
    start: Callable[[dict[str, Any]], Run],
    wishes: Wishes,
    more: Callable[[], Mapping[str, Any]] = dict,
) -> int:
    """The same for whatever begins a run or goes on with one: `start` gets the options, and returns what has to be awaited.

    `more` is what a program is told beside the result.
    """
    if wishes.target:
        check_writable(wishes.target)
    if not is_configured(os.environ, find_config(Path.cwd())) and asks_models(flow.plan):
        say(OFFLINE)
    progress = Progress()
    try:
        with (
            _watched(progress, wishes, lambda: flow.stop(run_id, now=True)) as watcher,
            contextlib.redirect_stdout(sys.stderr),
        ):
            ended = run_until_interrupted(
                start({**wishes.run_options, "watch": [watcher]}), lambda: flow.stop(run_id)
            )
    except RunFailed as error:
        tell_failure(error, flow, wishes)
        if error.end_reason != "interrupted":
            raise
        tell_interrupt(flow, run_id, progress, wishes, failed=error)
        return INTERRUPTED
    except KeyboardInterrupt:
        tell_interrupt(flow, run_id, progress, wishes)
        return INTERRUPTED
    return tell(flow, ended, wishes, more())


def asks_models(plan: Plan) -> bool:
    """Whether a node of the flow may ask a model: an agent, or a function with a context."""
    workers = [
        step.map.worker
        for step in plan.steps
        if step.map is not None and step.map.worker is not None
    ]
    inner = [step.inner_plan for step in plan.steps if step.inner_plan is not None]
    return any(
        node.signature.has_context for node in [*(step.node for step in plan.steps), *workers]
    ) or any(asks_models(item) for item in inner)


# ---- while it runs -------------------------------------------------------------------------------
@contextlib.contextmanager
def _watched(
    progress: Progress, wishes: Wishes, leave: Callable[[], None]
) -> Generator[events.Observer]:
    if wishes.form == "events":
        yield _event_writer(progress, leave)
    elif wishes.form == "json" or wishes.quiet:
        yield progress.feed
    else:
        with shown(progress) as watcher:
            yield watcher


def _event_writer(progress: Progress, leave: Callable[[], None]) -> events.Observer:
    """Writes each event to standard output; when its reader has gone, nobody wants the rest of the run either, and `leave` is called."""
    stream = sys.stdout

    def write(event: events.RunEvent) -> None:
        progress.feed(event)
        values = {name: getattr(event, name) for name in event.__slots__}
        try:
            print(
                as_object({"event": events.EVENT_NAMES[type(event)]} | values),
                file=stream,
                flush=True,
            )
        except BrokenPipeError:
            if not isinstance(event, events.Ended):
                leave()

    return write
