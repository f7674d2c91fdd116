"""Conversations as text: turns, cuts, and differences."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from graphorch.trace.conversation.text import diff_turns, format_headline, format_turn
from graphorch.trace.conversation.turns import ToolUse, Turn, Utterance
from tests.trace.running import conversation, ran
from tests.trace.sample_spans import make_call, make_trace


def test_diff_names_changes() -> None:
    """The difference of two runs names the changes."""

    async def main() -> None:
        store = await ran("one")
        await ran("two", 200, store=store)
        talk = await conversation(store)
        lines = talk.diff(await conversation(store, "two"))
        assert "@ fulfilment/stock/look wrote" in lines
        assert "  -→ fulfilment/stock/count" in lines
        assert "  +→ fulfilment/stock/reorder" in lines
        same = talk.diff(await conversation(store))
        assert not [line for line in same if line.startswith("@")]

    asyncio.run(main())


def write(text: str, path: str = "draft", seconds: float = 0.25) -> Turn:
    """Return the turn of a node that wrote something."""
    return Turn(3, "writes", path, ("judge",), 1, 0.0, text, path, seconds=seconds)


def test_headline_names_outcome_and_sums() -> None:
    """A headline has the outcome, the time, and the sums over the calls."""
    spans = [make_call(number, input_tokens=900, output_tokens=200) for number in range(2)]
    trace = replace(make_trace(*spans), status="failed", reason="budget")
    assert format_headline(trace) == (
        "run r of 'flow': failed (budget), 5.00 s, 2 model calls, 2,200 tokens, $0.020000"
    )
    assert "succeeded, no time yet, 0 model calls" in format_headline(
        replace(make_trace(), seconds=None)
    )


def test_call_shows_prompt_and_answer() -> None:
    """A model call shows what is new in its prompt, the answer, and its cost."""
    turn = Turn(
        2,
        "calls",
        "team/ask",
        ("m",),
        2,
        0.0,
        "Deep.",
        prompt=(
            Utterance("user", "How deep?"),
            Utterance("assistant", "", (ToolUse("1", "water", ""),)),
        ),
        shared=3,
        input_tokens=10,
        output_tokens=5,
        usd=0.5,
        seconds=1.25,
        masked=("email × 2",),
        decision="p: answered by b",
    )
    assert format_turn(turn) == [
        "    team/ask → m  [1.25 s, 10+5 tokens, $0.500000]",
        "        (3 messages as before)",
        "        user: How deep?",
        "        assistant calls water()",
        "        ⇒ Deep.",
        "        masked: email × 2",
        "        | p: answered by b",
    ]


def test_update_has_line_per_field() -> None:
    """An update is shown as fields instead of JSON."""
    assert format_turn(write('{"text": "é", "score": [1, 2]}')) == [
        "  draft → judge  [wrote; 250 ms]",
        "      text: é",
        "      score: [1, 2]",
    ]


def test_long_text_is_cut_visibly() -> None:
    """More than 12 lines, or 400 characters of a line, are counted instead of shown."""
    lines = format_turn(write("\n".join(f"line {number}" for number in range(20))))
    assert [line.strip() for line in lines[-2:]] == ["line 11", "… (8 more lines)"]
    assert len(format_turn(write("x\n" * 20), full=True)) == 21
    (_, cut) = format_turn(write("x" * 1000))
    assert len(cut) < 450
    assert "600" in cut
    assert format_turn(write("x" * 1000), full=True)[1].strip() == "x" * 1000


def test_diff_pairs_turns_by_occurrence() -> None:
    """The second text of a node is compared with its second text in the other run."""
    before = [write("a"), write("b"), write("c", "other")]
    after = [write("a", seconds=9.0), write("B")]
    assert diff_turns(before, after) == [
        "@ draft wrote #2",
        "   → judge",
        "  -b",
        "  +B",
        "@ other wrote",
        "  -→ judge",
        "  -c",
        "1 turns are the same",
    ]


def test_conversation_equals_itself() -> None:
    """A conversation differs from itself in nothing."""

    async def main() -> None:
        turns = (await conversation(await ran())).turns
        assert diff_turns(turns, turns) == [f"{len(turns)} turns are the same"]

    asyncio.run(main())
