"""Watch a run that another process drives: the display and the report of `graphorch run`.

Only the journal is read, so to stop watching does nothing to the run.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from graphorch.cli.execution import observe_run
from graphorch.cli.exit_codes import INTERRUPTED
from graphorch.cli.flow_loader import AnyFlow
from graphorch.cli.json_output import to_json_line
from graphorch.cli.live.progress import Progress
from graphorch.cli.run_report import print_result, report_failure
from graphorch.cli.run_request import RunRequest
from graphorch.cli.terminal import print_output, print_status
from graphorch.engine import events
from graphorch.errors import RunFailed
from graphorch.journal.records import RunHead
from graphorch.runs.follower import RunFollower, open_follower
from graphorch.runs.result import Result
from graphorch.text import shorten_run_id

_ADRIFT_SECONDS = 10.0  # without a process, after which that is printed


def follow_run(
    flow: AnyFlow,
    run_id: str,
    request: RunRequest,
    *,
    after: int = 0,
    through_waits: bool = False,
) -> int:
    """Show a run of the journal until it is at rest, report it, and return the exit code.

    Only events `after` a record are shown. Ctrl-C ends the watching, and the run goes on. Raises
    `RunFailed` if the run failed, and `JournalError`.
    """
    watch = _Watch(flow, run_id, request, after)
    try:
        result = asyncio.run(watch.show(through_waits=through_waits))
    except RunFailed as error:
        report_failure(error, flow, request)
        raise
    except KeyboardInterrupt:
        result = None
    if result is None:
        watch.report_left()
        return INTERRUPTED
    return print_result(flow, result, request)


class _Clock:
    """The time of what is shown: of the last event while older ones are read, else of now."""

    def __init__(self) -> None:
        self.at: float | None = None

    def read(self) -> float:
        return time.time() if self.at is None else self.at


class _Watch:
    """One run that is watched, and how far it is."""

    def __init__(self, flow: AnyFlow, run_id: str, request: RunRequest, after: int) -> None:
        self._flow = flow
        self._run_id = run_id
        self._request = request
        self._after = after
        self._clock = _Clock()
        self._progress = Progress(self._clock.read)
        self._is_unread = False  # the reader of standard output is gone
        self._adrift_since: float | None = None
        self._head: RunHead | None = None

    async def show(self, *, through_waits: bool) -> Result[Any, Any] | None:
        """Show events until the run is at rest, and return its result.

        Return None if their reader is gone. Raises `RunFailed`.
        """
        durable = self._find_durable()
        async with open_follower(durable, self._flow.plan, self._run_id) as follower:
            with observe_run(self._progress, self._request, self._stop_reading) as observe:
                while not self._is_unread:
                    found = await follower.look()
                    self._feed(found, observe, follower)
                    if await follower.is_at_rest(through_waits=through_waits):
                        break
                    self._clock.at = None
                    self._note_adrift()
                    await follower.wait()
            return None if self._is_unread else follower.build_result()

    def report_left(self) -> None:
        """Print that the run goes on, and how to watch it again."""
        if self._request.output_format != "text" and not self._is_unread:
            status = "running" if self._head is None else self._head.status
            report = {"status": status, "flow": self._flow.name, "run_id": self._run_id}
            print_output(to_json_line(report | {"output": None}))
        name = shorten_run_id(self._run_id)
        command = self._request.format_command("follow", name)
        print_status(f"run {name} is not watched any more, and goes on; watch it with: {command}")

    def _feed(
        self, found: list[events.RunEvent], observe: events.Observer, follower: RunFollower
    ) -> None:
        head = follower.head
        assert head is not None
        if self._head is None:
            self._progress.began = head.created_at
        if found or head.lease != (self._head and self._head.lease):
            self._adrift_since = None
        self._head = head
        for event in found:
            self._clock.at = getattr(event, "at", self._clock.at)
            if getattr(event, "seq", 0) > self._after:
                observe(event)
            else:
                self._progress.feed(event)

    def _note_adrift(self) -> None:
        """Say so once if no process drives the run for some time although there is work to do."""
        assert self._head is not None
        if self._head.status != "running" or self._head.is_under_way:
            return
        now = time.monotonic()
        if self._adrift_since is None:
            self._adrift_since = now
        elif 0 < self._adrift_since <= now - _ADRIFT_SECONDS:
            self._adrift_since = -1.0  # it has been said
            name = shorten_run_id(self._run_id)
            command = self._request.format_command("resume", name)
            print_status(
                f"note: no process drives run {name} now; it goes on when a worker takes it, or "
                f"with: {command}"
            )

    def _find_durable(self) -> str:
        assert self._request.journal is not None
        return self._request.journal.durable

    def _stop_reading(self) -> None:
        self._is_unread = True
