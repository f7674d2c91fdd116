"""Guarded calls: the actions, the errors, the findings, and the answers that get their values back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch.errors import InputError, ModelError
from graphorch.models.errors import Truncated
from graphorch.models.guardrails.client import (
    Guard,
    GuardedClient,
    GuardrailBlocked,
    Match,
    personal_data,
    secrets,
)
from graphorch.models.messages import Finding, Message, Request, Response, Usage
from tests.models.guardrail_corpus import positives
from tests.models.guardrail_fakes import Parrot

EMAIL = "anna@example.com"
CARD = "4111 1111 1111 1111"
KEY = "sk-" + "Ab1Cd2Ef3Gh4" * 3


class Person(BaseModel):
    email: str
    note: str = ""


def ask(
    client: GuardedClient,
    *texts: str,
    schema: type[BaseModel] | None = None,
    pieces: list[str] | None = None,
) -> Response:
    request = Request("m", tuple(Message(content=text) for text in texts), schema=schema)
    return asyncio.run(client.complete(request, pieces.append if pieces is not None else None))


class Project:
    """A user's own check: the code name of a project."""

    def find(self, text: str) -> Iterable[Match]:
        start = text.find("Bluebird")
        return [Match("project", start, start + 8)] if start >= 0 else []


def test_masked_input_does_not_reach_the_model() -> None:
    parrot = Parrot()
    response = ask(
        GuardedClient(parrot, Guard(personal_data())),
        f"Write to {EMAIL}, card {CARD}, and again {EMAIL}.",
    )
    assert parrot.heard == [
        "Write to [EMAIL REDACTED], card [CARD REDACTED], and again [EMAIL REDACTED]."
    ]
    assert response.findings == (
        Finding(kind="email", where="input", action="mask", count=2),
        Finding(kind="card", where="input", action="mask", count=1),
    )


def test_every_message_is_guarded() -> None:
    parrot = Parrot()
    ask(GuardedClient(parrot, Guard(personal_data())), EMAIL, "hello", EMAIL)
    assert [message.content for message in parrot.requests[0].messages] == [
        "[EMAIL REDACTED]",
        "hello",
        "[EMAIL REDACTED]",
    ]


def test_pseudonyms_are_stable_and_the_answer_gets_the_values_back() -> None:
    parrot = Parrot(reply=lambda _: "<EMAIL_2> wrote to <EMAIL_1>, not to <EMAIL_3>")
    response = ask(
        GuardedClient(parrot, Guard(personal_data(), "pseudonymise")),
        f"{EMAIL} and bob@example.com",
        f"again {EMAIL}",
    )
    assert [message.content for message in parrot.requests[0].messages] == [
        "<EMAIL_1> and <EMAIL_2>",
        "again <EMAIL_1>",
    ]
    assert response.text == f"bob@example.com wrote to {EMAIL}, not to <EMAIL_3>"


def test_a_pseudonym_that_stands_in_the_prompt_already_is_not_given_out() -> None:
    parrot = Parrot()
    response = ask(
        GuardedClient(parrot, Guard(personal_data(), "pseudonymise")),
        f"What does <EMAIL_1> mean, {EMAIL}?",
    )
    assert parrot.heard == ["What does <EMAIL_1> mean, <EMAIL_2>?"]
    assert response.text == f"What does <EMAIL_1> mean, {EMAIL}?"


def test_values_that_come_back_into_json_are_escaped() -> None:
    secret = 'he said "n0"'
    parrot = Parrot(reply=lambda _: '{"email": "<EMAIL_1>", "note": "\\u003cPASSWORD_1\\u003e"}')
    guards = (Guard(personal_data(), "pseudonymise"), Guard(secrets(), "pseudonymise"))
    response = ask(GuardedClient(parrot, *guards), f"{EMAIL}, password = '{secret}'", schema=Person)
    assert Person.model_validate_json(response.text) == Person(email=EMAIL, note=secret)


def test_a_find_that_is_written_with_json_escapes_is_found() -> None:
    parrot = Parrot(
        reply=lambda _: (
            r'{"email": "anna\u0040example.com", "note": "a \"quoted\" \u00e9\n\\u0040"}'
        )
    )
    response = ask(
        GuardedClient(parrot, Guard(personal_data(), "mask", "output")), "who?", schema=Person
    )
    assert json.loads(response.text) == {
        "email": "[EMAIL REDACTED]",
        "note": 'a "quoted" é\n\\u0040',
    }


def test_flagged_values_pass_and_are_reported_without_the_value() -> None:
    response = ask(
        GuardedClient(Parrot(), Guard(personal_data("email"), "flag")), f"{EMAIL} {CARD}"
    )
    assert response.text == f"{EMAIL} {CARD}"
    assert [(finding.kind, finding.where, finding.count) for finding in response.findings] == [
        ("email", "input", 1),
        ("email", "output", 1),
    ]
    assert EMAIL not in repr(response.findings)


def test_a_blocked_prompt_is_not_sent_and_the_error_names_kinds_only() -> None:
    parrot = Parrot()
    with pytest.raises(GuardrailBlocked) as caught:
        ask(
            GuardedClient(parrot, Guard(secrets(), "block"), Guard(personal_data(), "mask")),
            f"key {KEY} of {EMAIL}",
        )
    assert parrot.heard == []
    assert isinstance(caught.value, ModelError)
    assert (caught.value.kinds, caught.value.where, caught.value.retryable) == (
        ("api_key",),
        "input",
        False,
    )
    assert str(caught.value) == (
        "Model 'm': the prompt was not sent, because it holds 1 × api_key. Take it out of the prompt, "
        "or give the guard another action (mask, pseudonymise, flag)."
    )
    assert KEY not in repr(caught.value)


