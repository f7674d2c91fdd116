"""Digests of questions: equal for what is asked, another for anything else."""

from __future__ import annotations

import pytest

from graphorch.views.runs.questions import compute_digest

ASKED = ("a1", "Send it?", None, {"to": "ann", "body": "at noon"})


def test_digest_ignores_order_of_arguments() -> None:
    """The order of arguments does not matter, since a tool has them by name."""
    other = ("a1", "Send it?", None, {"body": "at noon", "to": "ann"})
    assert compute_digest(*ASKED) == compute_digest(*other)
    assert len(compute_digest(*ASKED)) == 32


@pytest.mark.parametrize(
    "other",
    [
        ("a2", *ASKED[1:]),
        ("a1", "Send it now?", *ASKED[2:]),
        ("a1", "Send it?", 5.0, ASKED[3]),
        (*ASKED[:3], {"to": "bob", "body": "at noon"}),
        (*ASKED[:3], None),
    ],
    ids=["activation", "text", "time", "arguments", "tool"],
)
def test_digest_covers_what_is_asked(other: tuple[str, str, float | None, object]) -> None:
    """Another activation, text, time or argument is another question."""
    assert compute_digest(*other) != compute_digest(*ASKED)


def test_digest_covers_consent() -> None:
    """What an approval agrees to beside the call is part of the question."""
    assert compute_digest(*ASKED, "the tool changed") != compute_digest(*ASKED)
