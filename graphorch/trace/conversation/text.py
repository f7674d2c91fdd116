"""A conversation as text for a terminal or a file, and the difference of two."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphorch.trace.spans.model import Trace, totals

if TYPE_CHECKING:
    from graphorch.trace.conversation.builder import Conversation, Turn

LINES = 12  # of one text, unless all of it is wanted
WIDE = 400  # characters of one line


def format_turns(conversation: Conversation, *, full: bool = False) -> str:
    """The whole conversation."""
    lines = [headline(conversation.trace)]
    for turn in conversation.turns:
        lines += turn_lines(turn, full=full)
    if conversation.trace.status == "running":
        lines.append("(the run is under way)")
    return "\n".join(lines)


def headline(trace: Trace) -> str:
    """What a run came to, on one line."""
    sums = totals(trace)
    seconds = f"{trace.seconds:.2f} s" if trace.seconds is not None else "no time yet"
    reason = f" ({trace.reason})" if trace.reason not in ("", trace.status) else ""
    tokens = sums["input_tokens"] + sums["output_tokens"]
    return f"run {trace.run_id} of '{trace.flow}': {trace.status}{reason}, {seconds}, {sums['calls']} model calls, {tokens:,} tokens, ${sums['usd']:.6f}"


def turn_lines(turn: Turn, *, full: bool = False) -> list[str]:
    """One turn, indented by its level."""
    indent = "  " * turn.level
    to = f" → {', '.join(turn.to)}" if turn.to else ""
    facts = [text for text in (_verb(turn), _cost(turn), turn.note) if text]
    shown = f"  [{'; '.join(facts)}]" if facts else ""
    lines = [f"{indent}{turn.speaker}{to}{shown}"]
    if turn.shared:
        lines.append(f"{indent}    ({turn.shared} messages as before)")
    for said in turn.prompt:
        lines += _block(said.text, f"{indent}    {said.role}: ", full=full)
        lines += [f"{indent}    {said.role} calls {call}" for call in said.calls]
    lines += _block(
        _shown(turn), f"{indent}    {'⇒ ' if turn.prompt or turn.shared else ''}", full=full
    )
    lines += [f"{indent}    masked: {text}" for text in turn.masked]
    lines += [f"{indent}    | {line}" for line in turn.decision.splitlines()]
    return lines


def difference(left: Conversation, right: Conversation, *, full: bool = False) -> list[str]:
    """What two runs said differently. Turns are paired by who spoke, how, and the how-manieth time it was."""
    lines = [f"- {headline(left.trace)}", f"+ {headline(right.trace)}"]
    item, other = _by_place(left.turns), _by_place(right.turns)
    same = 0
    for place in [*item, *(place for place in other if place not in item)]:
        before, after = item.get(place), other.get(place)
        if before is not None and after is not None and _content(before) == _content(after):
            same += 1
            continue
        lines.append(
            f"@ {place[0]} {_WORDS.get(place[1], place[1])}{f' #{place[2]}' if place[2] > 1 else ''}"
        )
        old, new = (
            [] if turn is None else _told_lines(turn, full=full) for turn in (before, after)
        )
        # without the names of files
        changes = list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]
        lines += [f"  {line}" for line in changes if not line.startswith("@@")]
    return [*lines, f"{same} turns are the same"]


def _told_lines(turn: Turn, *, full: bool) -> list[str]:
    texts = [
        *(f"{said.role}: {said.text}" for said in turn.prompt),
        f"⇒ {_shown(turn)}" if turn.prompt else _shown(turn),
    ]
    to = [f"→ {', '.join(turn.to)}"] if turn.to else []
    return [*to, *(line for text in texts for line in _block(text, "", full=full))]


def _content(turn: Turn) -> tuple[Any, ...]:
    return turn.to, turn.prompt, turn.text, turn.model


def _by_place(turns: Iterable[Turn]) -> dict[tuple[str, str, int], Turn]:
    found: dict[tuple[str, str, int], Turn] = {}
    counts: dict[tuple[str, str], int] = {}
    for turn in turns:
        key = (turn.path or turn.speaker, turn.kind)
        counts[key] = counts.get(key, 0) + 1
        found[(*key, counts[key])] = turn
    return found


_WORDS = {
    "input": "input", "enters": "hands in", "calls": "", "unanswered": "got no answer", "writes": "wrote", "fails": "failed", "skips": "was skipped",
    "cancelled": "was cancelled", "asks": "asks", "answers": "answers", "resumes": "goes on", "stops": "stops", "ends": "ended",
}  # fmt: skip


def _verb(turn: Turn) -> str:
    word = _WORDS[turn.kind]
    return f"{word}, attempt {turn.attempt}" if turn.kind == "fails" else word


def _cost(turn: Turn) -> str:
    if turn.kind != "calls":
        return _time(turn.seconds) if turn.kind in ("writes", "unanswered") and turn.seconds else ""
    price = "price unknown" if turn.usd_source == "none" else f"${turn.usd:.6f}"
    return f"{_time(turn.seconds or 0.0)}, {turn.input_tokens}+{turn.output_tokens} tokens, {price}"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _shown(turn: Turn) -> str:
    """What was written, a line for each field."""
    if turn.kind not in ("input", "writes", "answers", "enters") or not turn.text.startswith("{"):
        return turn.text
    fields: dict[str, Any] = json.loads(turn.text)
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in fields.items()
    )


def _block(text: str, lead: str, *, full: bool) -> list[str]:
    """A text with its lead on the first line; long ones are cut, and say so."""
    if not text:
        return []
    lines = text.splitlines() or [""]
    cut = 0 if full else max(0, len(lines) - LINES)
    shown = lines[: len(lines) - cut]
    if not full:
        shown = [
            line if len(line) <= WIDE else f"{line[:WIDE]}… ({len(line) - WIDE:,} more characters)"
            for line in shown
        ]
    rest = " " * len(lead)
    told_lines = [f"{lead if number == 0 else rest}{line}" for number, line in enumerate(shown)]
    return [*told_lines, f"{rest}… ({cut:,} more lines)"] if cut else told_lines
