"""Answers to questions: each bound to what was asked, and the first one counts.

Theory of operation. An answer is a letter whose id follows from its question. Storing it is one
transaction, and a letter whose id is taken is not stored again: so of two answers, also of two
servers, one is stored, and the other one finds it. An answer that was refused, such as for its
arguments, leaves the question open: the next one has the next id. No name is stored with an answer;
its id alone tells that it came through a server.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from graphorch.errors import Expired, InputError, QuestionClosed
from graphorch.journal.records import Letter, NewLetter
from graphorch.runs.mailbox import build_answer_letter, read_run
from graphorch.runs.options import RunOptions
from graphorch.server.actions.letters import LetterReceipt, deliver, post_letter
from graphorch.server.actions.limits import keep_limits
from graphorch.server.actions.values import parse_value
from graphorch.server.context import ServerContext
from graphorch.server.fitting_run import open_fitting
from graphorch.server.problems import Problem, describe_error, refuse_mistakes
from graphorch.server.served_flow import AnyFlow
from graphorch.text import format_moment
from graphorch.views.asking.closed_questions import ClosedQuestion, find_closed_question
from graphorch.views.asking.inboxes import find_answer_letters, find_answer_types
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reading.run_pages import list_questions

AnswerWay: TypeAlias = Literal["serve", "program"]
"""How an answer came: through a `graphorch serve`, or from a program or a command."""

_WAYS: Final[dict[AnswerWay | None, str]] = {
    "serve": ", through the page or the API of a `graphorch serve`",
    "program": ", by a program or a command such as `graphorch answer`",
    None: "",
}
_MOST_TRIES: Final = 1_000  # answers to one question that were refused


async def give_answer(
    context: ServerContext, run_id: str, question: str, digest: str, values: dict[str, Any]
) -> LetterReceipt:
    """Store the answer to a question, and have the run go on.

    Raises `Problem` for a question that is not open, is not the one of the digest, or was answered,
    and for an answer that does not fit.
    """
    async with open_fitting(context, run_id, "An answer") as (run, plan):
        letters = await context.store.list_letters(run_id)
        if (earlier := find_answer_letters(letters).get(question)) is not None:
            raise _refuse_second(question, earlier)
        path = _require_open(context, run, letters, question, digest)
        answer = parse_value(find_answer_types(run, plan)[question], values, "/answer")
        own = keep_limits(context, run.rebuild(plan))
        served = context.find_flow(run.head.flow)
        assert served is not None
    seen = await read_run(context.store, plan, run_id)
    by = secrets.token_hex(8)
    for number in range(_MOST_TRIES):
        letter_id = f"{_name_letters(question)}{number}"
        try:
            letter = build_answer_letter(
                seen, question, answer, context.clock(), by=by, letter_id=letter_id
            )
            receipt = await _post(context, served.flow, letter, own)
        except (QuestionClosed, Expired) as error:
            raise await _explain_closed(context, run_id, question, error) from error
        except InputError as error:
            raise refuse_mistakes([{"where": "/answer", "what": str(error)}], "body") from error
        if receipt is not None:
            return receipt
    raise Problem(409, "question-refused", f"{_MOST_TRIES} answers to '{path}' were refused.")


async def _post(
    context: ServerContext, flow: AnyFlow, letter: NewLetter, own: RunOptions
) -> LetterReceipt | None:
    """Store an answer and deliver it; None if its id was used for one that was refused.

    Raises `Problem` if another answer is stored, and what this one is refused with.
    """
    stored, is_left = await post_letter(context, letter)
    if stored.outcome is not None and stored.outcome.error:
        return None
    question, by = letter.body["question"], letter.body["by"]
    first = find_answer_letters(await context.store.list_letters(letter.run_id)).get(question)
    body = stored.body
    if body is None or body.get("by") != by:
        raise _refuse_second(question, stored)
    if first is not None and first.number < stored.number:
        raise _refuse_second(question, first)
    return await deliver(context, flow, stored, own, is_left=is_left)


# ---- questions that cannot be answered -----------------------------------------------------------
def _require_open(
    context: ServerContext, run: OpenRun, letters: Sequence[Letter], question: str, digest: str
) -> str:
    """Return the path of an open question. Raises `Problem` if it is not what was read."""
    asked = {row.id: row for row in list_questions(run, run.steps.list_rows())}.get(question)
    if asked is None:
        closed = find_closed_question(run, question)
        if closed is None:
            raise _refuse_unknown(run, question)
        raise _refuse_closed(question, closed, letters)
    if asked.expires is not None and asked.expires <= context.clock():
        raise _refuse_closed(question, ClosedQuestion("expired", asked.expires), letters)
    if asked.digest != digest:
        raise Problem(
            409,
            "question-changed",
            f"What '{asked.path}' asks is not what this answer is for: the digest is another one. "
            "Nothing was answered. Read the question again.",
            extra={"question": question, "digest": asked.digest},
        )
    return asked.path


async def _explain_closed(
    context: ServerContext, run_id: str, question: str, error: Exception
) -> Problem:
    """Return the problem of a question that was closed while its answer was on its way."""
    async with context.reader.open_run(run_id) as run:
        closed = find_closed_question(run, question)
    if closed is None:
        return describe_error(error)
    return _refuse_closed(question, closed, await context.store.list_letters(run_id))


def _refuse_closed(question: str, closed: ClosedQuestion, letters: Sequence[Letter]) -> Problem:
    if closed.outcome == "answered":
        return _build_answered(question, closed.at, _find_way(question, letters))
    texts = {"expired": "its time is over", "withdrawn": "it was withdrawn"}
    return Problem(
        410,
        f"question-{closed.outcome}",
        f"This question is not open: {texts[closed.outcome]}, {format_moment(closed.at)}.",
        extra={"question": question, "closed_at": closed.at},
    )


def _refuse_second(question: str, first: Letter) -> Problem:
    is_served = first.letter_id.startswith(_name_letters(question))
    return _build_answered(question, first.sent_at, "serve" if is_served else "program")


def _find_way(question: str, letters: Sequence[Letter]) -> AnswerWay | None:
    """Return how the answer came that a run took in; None if no letter tells.

    An answer of the process that drove the run is no letter, and the content of one that was taken
    in is gone: only its id is left.
    """
    for letter in letters:
        is_taken = letter.outcome is not None and not letter.outcome.error
        if is_taken and letter.letter_id.startswith(_name_letters(question)):
            return "serve"
    return None


def _name_letters(question: str) -> str:
    """Return how the ids of the answers to a question begin, which come through a server."""
    return f"answer-{question}-"


def _build_answered(question: str, at: float, way: AnswerWay | None) -> Problem:
    return Problem(
        409,
        "question-answered",
        f"This question was answered already, {format_moment(at)}{_WAYS[way]}, and the first "
        "answer counts. The journal keeps no name with it.",
        extra={"question": question, "answered_at": at, "answered_through": way},
    )


def _refuse_unknown(run: OpenRun, question: str) -> Problem:
    return Problem(
        404,
        "question-not-found",
        f"Run {run.head.run_id} never asked the question '{question[:80]}'. "
        "GET /api/inbox lists the open ones.",
    )
