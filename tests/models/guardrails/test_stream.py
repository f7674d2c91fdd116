"""Guarded streams: equal to the whole in any pieces, never too early, in linear time."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch.models.guardrails.client import Guard, GuardedClient, personal_data, secrets
from graphorch.models.messages import Message, Request
from tests.models.guardrails.corpus import negatives, positives
from tests.models.guardrails.fakes import Parrot

GUARDS = (Guard(personal_data(), "mask", "output"), Guard(secrets(), "mask", "output"))
PROSE = "The quick brown fox jumps over the lazy dog, again and again. " * 3
PARTS = [
    *(positive.text for positive in positives()), *(negative.text for negative in negatives()),
    PROSE, " ", "\n", "x" * 5000, "eyJ", "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----", "4111 1111 ", "sk-", "password = ", "https://example.com/",
]  # fmt: skip


def streamed(text: str, sizes: list[int], *guards: Guard) -> tuple[str, str, list[str]]:
    """Return the final text of an answer, the joined stream, and its pieces."""
    pieces: list[str] = []
    client = GuardedClient(Parrot(reply=lambda _: text, sizes=sizes), *guards)
    response = asyncio.run(
        client.complete(Request("m", (Message(content="say it, anna@example.com"),)), pieces.append)
    )
    return response.text, "".join(pieces), pieces


@given(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join),
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
@settings(max_examples=150)
def test_stream_equals_whole(text: str, sizes: list[int]) -> None:
    """A stream in any pieces joins to the text of the guarded whole."""
    whole, shown, _ = streamed(text, sizes, *GUARDS)
    assert shown == whole


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(PARTS) | st.text(max_size=30), max_size=12).map("".join),
    st.lists(st.integers(1, 6000), min_size=1, max_size=8),
)
@settings(max_examples=2000)
def test_long_stream_equals_whole(text: str, sizes: list[int]) -> None:
    """A stream in any pieces joins to the text of the guarded whole, with many more examples."""
    whole, shown, _ = streamed(text, sizes, *GUARDS)
    assert shown == whole


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 64])
@pytest.mark.parametrize("sample", positives()[::13], ids=lambda sample: sample.kind)
def test_split_secret_never_shows(sample: object, size: int) -> None:
    """A secret in many pieces is never shown."""
    text = f"{PROSE}{sample.text} {PROSE}"  # type: ignore[attr-defined]
    _, shown, _ = streamed(text, [size], *GUARDS)
    assert sample.value not in shown  # type: ignore[attr-defined]


def test_prose_streams_at_once() -> None:
    """Prose is shown while it arrives."""
    _, _, pieces = streamed(PROSE * 4, [5], *GUARDS)
    assert len(pieces) > 50


def test_private_key_is_held_to_end() -> None:
    """A long private key is held until it has ended."""
    body = "\n".join(
        "MIIEpAIBAAKCAQEA7bq1fJ0Zx3yQm9v2Lk8Rr5Tn4Wp6Ys0Uc1Vd2Xe3Zf4Ag5Bh" for _ in range(120)
    )
    text = (
        f"{PROSE}\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n{PROSE}"
    )
    _, shown, _ = streamed(text, [40], *GUARDS)
    assert shown == f"{PROSE}\n[PRIVATE_KEY REDACTED]\n{PROSE}"


def test_split_pseudonym_is_restored() -> None:
    """A placeholder in pieces gets its value back in the stream."""
    whole, shown, pieces = streamed(
        f"{PROSE}<EMAIL_1> and <EMAIL_9> <b> {PROSE}", [1], Guard(personal_data(), "pseudonymise")
    )
    assert shown == whole == f"{PROSE}anna@example.com and <EMAIL_9> <b> {PROSE}"
    assert len(pieces) > 50


# Texts that make patterns try again and again, each of about the given length.
HARD = {
    "one letter": "a", "at signs": "@", "a@": "a@", "dots": "a.", "digits": "4",
    "spaced digits": "4 ", "groups of four": "4444 ",
    "accounts": "DE89 ", "brackets": "(2", "plus": "+1 234567890 ",
    "key begins": "-----BEGIN PRIVATE KEY-----", "tokens": "eyJhbGciOiJIUzI1NiJ9. ",
    "key and line": "-----BEGIN PRIVATE KEY-----" + "A" * 50 + "\n", "bearer": "bearer ",
    "passwords": "password: ", "quotes": 'secret is "',
    "urls": "a://b:c", "random": "aB3dE6gH9jK2mN5pQ8sT1vW4 ", "prefixes": "sk-ant- ",
    "phones": "phone 12345678 ", "numbers": "ssn 123456789 ",
    "white space": " ", "backslashes": "\\u00", "mixed": "x" * 40 + "=", "headers": "Proc-Type: ",
    "emails": "a.b@c.de ",
}  # fmt: skip


def seconds_for(name: str, length: int) -> float:
    """Return the seconds of this process for a guarded prompt of that many characters."""
    text = HARD[name] * (length // len(HARD[name]))
    client = GuardedClient(
        Parrot(reply=lambda _: ""),
        Guard(personal_data(), "mask", "input"),
        Guard(secrets(), "mask", "input"),
    )
    began = time.process_time()
    asyncio.run(client.complete(Request("m", (Message(content=text),))))
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_hard_megabyte_takes_one_second(name: str) -> None:
    """Take the best of up to five rounds, since other work on the machine only adds time."""
    rounds = [seconds_for(name, 1_000_000)]
    while min(rounds) >= 1.0 and len(rounds) < 5:
        rounds.append(seconds_for(name, 1_000_000))
    print(f"{name}: {min(rounds):.2f} s")
    assert min(rounds) < 1.5  # 1.0 on a machine that does nothing else


@pytest.mark.parametrize("name", HARD)
def test_time_grows_with_length(name: str) -> None:
    """A pattern that backtracks without a bound takes hundreds of times as long, or never ends."""
    short, long = (
        min(seconds_for(name, 2_000) for _ in range(3)),
        min(seconds_for(name, 40_000) for _ in range(3)),
    )
    assert long < 60 * short + 0.1
