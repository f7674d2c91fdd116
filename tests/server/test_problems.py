"""Errors as problems: each has a status, a stable name, and says what to do."""

from __future__ import annotations

import json
import logging

import pytest
from pydantic import BaseModel, ValidationError

from graphorch.errors import Expired, GraphError, InputError, QuestionClosed, ReplayDiverged
from graphorch.journal.errors import (
    JournalDamaged,
    LeaseHeld,
    RunErased,
    RunNotFound,
    StoreLocked,
    WrongKey,
)
from graphorch.server.problems import Problem, describe_error, describe_mistakes

ERRORS = [
    (RunNotFound("x"), 404, "run-not-found"),
    (RunErased("x"), 410, "run-erased"),
    (LeaseHeld("x", "other", 9.0, 1.0), 409, "run-held"),
    (WrongKey("x", b"k", None), 409, "wrong-key"),
    (JournalDamaged("run x", "record 3 was altered."), 409, "run-damaged"),
    (StoreLocked("locked"), 503, "journal-unavailable"),
    (QuestionClosed("answered"), 409, "question-closed"),
    (Expired("too late"), 410, "question-expired"),
    (ReplayDiverged("other code"), 409, "flow-does-not-fit"),
    (GraphError("graph 'x'", []), 422, "graph"),
    (InputError("wrong"), 422, "input"),
    (ValueError("secret details"), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "name"), ERRORS, ids=[name for *_, name in ERRORS])
def test_error_has_status_and_name(error: Exception, status: int, name: str) -> None:
    """Each kind of error is a problem of its own."""
    problem = describe_error(error)
    members = json.loads(problem.encode())
    assert (problem.status, problem.name) == (status, name)
    assert members["type"] == f"urn:graphorch:problem:{name}"
    assert members["status"] == status
    assert members["title"]
    assert members["detail"]


def test_failure_of_storage_may_be_repeated() -> None:
    """A store that is locked for now says when to come again."""
    assert describe_error(StoreLocked("locked")).headers == {"retry-after": "1"}


def test_bug_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """What an unexpected error says is for the log of the server, not for its clients."""
    with caplog.at_level(logging.ERROR):
        problem = describe_error(ValueError("secret details"))
    assert "secret details" not in problem.detail
    assert "ValueError" in problem.detail
    assert "secret details" in caplog.text


def test_problem_says_what_it_is() -> None:
    """Members of its own stand beside the standard ones and replace none of them."""
    problem = Problem(409, "x", "why \ud800", extra={"flow": "a", "status": 1})
    members = json.loads(problem.encode())
    assert (members["flow"], members["status"], members["detail"]) == ("a", 409, "why \\ud800")


def test_mistakes_have_pointers() -> None:
    """Each value that does not fit is named by its JSON pointer, and none is repeated."""

    class Inner(BaseModel):
        count: int

    class Body(BaseModel):
        parts: list[Inner]
        name: str

    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"parts": [{"count": 1}, {"count": "secret"}]})
    problem = describe_mistakes(caught.value, "body")
    assert [mistake["where"] for mistake in problem.extra["mistakes"]] == [
        "/parts/1/count",
        "/name",
    ]
    assert problem.detail.startswith("The body does not fit at /parts/1/count: ")
    assert "1 more" in problem.detail
    assert "secret" not in problem.encode().decode()
