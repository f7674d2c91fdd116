"""What a call of a server's tool may do, from what the author declares and what the server hints.

Rules of this file:
1. Without a word of the author, a call happens at most once (`once`).
2. A hint of the server never loosens that, unless the author trusts the server (`trust=True`).
3. A hint always tightens: a tool whose server says that it writes is not `pure`, and one that says
   that it destroys needs an approval, unless the author decides otherwise with `approve=`.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphorch.graph.options import Effect


def choose_effect(
    declared: Effect | None, hints: Mapping[str, bool], *, is_trusted: bool
) -> Effect:
    """Return the effect class of a tool."""
    effect = declared or (_read_promise(hints) if is_trusted else "once")
    if effect == "pure" and _is_writing(hints):
        return "once"
    if effect == "idempotent" and _is_unrepeatable(hints):
        return "once"
    return effect


def needs_approval(hints: Mapping[str, bool]) -> bool:
    """Return whether a person has to approve a call for which the author says nothing."""
    return hints.get("destructiveHint") is True and hints.get("readOnlyHint") is not True


def _read_promise(hints: Mapping[str, bool]) -> Effect:
    """Return the effect class that the server itself claims."""
    if hints.get("readOnlyHint") is True:
        return "pure"
    return "idempotent" if hints.get("idempotentHint") is True else "once"


def _is_writing(hints: Mapping[str, bool]) -> bool:
    return hints.get("readOnlyHint") is False or hints.get("destructiveHint") is True


def _is_unrepeatable(hints: Mapping[str, bool]) -> bool:
    """Return whether the server says that a repeated call acts again; of a reader it never does."""
    return hints.get("idempotentHint") is False and hints.get("readOnlyHint") is not True
