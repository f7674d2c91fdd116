"""Effect classes of servers' tools: hints tighten, and loosen only for a trusted server."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from graphorch.agents.mcp.effects import choose_effect, needs_approval

ORDER = ("pure", "idempotent", "once")
READS = {"readOnlyHint": True}
WRITES = {"readOnlyHint": False}
DESTROYS = {"destructiveHint": True}
REPEATS = {"idempotentHint": True}
ONCE = {"idempotentHint": False}
ALL_HINTS: list[dict[str, bool]] = [
    {name: value for name, value in zip(names, values, strict=True) if value is not None}
    for names in [("readOnlyHint", "destructiveHint", "idempotentHint")]
    for values in itertools.product((None, True, False), repeat=3)
]


@pytest.mark.parametrize(
    ("declared", "hints", "is_trusted", "effect"),
    [
        (None, {}, False, "once"),
        (None, READS, False, "once"),
        (None, REPEATS, False, "once"),
        (None, READS, True, "pure"),
        (None, REPEATS, True, "idempotent"),
        (None, {**READS, **DESTROYS}, True, "once"),
        ("pure", {}, False, "pure"),
        ("pure", WRITES, False, "once"),
        ("pure", DESTROYS, True, "once"),
        ("idempotent", ONCE, False, "once"),
        ("idempotent", {**ONCE, **READS}, False, "idempotent"),
        ("idempotent", DESTROYS, False, "idempotent"),
        ("once", READS, True, "once"),
    ],
)
def test_effect_follows_author_and_hints(
    declared: Any, hints: dict[str, bool], is_trusted: bool, effect: str
) -> None:
    """The author decides, the server can only make it stricter."""
    assert choose_effect(declared, hints, is_trusted=is_trusted) == effect


@pytest.mark.parametrize("hints", ALL_HINTS)
@pytest.mark.parametrize("declared", [None, *ORDER])
def test_hints_never_loosen(declared: Any, hints: dict[str, bool]) -> None:
    """Whatever an untrusted server says, a call is not looser than without its word."""
    silent = choose_effect(declared, {}, is_trusted=False)
    effect = choose_effect(declared, hints, is_trusted=False)
    assert ORDER.index(effect) >= ORDER.index(silent)


@pytest.mark.parametrize(
    ("hints", "is_needed"),
    [({}, False), (DESTROYS, True), ({**DESTROYS, **READS}, False), (WRITES, False)],
)
def test_destructive_tool_needs_approval(hints: dict[str, bool], is_needed: bool) -> None:
    """A tool whose server says that it destroys is approved by a person first."""
    assert needs_approval(hints) is is_needed
