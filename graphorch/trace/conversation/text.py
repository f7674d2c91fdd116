"""A conversation as text for a terminal or a file, and the difference between two."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from graphorch.text import format_cost, plural, truncate_counted
from graphorch.trace.conversation.turns import Turn, TurnKind
from graphorch.trace.spans.model import Trace, sum_calls

LINES = 12
"""Lines of one text that are shown, unless all of it is wanted."""

LINE_LENGTH = 400
"""Characters of one line that are shown, unless all of it is wanted."""

_Place: TypeAlias = tuple[str, TurnKind, int]
"""Speaker or path, kind of turn, and 1 for its first occurrence."""

_VERBS: Mapping[TurnKind, str] = {
    "input": "input",
    "enters": "hands in",
    "calls": "",
    "unanswered": "got no answer",
    "writes": "wrote",
    "fails": "failed",
    "skips": "was skipped",
    "cancelled": "was cancelled",
    "asks": "asks",
    "answers": "answers",
    "returns": "returned",
    "signals": "sends",
    "resumes": "resumes",
    "stops": "stops",
    "ends": "ended",
}


def format_turns(trace: Trace, turns: Iterable[Turn], *, full: bool = False) -> str:
    """Return a whole conversation as text."""
    lines = [format_headline(trace)]
    for turn in turns:
        lines += format_turn(turn, full=full)
    if trace.status == "running":
        lines.append("(the run is under way)")
    return "\n".join(lines)


def format_headline(trace: Trace) -> str:
    """Return the outcome of a run on one line."""
    sums = sum_calls(trace)
    seconds = f"{trace.seconds:.2f} s" if trace.seconds is not None else "no time yet"
    reason = f" ({trace.reason})" if trace.reason not in ("", trace.status) else ""
    tokens = sums["input_tokens"] + sums["output_tokens"]
    cost = format_cost(sums["usd"], sums["unpriced"], 6, sums["booked_usd"])
    return (
        f"run {trace.run_id} of '{trace.flow}': {trace.status}{reason}, {seconds}, "
        f"{plural(sums['calls'], 'model call')}, {tokens:,} tokens, {cost}"
    )


def format_turn(turn: Turn, *, full: bool = False) -> list[str]:
    """Return the lines of one turn, indented by its level."""
    indent = "  " * turn.level
    receivers = f" → {', '.join(turn.to)}" if turn.to else ""
    facts = [fact for fact in (_format_verb(turn), _format_cost(turn), turn.note) if fact]
    bracket = f"  [{'; '.join(facts)}]" if facts else ""
    lines = [f"{indent}{turn.speaker}{receivers}{bracket}"]

    inner = f"{indent}    "
    if turn.shared:
        lines.append(f"{inner}({plural(turn.shared, 'message')} as before)")
    new = [utterance for utterance in turn.prompt if full or not utterance.is_known]
    for utterance in new:
        lines += _block(utterance.text, f"{inner}{utterance.role}: ", full=full)
        lines += [f"{inner}{utterance.role} calls {call}" for call in utterance.calls]
    if known := sum(item.is_known and bool(item.answers) for item in turn.prompt if not full):
        lines.append(f"{inner}({plural(known, 'result')} as above)")
    if turn.arguments:
        lines += _block(_format_fields(turn.arguments), inner, full=full)
    arrow = "⇒ " if turn.prompt or turn.shared or turn.kind == "returns" else ""
    lines += _block(_format_content(turn), f"{inner}{arrow}", full=full)
    lines += [f"{inner}masked: {finding}" for finding in turn.masked]
    lines += [f"{inner}| {line}" for line in turn.decision.splitlines()]
    return lines


def diff_turns(before: Sequence[Turn], after: Sequence[Turn], *, full: bool = False) -> list[str]:
    """Return the lines in which two conversations differ.

    Turns are paired by speaker, kind, and occurrence: the second thing that a node wrote in one run
    is compared with the second thing that it wrote in the other.
    """
    lines: list[str] = []
    old_turns, new_turns = _index_by_place(before), _index_by_place(after)
    added = [place for place in new_turns if place not in old_turns]
    equal = 0
    for place in [*old_turns, *added]:
        old, new = old_turns.get(place), new_turns.get(place)
        if old is not None and new is not None and _compared(old) == _compared(new):
            equal += 1
            continue
        lines.append(_format_place(place))
        lines += _diff_turn(old, new, full=full)
    return [*lines, f"{equal} turns are the same"]


def _diff_turn(old: Turn | None, new: Turn | None, *, full: bool) -> Iterable[str]:
    old_lines = [] if old is None else _lines_to_compare(old, full=full)
    new_lines = [] if new is None else _lines_to_compare(new, full=full)
    changes = list(difflib.unified_diff(old_lines, new_lines, lineterm="", n=1))
    # The first two lines of a unified diff name files.
    return [f"  {line}" for line in changes[2:] if not line.startswith("@@")]


def _lines_to_compare(turn: Turn, *, full: bool) -> list[str]:
    lines = [f"→ {', '.join(turn.to)}"] if turn.to else []
    if turn.arguments:
        lines += _block(_format_fields(turn.arguments), "", full=full)
    texts = [f"{utterance.role}: {utterance.text}" for utterance in turn.prompt]
    texts.append(f"⇒ {_format_content(turn)}" if turn.prompt else _format_content(turn))
    for text in texts:
        lines += _block(text, "", full=full)
    return lines


def _compared(turn: Turn) -> tuple[Any, ...]:
    """Return the content of a turn: times, costs and notes may differ in equal turns."""
    return turn.to, turn.prompt, turn.text, turn.model, turn.arguments


def _index_by_place(turns: Iterable[Turn]) -> dict[_Place, Turn]:
    by_place: dict[_Place, Turn] = {}
    counts: dict[tuple[str, TurnKind], int] = {}
    for turn in turns:
        key = (turn.path or turn.speaker, turn.kind)
        counts[key] = counts.get(key, 0) + 1
        by_place[(*key, counts[key])] = turn
    return by_place


def _format_place(place: _Place) -> str:
    speaker, kind, occurrence = place
    number = f" #{occurrence}" if occurrence > 1 else ""
    return f"@ {speaker} {_VERBS[kind]}{number}"


def _format_verb(turn: Turn) -> str:
    verb = _VERBS[turn.kind]
    return f"{verb}, attempt {turn.attempt}" if turn.kind == "fails" else verb


def _format_cost(turn: Turn) -> str:
    seconds = turn.seconds or 0.0
    if turn.kind == "calls" or turn.is_charged_failure:
        tokens = f"{turn.input_tokens}+{turn.output_tokens} tokens"
        return f"{_format_time(seconds)}, {tokens}, {turn.price}"
    if turn.kind in ("writes", "unanswered", "returns") and seconds:
        return _format_time(seconds)
    return ""


def _format_time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _format_content(turn: Turn) -> str:
    """Return the text of a turn; an update has a line for each field instead of JSON."""
    holds_fields = turn.kind in ("input", "writes", "answers", "signals", "enters")
    return _format_fields(turn.text) if holds_fields else turn.text


def _format_fields(text: str) -> str:
    """Return a JSON object with a line for each field; any other text as it is."""
    if not text.startswith("{"):
        return text
    try:
        fields: dict[str, Any] = json.loads(text)
    except ValueError:
        return text  # a person's answer may look like JSON
    return "\n".join(f"{name}: {_format_value(value)}" for name, value in fields.items())


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _block(text: str, lead: str, *, full: bool) -> list[str]:
    """Return the lines of a text, its lead before the first; long texts are cut visibly."""
    if not text:
        return []
    lines = text.splitlines() or [""]
    hidden = 0
    if not full:
        hidden = max(0, len(lines) - LINES)
        lines = [truncate_counted(line, LINE_LENGTH) for line in lines[:LINES]]
    margin = " " * len(lead)
    block = [f"{lead}{lines[0]}", *(f"{margin}{line}" for line in lines[1:])]
    if hidden:
        block.append(f"{margin}… ({hidden:,} more lines)")
    return block