def test_a_blocked_answer_is_withheld_and_its_cost_is_told() -> None:
    client = GuardedClient(Parrot(reply=lambda _: f"Sure: {KEY}"), Guard(secrets(), "block"))
    pieces: list[str] = []
    with pytest.raises(
        GuardrailBlocked, match=r"the answer was withheld, because it holds 1 × api_key"
    ) as caught:
        ask(client, "Tell me the key", pieces=pieces)
    assert caught.value.where == "output"
    assert caught.value.usage == Usage(10, 5)
    assert KEY[:8] not in "".join(pieces)


@pytest.mark.parametrize(
    "first, second, shown",
    [("mask", "pseudonymise", "[EMAIL REDACTED]"), ("flag", "pseudonymise", "<EMAIL_1>")],
)
def test_where_guards_find_the_same_the_strictest_action_counts(
    first: str, second: str, shown: str
) -> None:
    for actions in ((first, second), (second, first)):
        parrot = Parrot()
        ask(GuardedClient(parrot, *(Guard(personal_data(), action) for action in actions)), EMAIL)  # type: ignore[arg-type]
        assert parrot.heard == [shown]


def test_a_guard_for_the_output_leaves_the_input_alone() -> None:
    parrot = Parrot()
    response = ask(GuardedClient(parrot, Guard(personal_data(), "mask", "output")), EMAIL)
    assert (parrot.heard, response.text) == ([EMAIL], "[EMAIL REDACTED]")


def test_a_check_of_your_own_works_like_a_built_in_one() -> None:
    parrot = Parrot()
    pieces: list[str] = []
    client = GuardedClient(parrot, Guard(Project(), "pseudonymise"), Guard(personal_data(), "mask"))
    response = ask(client, f"Bluebird is secret, {EMAIL}", pieces=pieces)
    assert parrot.heard == ["<PROJECT_1> is secret, [EMAIL REDACTED]"]
    assert response.text == "Bluebird is secret, [EMAIL REDACTED]"
    assert pieces == [response.text]  # it can judge only the whole, so nothing is shown before


def test_an_error_of_the_client_within_does_not_repeat_a_secret() -> None:
    class Cut:
        async def complete(self, request: Request, on_text: object = None) -> Response:
            partial = f"{request.messages[0].content} and {KEY}"
            raise Truncated(
                f"Model 'm' was cut off after '{partial}'",
                model="m",
                retryable=False,
                partial=partial,
            )

    with pytest.raises(Truncated) as caught:
        ask(
            GuardedClient(Cut(), Guard(secrets(), "mask"), Guard(personal_data(), "pseudonymise")),
            EMAIL,
        )  # type: ignore[arg-type]
    assert caught.value.partial == f"{EMAIL} and [API_KEY REDACTED]"
    assert str(caught.value) == "Model 'm' was cut off after '<EMAIL_1> and [API_KEY REDACTED]'"


def test_without_findings_the_answer_is_as_it_was() -> None:
    response = ask(
        GuardedClient(Parrot(), Guard(personal_data()), Guard(secrets())), "Nothing to see here."
    )
    assert (response.text, response.findings) == ("Nothing to see here.", ())


def test_closing_closes_the_client_within() -> None:
    parrot = Parrot()
    asyncio.run(GuardedClient(parrot).aclose())
    assert parrot.is_closed


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Guard(secrets(), "hide"),  # type: ignore[arg-type]
            r"Guard\(action='hide'\): there is no such action\. .*Known: block, flag, mask, pseudonymise",
        ),
        (lambda: Guard(secrets(), "mask", "inputs"), r"no such where\. Did you mean 'input'\?"),  # type: ignore[arg-type]
        (
            lambda: personal_data("e-mail"),
            r"personal_data\('e-mail'\): there is no such kind\. Did you mean 'email'\?",
        ),
        (lambda: secrets("email"), r"secrets\('email'\): there is no such kind"),
    ],
)
def test_a_wrong_option_is_an_input_error_that_helps(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


SAMPLES = [positive.text for positive in positives()]
TEXTS = st.lists(
    st.sampled_from([*SAMPLES, "<EMAIL_1>", "<", "\\u003cCARD_2>", " ", "\n", "Hello, "])
    | st.text(max_size=20),
    max_size=8,
).map("".join)


@given(TEXTS)
def test_pseudonymised_text_comes_back_unchanged(text: str) -> None:
    """unmask(mask(x)) == x: the parrot says what it hears, and what its user gets is what its user said."""
    client = GuardedClient(
        Parrot(), Guard(personal_data(), "pseudonymise"), Guard(secrets(), "pseudonymise")
    )
    assert ask(client, text).text == text


@given(st.sampled_from(positives()), st.sampled_from(positives()))
def test_no_value_is_in_what_the_model_sees_nor_in_findings_nor_in_errors(
    first: object, second: object
) -> None:
    values = (first.value, second.value)  # type: ignore[attr-defined]
    text = f"{first.text}\n{second.text}"  # type: ignore[attr-defined]
    for action in ("mask", "pseudonymise"):
        parrot = Parrot()
        response = ask(
            GuardedClient(parrot, Guard(personal_data(), action), Guard(secrets(), action)), text
        )  # type: ignore[arg-type]
        assert all(
            value not in parrot.heard[0] and value not in repr(response.findings)
            for value in values
        )
    with pytest.raises(GuardrailBlocked) as caught:
        ask(
            GuardedClient(Parrot(), Guard(personal_data(), "block"), Guard(secrets(), "block")),
            text,
        )
    assert all(
        value not in f"{caught.value} {caught.value!r} {caught.value.findings}" for value in values
    )
