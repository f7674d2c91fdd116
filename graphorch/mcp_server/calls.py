"""Calls of tools: the first leg begins a run, later legs answer its questions or wait for it.

In the era of the protocol that began with 2026-07-28, a call ends with what it waits for, and the
client repeats it with the answers and the sealed state, which names the run. So a leg may be lost,
repeated or sent twice: all of them are about one run. In the era before, the server asks within the
call, and the client waits for as long as the run takes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    InputResponse,
    Tool,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from graphorch.errors import GraphorchError, InputError, RunFailed, did_you_mean
from graphorch.mcp_server.call_state import CallState, digest_question, load_state
from graphorch.mcp_server.forms import build_form
from graphorch.mcp_server.results import (
    RUN_ID,
    build_error,
    build_leg,
    build_question_form,
    build_success,
    describe_events,
    describe_failure,
    describe_waiting,
)
from graphorch.mcp_server.schemas import parse_values
from graphorch.mcp_server.served_flows import ServedFlow
from graphorch.mcp_server.served_runs import RunView, ServedRuns
from graphorch.runs.result import Question
from graphorch.text import RUN_ID_RULE, is_run_id

Context = ServerRequestContext[Any, Any]

ARGUMENTS_TAG: Final = "mcp_arguments"
"""Tag of a run that a call began: the digest of the tool's name and arguments."""
_PROGRESS_SECONDS: Final = 1.0  # between two notices of progress
_MOST_TRIES: Final = 5  # wrong answers to one question within a call


@dataclass(slots=True)
class _Leg:
    """One leg of a call: its run, and what its client should know beside the outcome.

    `begun` and `answers`, by the paths of their questions, are the tasks that it started.
    """

    served: ServedFlow
    run_id: str
    notes: list[str] = field(default_factory=list[str])
    problems: dict[str, str] = field(default_factory=dict[str, str])
    begun: list[asyncio.Task[bool]] = field(default_factory=list["asyncio.Task[bool]"])
    answers: dict[str, asyncio.Task[bool]] = field(default_factory=dict[str, "asyncio.Task[bool]"])


