"""Letters to a run, as `graphorch runs show` tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from graphorch.cli.run_head import format_time
from graphorch.cli.terminal import sanitize_line
from graphorch.journal.records import Letter


def format_letters(letters: Sequence[Letter]) -> Iterable[str]:
    """Yield a line for each letter that was refused, or that is not taken in yet."""
    for letter in letters:
        outcome = letter.outcome
        if outcome is None:
            subject = sanitize_line(_name_subject(letter), 200)
            yield f"letter: {subject}, sent {format_time(letter.sent_at)}, is not taken in yet"
        elif outcome.error:
            reason = sanitize_line(outcome.message, 400)
            kind = sanitize_line(letter.kind)
            yield f"letter: {kind}, sent {format_time(letter.sent_at)}, was refused: {reason}"


def _name_subject(letter: Letter) -> str:
    """Return the kind of a letter, with the path of its question or the name of its signal."""
    body = cast("object", letter.body)
    if not isinstance(body, Mapping):
        return letter.kind
    fields = cast("Mapping[str, Any]", body)
    if letter.kind == "answer":
        return f"answer to '{fields.get('path', '')}'"
    if letter.kind == "signal":
        with_key = f" with key '{fields['key']}'" if fields.get("key") else ""
        return f"signal '{fields.get('name', '')}'{with_key}"
    return letter.kind
