"""`graphorch resume --due`: continue the runs of a flow whose time has come, a few at once."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from graphorch.cli.endpoints import list_models_of_run, open_endpoints
from graphorch.cli.exit_codes import DONE, FAILED, INTERRUPTED, format_error
from graphorch.cli.flow_loader import AnyFlow, load_flow
from graphorch.cli.interrupts import run_until_interrupted
from graphorch.cli.journals import query_store, require_journal
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_request import RunRequest
from graphorch.cli.terminal import print_output, print_status, sanitize_line
from graphorch.engine.scheduler import OnAmbiguous
from graphorch.errors import GraphorchError, InputError, RunFailed
from graphorch.journal.due_times import find_due_runs
from graphorch.journal.errors import JournalDamaged, LeaseHeld
from graphorch.text import format_moment, plural, shorten_run_ids

_AT_ONCE: Final = 8  # runs that are under way at a time


@dataclass(frozen=True, slots=True)
class Continued:
    """What became of a run that was due.

    `status` is that of the run; `driven` if another process drives it, and `error` if it could not
    be continued. `due` is when it is due again.
    """

    run_id: str
    status: str
    error: str = ""
    due: float | None = None


def resume_due(
    flow: str, request: RunRequest, ambiguous: OnAmbiguous, *, db: str, config: str
) -> int:
    """Continue all waiting runs of a flow whose time has come, and return the exit code.

    One that fails keeps none of the others from going on. Raises `InputError`, `JournalError` and
    `GraphError`.
    """
    journal = require_journal(db)
    loaded = load_flow(flow).flow
    now = time.time()
    due = query_store(journal, lambda store: find_due_runs(store, loaded.name, now))
    run_ids = [head.run_id for head in due.runs]
    models: list[str] = []
    for run_id in run_ids:
        with contextlib.suppress(JournalDamaged):  # its line says so
            models += list_models_of_run(journal, run_id, loaded.plan, request.model)
    client = open_endpoints(config, loaded.plan, models=models, journal=journal)
    options = RunRequest(
        model=request.model,
        usd=request.usd,
        seconds=request.seconds,
        activations=request.activations,
        client=client,
        journal=journal,
    )
    for run_id, reason in due.unreadable.items():
        print_status(f"note: run {sanitize_line(run_id)} cannot be read: {reason}")
    work = _Work(loaded, options, ambiguous, run_ids, is_quiet=request.output_format == "json")
    is_interrupted = False
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what nodes print is not the output
            run_until_interrupted(work.do(), work.stop)
    except KeyboardInterrupt:
        is_interrupted = True
    if request.output_format == "json":
        print_output(to_json_line({"runs": [asdict(each) for each in work.done], "next": due.next}))
    elif not run_ids:
        when = "" if due.next is None else f"; the next is due at {format_moment(due.next)}"
        print_status(f"no run of '{sanitize_line(loaded.name)}' is due{when}")
    if is_interrupted or work.is_stopped:
        left = len(run_ids) - len(work.done)
        print_status(f"interrupted: {plural(left, 'due run')} not continued")
        return INTERRUPTED
    is_failed = any(each.status in ("failed", "stopped", "error") for each in work.done)
    return FAILED if is_failed or due.unreadable else DONE


class _Work:
    """Continues runs, and prints a line for each that is done with."""

    def __init__(
        self,
        flow: AnyFlow,
        request: RunRequest,
        ambiguous: OnAmbiguous,
        run_ids: Sequence[str],
        *,
        is_quiet: bool,
    ) -> None:
        self.done: list[Continued] = []
        self.is_stopped = False
        self._flow = flow
        self._request = request
        self._ambiguous: OnAmbiguous = ambiguous
        self._names = dict(zip(run_ids, shorten_run_ids(run_ids), strict=True))
        self._under_way: set[str] = set()
        self._stream = None if is_quiet else sys.stdout

    async def do(self) -> None:
        """Continue all runs, the earliest first."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def continue_run(run_id: str) -> None:
            async with free:
                if not self.is_stopped:
                    self._report(await self._continue(run_id))

        async with asyncio.TaskGroup() as group:
            for run_id in self._names:
                group.create_task(continue_run(run_id))

    def stop(self) -> None:
        """Stop the runs that are under way, and begin no other."""
        self.is_stopped = True
        for run_id in self._under_way:
            with contextlib.suppress(InputError):  # it is over already
                self._flow.stop(run_id)

    async def _continue(self, run_id: str) -> Continued:
        self._under_way.add(run_id)
        try:
            options: dict[str, Any] = {**self._request.build_run_options()}
            result = await self._flow.resume(run_id, ambiguous=self._ambiguous, **options)
        except LeaseHeld:
            return Continued(run_id, "driven")
        except RunFailed as error:
            status = getattr(getattr(error.run, "run", None), "status", "failed")
            return Continued(run_id, status, format_error(error).removeprefix("error: "))
        except GraphorchError as error:
            return Continued(run_id, "error", str(error))
        finally:
            self._under_way.discard(run_id)
        return Continued(run_id, result.status, due=result.due)

    def _report(self, continued: Continued) -> None:
        self.done.append(continued)
        if self._stream is not None:
            line = f"run {self._names[continued.run_id]} {_describe(continued)}"
            print(sanitize_line(line, 1_000), file=self._stream, flush=True)


def _describe(continued: Continued) -> str:
    """Return what became of a run, as the end of a sentence about it."""
    if continued.status == "driven":
        return "is driven by another process"
    if continued.status == "error":
        return f"cannot be continued: {continued.error}"
    if continued.error:
        return f"{continued.status}: {continued.error}"
    if continued.status == "waiting":
        until = "" if continued.due is None else f" until {format_moment(continued.due)}"
        return f"waits{until}"
    return continued.status
