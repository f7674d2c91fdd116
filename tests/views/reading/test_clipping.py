"""Cut values: what is left out is counted, and a cut never shows a part of a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.state.marks import HIDDEN
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.reading.clipping import (
    ClippedRedaction,
    CutCount,
    hide_fields,
    read_window,
)

KEY = "sk-" + "abcdefghij0123456789" * 2
VALUE = "correct horse battery staple"
RULES = Redaction(values=(VALUE,))


def clip(value: Any, **options: Any) -> tuple[Any, int]:
    redaction = ClippedRedaction(values=(VALUE,), cut=CutCount(), **options)
    return redaction.data(value), redaction.cut.left_out


def test_long_text_is_cut_and_counted() -> None:
    """A long text ends with the number of characters that follow."""
    shown, left_out = clip({"a": "x" * 100, "b": "y"}, longest=10)
    assert shown == {"a": "xxxxxxxxxx… (90 more characters)", "b": "y"}
    assert left_out == 90


@pytest.mark.parametrize("begin", range(0, 60, 3))
def test_cut_secret_is_hidden(begin: int) -> None:
    """A secret across the place of the cut is hidden, not halved."""
    shown, _ = clip(" " * begin + KEY + " and more", longest=40)
    assert "abcdefghij" not in shown
    shown, _ = clip("." * begin + VALUE + "." * 100, longest=40)
    assert "battery" not in shown


def test_long_list_is_cut_and_counted() -> None:
    """A list and an object of very many items are cut, and say so."""
    shown, left_out = clip(list(range(2_500)))
    assert (len(shown), shown[-1], left_out) == (1_001, "… (1,500 more items)", 1_500)
    fields, left_out = clip({f"f{number}": 1 for number in range(1_200)})
    assert (fields["…"], left_out) == ("200 more fields", 200)


def test_value_is_bounded_as_a_whole() -> None:
    """Many texts that are each short enough are together no more than a page can show."""
    shown, left_out = clip([["z" * 3_000] * 10] * 900)
    assert len(json.dumps(shown)) < 300_000
    assert left_out > 0


def test_deep_value_is_cut() -> None:
    """A value that nests deeper than other programs read ends where they would fail."""
    value: Any = "end"
    for _ in range(300):
        value = [value]
    shown, left_out = clip(value)
    assert ("nested deeper" in json.dumps(shown), left_out) == (True, 1)


def test_secret_field_is_hidden_in_json_text() -> None:
    """A secret field is hidden as data, and in a text that holds data."""
    fields = frozenset({"token"})
    inner = json.dumps({"a": [{"token": "t1"}]})
    shown, _ = clip({"token": "t2", "text": inner, "other": "token"}, fields=fields)
    assert shown["token"] == HIDDEN
    assert "t1" not in shown["text"]
    assert shown["other"] == "token"
    assert hide_fields("{not json token", fields) == "{not json token"


@given(st.lists(st.sampled_from([f"{KEY} ", VALUE, "words ", "\n", "." * 50, " "]), max_size=30))
def test_windows_hide_what_the_whole_hides(parts: list[str]) -> None:
    """Read in windows of any size, a text shows no part of a secret, and all of the rest."""
    text = "".join(parts)
    for size in (1, 7, 45, len(text) or 1):
        windows = [
            read_window(RULES, text, begin, begin + size) for begin in range(0, len(text), size)
        ]
        together = "".join(windows)
        assert "abcdefghij" not in together
        assert "battery" not in together
        assert together.count("words ") <= text.count("words ")
    assert read_window(RULES, text, 0, len(text)) == RULES.text(text)
