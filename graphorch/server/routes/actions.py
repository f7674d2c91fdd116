"""What is done to a run: it goes on, stops, ends, is run again in a copy, or is erased."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from graphorch.server.actions.beginning import BegunRun
from graphorch.server.actions.forking import Change, fork, preview, rerun
from graphorch.server.actions.letters import LetterReceipt
from graphorch.server.actions.limits import LimitsBody
from graphorch.server.actions.request_ids import DESCRIBED_HEADER, identify
from graphorch.server.actions.resuming import (
    RunChange,
    cancel_run,
    read_change,
    resume_run,
    stop_run,
)
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery, Reply, RequestModel
from graphorch.views.reasons.what_if import WhatIf

Path = Annotated[str, Field(min_length=1, max_length=2_000)]
Model = Annotated[str, Field(max_length=200)]


class ResumeBody(RequestModel):
    """New limits, at most those of the server.

    `ambiguous` says what to do about a node that must not act twice, and may have acted: leave the
    run stopped, run the node again, or let it fail.
    """

    limits: LimitsBody = LimitsBody()
    ambiguous: Literal["stop", "repeat", "fail"] = "stop"


class StopBody(RequestModel):
    """`now` interrupts running nodes, which otherwise may finish."""

    now: bool = False
    reason: Annotated[str, Field(min_length=1, max_length=200)] = "interrupted"


class CancelBody(RequestModel):
    """`undo` undoes what the run committed, as far as its nodes can."""

    undo: bool = True


class ForkBody(RequestModel):
    """Where the copy stops: the path of an activation, such as `write#2`."""

    start: Path


class WhatIfBody(RequestModel):
    """What would be changed at `start`: another model, or fields of its output."""

    start: Path
    model: Model = ""
    output: dict[str, Any] | None = None


class RerunBody(WhatIfBody):
    """`effects` says what to do about nodes that would act on the world again."""

    effects: Literal["refuse", "repeat", "serve"] = "refuse"


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoints that change a run, or make another one of it."""
    run, refuses = "/api/runs/{id}", (403, 404, 409, 410, 422, 429, 503)
    return [
        *_build_changes(context, run, refuses),
        *_build_copies(context, run, refuses),
    ]


def _build_changes(context: ServerContext, run: str, refuses: tuple[int, ...]) -> list[Endpoint]:
    async def resume(call: Call[NoQuery, ResumeBody]) -> RunChange:
        """Let a run go on that failed, was stopped, waits, or whose process is gone."""
        body = call.body
        return await resume_run(context, call.names["id"], body.limits, body.ambiguous)

    async def stop(call: Call[NoQuery, StopBody]) -> LetterReceipt:
        """Stop a run that is under way, here or in another process. It can be resumed."""
        body = call.body
        return await stop_run(context, call.names["id"], body.reason, now=body.now)

    async def cancel(call: Call[NoQuery, CancelBody]) -> RunChange:
        """Cancel a run for good, and undo what it committed. Its records stay readable."""
        return await cancel_run(context, call.names["id"], undo=call.body.undo)

    async def erase(call: Call[NoQuery, None]) -> RunChange:
        """Delete all that a run read and wrote, for good. It stays in lists, with its hashes."""
        await context.store.erase(call.names["id"])
        return await read_change(context, call.names["id"])

    async def delete(call: Call[NoQuery, None]) -> RunChange:
        """Delete all that a run read and wrote, for good, as `erase` does."""
        return await erase(call)

    return [
        Endpoint(
            "POST", f"{run}/resume", resume, RunChange, body=ResumeBody, status=202, refuses=refuses
        ),
        Endpoint(
            "POST", f"{run}/stop", stop, LetterReceipt, body=StopBody, status=202, refuses=refuses
        ),
        Endpoint(
            "POST", f"{run}/cancel", cancel, RunChange, body=CancelBody, status=202, refuses=refuses
        ),
        Endpoint("POST", f"{run}/erase", erase, RunChange, refuses=(403, 404, 409)),
        Endpoint("DELETE", run, delete, RunChange, refuses=(403, 404, 409)),
    ]


def _build_copies(context: ServerContext, run: str, refuses: tuple[int, ...]) -> list[Endpoint]:
    async def preview_rerun(call: Call[NoQuery, WhatIfBody]) -> WhatIf:
        """Tell what a rerun would run anew, which effects it would repeat, and its worst cost."""
        return await preview(context, call.names["id"], _read_change(call.body))

    async def rerun_run(call: Call[NoQuery, RerunBody]) -> Reply:
        """Run again from an activation on, with something changed, as a new run.

        With the header Idempotency-Key, the same request begins one run.
        """
        run_id, body = call.names["id"], call.body
        request = identify(call.headers, ["rerun", run_id, body.model_dump(mode="json")])
        return await rerun(context, run_id, _read_change(body), body.effects, request)

    async def fork_run(call: Call[NoQuery, ForkBody]) -> Reply:
        """Copy a run up to an activation into a new run, which is stopped there.

        With the header Idempotency-Key, the same request makes one copy.
        """
        run_id, start = call.names["id"], call.body.start
        return await fork(context, run_id, start, identify(call.headers, ["fork", run_id, start]))

    begins = Endpoint(
        "POST",
        f"{run}/rerun",
        rerun_run,
        BegunRun,
        body=RerunBody,
        status=201,
        refuses=refuses,
        headers=DESCRIBED_HEADER,
    )
    return [
        Endpoint(
            "POST",
            f"{run}/what-if",
            preview_rerun,
            WhatIf,
            body=WhatIfBody,
            refuses=(404, 409, 422),
            changes=False,
        ),
        begins,
        replace(begins, path=f"{run}/fork", handle=fork_run, body=ForkBody),
    ]


def _read_change(body: WhatIfBody) -> Change:
    return Change(body.start, body.model, body.output)
