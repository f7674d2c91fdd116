"""Kinds of failure: what providers answer, in their own codes and words, and what it means."""

from __future__ import annotations

import pytest

from graphorch.errors import ModelError
from graphorch.models.decision import RoutingRecord
from graphorch.models.errors import Empty, NoUsableAnswer, TimedOut
from graphorch.models.policies.failure_kinds import (
    CONSEQUENCES,
    FAILURE_KINDS,
    NoneUsable,
    NotAnswered,
    build_not_answered,
    can_recover,
    classify_failure,
)


def refusal(
    text: str = "", *codes: str, status: int | None = 400, retryable: bool = False
) -> ModelError:
    error = ModelError(f"Model 'm': {text}", model="m", status=status, retryable=retryable)
    error.codes = frozenset(codes)
    return error


@pytest.mark.parametrize(
    "error",
    [
        refusal("no words", "contextlengthexceeded"),
        refusal("no words", "exceedcontextsizeerror"),
        refusal("no words", "invalidrequesterror", "contextlengthexceeded", status=422),
        refusal("", "contextlengthexceeded", status=None),
        refusal("", status=413),
        refusal("This model's maximum context length is 8192 tokens. However, you requested 9000"),
        refusal("prompt is too long: 210000 tokens > 200000 maximum"),
        refusal("The input token count (1200000) exceeds the maximum number of tokens allowed"),
        refusal("Input is too long for requested model.", "validationexception"),
        refusal("input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000"),
        refusal("This model's maximum prompt length is 131072 but the request contains 140000"),
        refusal("the request exceeds the available context size, try increasing it", status=500),
        refusal("Range of input length should be [1, 30720]"),
        refusal(
            "Request too large for m on tokens per min (TPM): Limit 30000, Requested 45000",
            "ratelimitexceeded",
            status=429,
            retryable=True,
        ),
    ],
    ids=lambda error: str(error)[11:50] or "code",
)
def test_context_overflow_in_any_words(error: ModelError) -> None:
    """A prompt that is too long for one model goes to the next, and not to the same again."""
    assert classify_failure(error) == "context_overflow"
    assert not can_recover(error)


@pytest.mark.parametrize(
    "error",
    [
        refusal("no words", "contentfilter", "responsibleaipolicyviolation"),
        refusal("no words", "datainspectionfailed"),
        refusal("no words", "guardrailintervened", status=403),
        refusal("", "safety", status=None),
        refusal("The response was filtered due to the prompt triggering Azure OpenAI's content "
                "management policy."),
        refusal("Content violates usage guidelines. Failed check: SAFETY", status=403),
        refusal("Your input was flagged by moderation", status=403),
        refusal("Input data may contain inappropriate content."),
        refusal("The request was rejected because it was considered high risk"),
        refusal("litellm.ContentPolicyViolationError: no", "contentpolicyviolationerror"),
        refusal("Your request was rejected as a result of our safety system."),
    ],
    ids=lambda error: str(error)[11:50] or "code",
)  # fmt: skip
def test_content_filter_in_any_words(error: ModelError) -> None:
    """A prompt that one provider's filter refuses goes to the next target."""
    assert classify_failure(error) == "filtered"
    assert CONSEQUENCES["filtered"].try_elsewhere


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            refusal(
                "Too many tokens, please wait before trying again.", status=429, retryable=True
            ),
            "rate_limit",
        ),
        (refusal("", "throttlingexception", status=None, retryable=True), "rate_limit"),
        (refusal("", "resourceexhausted", status=None, retryable=True), "rate_limit"),
        (refusal("", "insufficientquota", status=None), "credit"),
        (refusal("quota", "insufficientquota", status=429), "credit"),
        (refusal("", "invalidapikey", status=None), "auth"),
        (refusal("", "modelnotfound"), "unknown_model"),
        (refusal("", "overloadederror", status=None, retryable=True), "server"),
        (refusal("the model is overloaded", status=503, retryable=True), "server"),
        (refusal("key disabled", status=403), "auth"),
        (refusal("temperature must be below 2", "invalidrequesterror"), "bad_request"),
        (refusal("messages is too short", "invalidparameter", status=422), "bad_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value)[11:40],
)
def test_code_decides_without_status(error: ModelError, kind: str) -> None:
    """Where the status says nothing, the code does; neither is mistaken for a filter."""
    assert classify_failure(error) == kind


def test_table_of_kinds_is_that_of_docstring() -> None:
    """The table at the head of the module lists the kinds with their consequences."""
    from graphorch.models.policies import failure_kinds

    words = {"yes": True, "no": False}
    lines = (failure_kinds.__doc__ or "").partition("at fault?\n")[2].splitlines()
    listed = {}
    for line in lines:
        kind, *answers = line.split()[:4]
        listed[kind] = tuple(words[answer] for answer in answers)
    assert listed == {
        kind: (item.try_elsewhere, item.retry_later, item.blames_target)
        for kind, item in CONSEQUENCES.items()
    }
    assert tuple(listed) == FAILURE_KINDS


def test_answers_that_cannot_be_used_have_their_error() -> None:
    """A policy without an answer says whether it had answers that could not be used."""
    empty = Empty("nothing", model="a", retryable=True)
    late = TimedOut("late", model="b", limit="total")
    record = RoutingRecord(policy="p", kind="fallback", candidates=(), attempts=())

    def build(*failures: ModelError) -> NotAnswered:
        return build_not_answered("no answer", model="p", failures=failures, decision=record)

    assert isinstance(build(empty), NoneUsable)
    assert isinstance(build(empty, build(empty, empty)), NoUsableAnswer)
    for failures in ((), (late,), (empty, late), (empty, build(late))):
        assert type(build(*failures)) is NotAnswered
