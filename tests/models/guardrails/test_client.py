"""Guarded calls: actions, errors, findings, and answers that get their values back."""

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
from tests.models.guardrails.corpus import positives
from tests.models.guardrails.fakes import Parrot

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
    """Check of a user's own: the code name of a project."""

    def find(self, text: str) -> Iterable[Match]:
        start = text.find("Bluebird")
        return [Match("project", start, start + 8)] if start >= 0 else []


def test_mask_hides_input_from_model() -> None:
    """Masked values do not reach the model, and findings count them."""
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
    """Not only the last message passes the guards."""
    parrot = Parrot()
    ask(GuardedClient(parrot, Guard(personal_data())), EMAIL, "hello", EMAIL)
    assert [message.content for message in parrot.requests[0].messages] == [
        "[EMAIL REDACTED]",
        "hello",
        "[EMAIL REDACTED]",
    ]


def test_pseudonyms_are_restored_in_answer() -> None:
    """Equal values have one placeholder, and the answer gets the values back."""
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


def test_pseudonym_in_prompt_is_not_reused() -> None:
    """A placeholder that stands in the prompt already is never given out."""
    parrot = Parrot()
    response = ask(
        GuardedClient(parrot, Guard(personal_data(), "pseudonymise")),
        f"What does <EMAIL_1> mean, {EMAIL}?",
    )
    assert parrot.heard == ["What does <EMAIL_1> mean, <EMAIL_2>?"]
    assert response.text == f"What does <EMAIL_1> mean, {EMAIL}?"


def test_restored_values_are_escaped_in_json() -> None:
    """Values that come back into JSON are escaped."""
    secret = 'he said "n0"'
    parrot = Parrot(reply=lambda _: '{"email": "<EMAIL_1>", "note": "\\u003cPASSWORD_1\\u003e"}')
    guards = (Guard(personal_data(), "pseudonymise"), Guard(secrets(), "pseudonymise"))
    response = ask(GuardedClient(parrot, *guards), f"{EMAIL}, password = '{secret}'", schema=Person)
    assert Person.model_validate_json(response.text) == Person(email=EMAIL, note=secret)


def test_json_escapes_hide_nothing() -> None:
    """A value written with JSON escapes is found."""
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


def test_flag_reports_and_passes() -> None:
    """Flagged values pass, and the findings do not hold them."""
    response = ask(
        GuardedClient(Parrot(), Guard(personal_data("email"), "flag")), f"{EMAIL} {CARD}"
    )
    assert response.text == f"{EMAIL} {CARD}"
    assert [(finding.kind, finding.where, finding.count) for finding in response.findings] == [
        ("email", "input", 1),
        ("email", "output", 1),
    ]
    assert EMAIL not in repr(response.findings)


def test_blocked_prompt_is_not_sent() -> None:
    """A blocked prompt is not sent, and the error names kinds only."""
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
        "Model 'm': the prompt was not sent, because it holds 1 × api_key. "
        "Take it out of the prompt, "
        "or give the guard another action (mask, pseudonymise, flag)."
    )
    assert KEY not in repr(caught.value)


def test_blocked_answer_is_withheld() -> None:
    """A blocked answer is withheld, and the error holds its cost."""
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
def test_strictest_action_wins(first: str, second: str, shown: str) -> None:
    """Where guards find one value, the strictest action counts."""
    for actions in ((first, second), (second, first)):
        parrot = Parrot()
        ask(GuardedClient(parrot, *(Guard(personal_data(), action) for action in actions)), EMAIL)  # type: ignore[arg-type]
        assert parrot.heard == [shown]


def test_output_guard_spares_input() -> None:
    """A guard for the output leaves the input alone."""
    parrot = Parrot()
    response = ask(GuardedClient(parrot, Guard(personal_data(), "mask", "output")), EMAIL)
    assert (parrot.heard, response.text) == ([EMAIL], "[EMAIL REDACTED]")


def test_own_detector_works() -> None:
    """A detector of the user's own works like a built-in one."""
    parrot = Parrot()
    pieces: list[str] = []
    client = GuardedClient(parrot, Guard(Project(), "pseudonymise"), Guard(personal_data(), "mask"))
    response = ask(client, f"Bluebird is secret, {EMAIL}", pieces=pieces)
    assert parrot.heard == ["<PROJECT_1> is secret, [EMAIL REDACTED]"]
    assert response.text == "Bluebird is secret, [EMAIL REDACTED]"
    assert pieces == [response.text]  # it can judge only the whole, so nothing is shown before


def test_inner_error_is_cleaned() -> None:
    """An error of the inner client does not repeat a secret."""

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


def test_clean_answer_is_unchanged() -> None:
    """Without findings the answer is as it was."""
    response = ask(
        GuardedClient(Parrot(), Guard(personal_data()), Guard(secrets())), "Nothing to see here."
    )
    assert (response.text, response.findings) == ("Nothing to see here.", ())


def test_aclose_closes_inner_client() -> None:
    """Closing closes the inner client."""
    parrot = Parrot()
    asyncio.run(GuardedClient(parrot).aclose())
    assert parrot.is_closed


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: Guard(secrets(), "hide"),  # type: ignore[arg-type]
            r"Guard\(action='hide'\): there is no such action\. "
            r".*Known: block, flag, mask, pseudonymise",
        ),
        (lambda: Guard(secrets(), "mask", "inputs"), r"no such where\. Did you mean 'input'\?"),  # type: ignore[arg-type]
        (
            lambda: personal_data("e-mail"),
            r"personal_data\('e-mail'\): there is no such kind\. Did you mean 'email'\?",
        ),
        (lambda: secrets("email"), r"secrets\('email'\): there is no such kind"),
    ],
)
def test_wrong_option_is_refused(make: object, message: str) -> None:
    """A wrong option is refused with the known ones."""
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


SAMPLES = [positive.text for positive in positives()]
TEXTS = st.lists(
    st.sampled_from([*SAMPLES, "<EMAIL_1>", "<", "\\u003cCARD_2>", " ", "\n", "Hello, "])
    | st.text(max_size=20),
    max_size=8,
).map("".join)


@given(TEXTS)
def test_pseudonymised_text_round_trips(text: str) -> None:
    """An echo of the prompt gives the user exactly the user's own text back."""
    client = GuardedClient(
        Parrot(), Guard(personal_data(), "pseudonymise"), Guard(secrets(), "pseudonymise")
    )
    assert ask(client, text).text == text


@given(st.sampled_from(positives()), st.sampled_from(positives()))
def test_values_never_leak(first: object, second: object) -> None:
    """No value is in the prompt that the model sees, in findings, or in errors."""
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