class ToolCalls:
    """Handler of `tools/call`; `leg_seconds` is how long one leg waits for a run."""

    def __init__(
        self,
        tools: Mapping[str, tuple[ServedFlow, Tool]],
        runs: ServedRuns,
        leg_seconds: float,
    ) -> None:
        self._tools = tools
        self._runs = runs
        self._leg_seconds = leg_seconds
        self.run_ids: dict[Any, str] = {}
        """Runs of the calls that were not answered yet, by the id of the request."""

    async def __call__(
        self, ctx: Context, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        """Handle one leg of a call."""
        if params.name not in self._tools:
            message = f"There is no tool '{params.name}'. {did_you_mean(params.name, self._tools)}"
            raise MCPError(INVALID_PARAMS, message)
        leg = _Leg(self._tools[params.name][0], "")
        try:
            await self._enter(leg, params)
            self.run_ids[ctx.request_id] = leg.run_id
            result = await self._run_leg(ctx, leg)
        except GraphorchError as error:
            result = build_error(str(error), leg.run_id, leg.notes)
        self.run_ids.pop(ctx.request_id, None)
        return result

    # ---- what a leg brings -----------------------------------------------------------------------
    async def _enter(self, leg: _Leg, params: CallToolRequestParams) -> None:
        """Begin the run of a first leg, or take the answers of a later one."""
        responses = params.input_responses or {}
        if params.request_state is not None:
            state = load_state(params.request_state)
            leg.run_id = state.run_id
            leg.notes += state.notes
            if responses:
                await self._take_answers(leg, state, responses)
            return
        if responses:
            message = (
                "inputResponses came without the requestState of the leg that asked, so it is not "
                "known which run they are for. Nothing was run. Repeat the call with both."
            )
            raise MCPError(INVALID_PARAMS, message)
        await self._begin(leg, params)

    async def _begin(self, leg: _Leg, params: CallToolRequestParams) -> None:
        """Begin a run, unless the call names one that such a call has begun already."""
        plan, arguments = leg.served.flow.plan, params.arguments or {}
        try:
            value = parse_values(plan.input, arguments)
        except InputError as error:
            raise InputError(f"The arguments of '{params.name}' do not fit: {error}") from error
        named: object = (params.meta or {}).get(RUN_ID)
        if named is not None and not is_run_id(named):
            raise InputError(f"_meta {RUN_ID} = {named!r:.80} is not an id. {RUN_ID_RULE}")
        leg.run_id = uuid.uuid4().hex if named is None else str(named)
        digest = _digest_call(params.name, arguments)
        is_begun = named is not None and await self._is_begun(leg, digest)
        while not is_begun:
            tags = {ARGUMENTS_TAG: digest}
            if (task := self._runs.begin(leg.served.flow, value, leg.run_id, tags)) is not None:
                leg.begun.append(task)
                return
            is_begun = await self._is_begun(leg, digest)  # another call was faster

    async def _is_begun(self, leg: _Leg, digest: str) -> bool:
        """Return whether a run exists that this very call began.

        Raises `InputError` if it was begun otherwise.
        """
        tags = await self._runs.find_tags(leg.run_id)
        if tags is None:
            return False
        if tags.get(ARGUMENTS_TAG) != digest:
            raise InputError(
                f"Run {leg.run_id} was not begun by a call of this tool with these arguments. "
                "Nothing was run. Name another id, or none."
            )
        return True

    async def _take_answers(
        self, leg: _Leg, state: CallState, responses: Mapping[str, InputResponse]
    ) -> None:
        """Take the answers of a leg, each for the question that was asked with its state."""
        view = await self._runs.look(leg.served.flow, leg.run_id)
        for key, response in responses.items():
            if key not in state.asked:
                leg.notes.append(f"Note: '{key}' was not asked, so its answer was ignored.")
                continue
            question_id, digest = state.asked[key]
            question = view.open.get(question_id)
            if question is None:
                leg.notes.append(_describe_taken(key))
            elif digest_question(question) != digest:
                leg.problems[question_id] = "the question has changed since it was asked."
            elif not isinstance(response, ElicitResult):
                leg.problems[question_id] = "it is not the answer to a form."
            else:
                self._take_answer(leg, question, response)

    def _take_answer(self, leg: _Leg, question: Question, response: ElicitResult) -> None:
        """Give one answer to the run, or note why it was not taken."""
        if response.action != "accept":
            asked = [question]
            reason = f"The question was left open ({response.action})."
            raise InputError(describe_waiting(leg.served, leg.run_id, asked, reason))
        try:
            answer = build_form(question.answer_type).read(response.content)
        except InputError as error:
            leg.problems[question.id] = str(error)
            return
        task = self._runs.answer(leg.served.flow, leg.run_id, question.id, answer)
        if task is None:
            leg.notes.append(_describe_taken(question.path))
        else:
            leg.answers[question.path] = task

    # ---- what a leg gets -------------------------------------------------------------------------
    async def _run_leg(self, ctx: Context, leg: _Leg) -> CallToolResult | InputRequiredResult:
        """Wait for the run, and return how it ended, what it asks, or that it goes on."""
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        while True:
            view = await self._follow(ctx, leg)
            leg.notes += [_describe_taken(path) for path in _list_late(leg.answers)]
            outcome = None if view is None else view.outcome
            if isinstance(outcome, RunFailed):
                return build_error(describe_failure(leg.served, outcome), leg.run_id, leg.notes)
            if outcome is not None and outcome.status != "waiting":
                return build_success(outcome, leg.notes)
            questions = [] if view is None else list(view.open.values())
            if questions and not _shows_forms(ctx):
                reason = "This client shows no forms (elicitation), so it cannot be asked."
                text = describe_waiting(leg.served, leg.run_id, questions, reason)
                return build_error(text, leg.run_id, leg.notes)
            if outcome is not None and not questions:
                return build_error(
                    describe_events(leg.served, outcome), leg.run_id, [*leg.notes, *leg.problems]
                )
            if is_modern and questions:
                return build_leg(leg.run_id, questions, leg.problems, leg.notes)
            if is_modern:
                return build_leg(leg.run_id, notes=[*leg.notes, *leg.problems.values()])
            await self._ask_within(ctx, leg, questions)

    async def _follow(self, ctx: Context, leg: _Leg) -> RunView | None:
        """Wait for the run for the time of a leg, and report its progress meanwhile."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        tasks = [*leg.begun, *leg.answers.values()]
        while True:
            left = self._leg_seconds - (loop.time() - began)
            pause = max(min(_PROGRESS_SECONDS, left), 0.0)
            view = await self._runs.follow(
                leg.served.flow, leg.run_id, pause, asks=_shows_forms(ctx), tasks=tasks
            )
            seconds = loop.time() - began
            if view is not None:
                return view
            if seconds >= self._leg_seconds:
                for task in leg.begun:
                    await self._runs.wait_until_stored(leg.run_id, task)
                if leg.answers:
                    await self._runs.wait_until_taken(leg.served.flow, leg.run_id)
                return None
            steps, path = self._runs.get_progress(leg.run_id)
            message = f"{steps} done, last {path}" if steps else "under way"
            await ctx.session.report_progress(seconds, None, message)

    async def _ask_within(self, ctx: Context, leg: _Leg, questions: Sequence[Question]) -> None:
        """Ask the questions of a run within the call, in the era that knows no legs."""
        for question in questions:
            for _ in range(_MOST_TRIES):
                problem = leg.problems.pop(question.id, "")
                form = build_question_form(question, leg.run_id, problem)
                response = await _elicit(ctx, leg, question, form)
                self._take_answer(leg, question, response)
                if question.id not in leg.problems:
                    break
            else:
                reason = f"{_MOST_TRIES} answers did not fit: {leg.problems[question.id]}"
                asked = [question]
                raise InputError(describe_waiting(leg.served, leg.run_id, asked, reason))


async def _elicit(
    ctx: Context, leg: _Leg, question: Question, form: ElicitRequestFormParams
) -> ElicitResult:
    """Return what the client answers to a form. Raises `InputError` if it does not."""
    try:
        return await ctx.session.elicit_form(form.message, form.requested_schema, ctx.request_id)
    except (MCPError, ValidationError) as error:
        reason = f"The client did not answer the form: {error}."
        text = describe_waiting(leg.served, leg.run_id, [question], reason)
        raise InputError(text) from error


def _shows_forms(ctx: Context) -> bool:
    """Return whether the client declared that it can show forms."""
    capabilities = ctx.session.client_capabilities
    elicitation = None if capabilities is None else capabilities.elicitation
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _digest_call(tool: str, arguments: Mapping[str, Any]) -> str:
    call = json.dumps([tool, arguments], sort_keys=True)
    return hashlib.sha256(call.encode()).hexdigest()[:16]


def _list_late(answers: dict[str, asyncio.Task[bool]]) -> list[str]:
    """Return the questions whose answer came too late, and forget those that are settled."""
    settled = [path for path, task in answers.items() if task.done() and not task.cancelled()]
    return [path for path in settled if not answers.pop(path).result()]


def _describe_taken(question: str) -> str:
    return (
        f"Note: question '{question}' was answered or withdrawn before, or had expired, so the "
        "answer of this call changed nothing."
    )
