"""Recall and precision of the guardrails on a corpus of realistic sentences."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from graphorch.models.guardrails.client import Guard, GuardedClient, personal_data, secrets
from graphorch.models.guardrails.pii import PERSONAL
from graphorch.models.guardrails.secrets import SECRETS
from graphorch.models.messages import Message, Request
from tests.models.guardrails.corpus import Negative, Positive, negatives, positives
from tests.models.guardrails.fakes import Parrot

KINDS = (*PERSONAL, *SECRETS)
# Kinds without a checksum or a fixed form are a matter of judgement, and may be found a little less
# often.
RECALL = {kind: 0.95 if kind in ("phone", "password", "high_entropy") else 0.98 for kind in KINDS}
PRECISION = 0.95

Outcome = tuple[Positive | Negative, str, Counter[str]]


async def _mask_all(samples: list[Positive | Negative]) -> list[Outcome]:
    """Return what a model sees of each text behind guards that mask everything.

    The counts say how often which kind was found.
    """
    parrot = Parrot()
    client = GuardedClient(
        parrot, Guard(secrets(), "mask", "input"), Guard(personal_data(), "mask", "input")
    )
    outcomes: list[Outcome] = []
    for sample in samples:
        response = await client.complete(Request("m", (Message(content=sample.text),)))
        outcomes.append(
            (
                sample,
                parrot.heard[-1],
                Counter({finding.kind: finding.count for finding in response.findings}),
            )
        )
    return outcomes


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return asyncio.run(_mask_all([*positives(), *negatives()]))


def test_corpus_is_large_and_balanced() -> None:
    """Every kind has at least twenty samples."""
    kinds = Counter(positive.kind for positive in positives())
    assert len(positives()) >= 300
    assert len(negatives()) >= 300
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 20
    assert [positive for positive in positives() if positive.value not in positive.text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_kind_recall_and_precision(kind: str, outcomes: list[Outcome]) -> None:
    """A match is right if exactly the value is gone: too much or too little is missed and wrong."""
    right, missed, wrong = 0, 0, 0
    failures: list[str] = []
    for sample, text, counts in outcomes:
        value = sample.value if isinstance(sample, Positive) and sample.kind == kind else ""
        expected = bool(value)
        if (
            expected
            and counts[kind] == 1
            and text == sample.text.replace(value, f"[{kind.upper()} REDACTED]")
        ):
            right += 1
        elif expected or counts[kind]:
            missed += expected
            wrong += counts[kind]
            failures.append(f"{sample.text!r} → {text!r}")
    recall, precision = right / (right + missed), right / (right + wrong)
    print(f"{kind}: recall {recall:.3f}, precision {precision:.3f}")
    assert recall >= RECALL[kind], failures
    assert precision >= PRECISION, failures


def test_near_misses_are_left_alone(outcomes: list[Outcome]) -> None:
    """Near misses and plain text pass unchanged."""
    touched = [
        f"{sample.text!r} → {text!r}"
        for sample, text, _ in outcomes
        if isinstance(sample, Negative) and text != sample.text
    ]
    assert len(touched) <= 0.01 * len(negatives()), touched
