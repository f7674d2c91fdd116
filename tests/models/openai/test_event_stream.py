"""Events of an answer: every form that endpoints send, cut at any byte."""

from __future__ import annotations

import json
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.openai.event_stream import Event, EventDecoder

ONE, TWO = {"n": 1, "text": "naïve 😀"}, {"n": 2}
FIRST, SECOND = json.dumps(ONE, ensure_ascii=False), json.dumps(TWO)


def decode(data: bytes, cuts: list[int] | None = None) -> list[Event]:
    decoder = EventDecoder()
    events: list[Event] = []
    for begin, end in pairwise([0, *sorted(cuts or []), len(data)]):
        events += decoder.feed(data[begin:end])
    return events + decoder.finish()


FORMS = {
    "events": f"data: {FIRST}\n\ndata: {SECOND}\n\n",
    "no space": f"data:{FIRST}\n\ndata:{SECOND}\n\n",
    "CR LF": f"data: {FIRST}\r\n\r\ndata: {SECOND}\r\n\r\n",
    "CR": f"data: {FIRST}\r\rdata: {SECOND}\r\r",
    "byte order mark": f"\ufeffdata: {FIRST}\n\ndata: {SECOND}\n\n",
    "other fields": f"retry: 3\n\nid: 7\n\n: hi\n\nid: 1\ndata: {FIRST}\n\ndata: {SECOND}\n\n",
    "no blank line at the end": f"data: {FIRST}\n\ndata: {SECOND}",
    "no blank lines": f"data: {FIRST}\ndata: {SECOND}\n",
    "after the end": f"data: {FIRST}\n\ndata: {SECOND}\n\ndata: [DONE]\n\ndata: {FIRST}\n\n",
    "end with spaces": f"data: {FIRST}\n\ndata: {SECOND}\n\ndata:   [DONE]  \n\ndata: more\n\n",
    "two data lines": f'data: {{"n": 1,\ndata: {FIRST[8:]}\n\ndata: {SECOND}\n\n',
    "empty data": f"data:\n\ndata: {FIRST}\n\ndata: \n\ndata: {SECOND}\n\n",
    "lines of JSON": f"{FIRST}\n{SECOND}\n",
    "lines of JSON with blank lines": f"{FIRST}\n\n{SECOND}",
    "a document after events": f"data: {FIRST}\n\n{json.dumps(TWO, indent=2)}\n",
    "a document before events": f"{json.dumps(ONE, indent=2)}\ndata: {SECOND}\n\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_events_have_many_forms(form: str) -> None:
    """Read the same two events out of every form."""
    assert [event.value for event in decode(FORMS[form].encode())] == [ONE, TWO]


@given(st.sampled_from(sorted(FORMS)), st.lists(st.integers(0, 400), max_size=12))
def test_events_do_not_depend_on_cuts(form: str, places: list[int]) -> None:
    """Read the same events wherever the bytes are cut: within a character, or CR from LF."""
    data = FORMS[form].encode()
    cuts = [min(place, len(data)) for place in places]
    assert decode(data, cuts) == decode(data)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_bytes_of_any_kind_decode_alike(data: bytes, places: list[int]) -> None:
    """Read the same events, or find the same fault, in bytes of any kind and however cut."""

    def outcome(cuts: list[int]) -> object:
        try:
            return decode(data, cuts)
        except UnicodeDecodeError:
            return "not UTF-8"

    assert outcome([min(place, len(data)) for place in places]) == outcome([])


def test_event_keeps_name() -> None:
    """Keep the name of an event until its end, and give it to no other."""
    events = decode(f"event: ping\ndata: {FIRST}\n\ndata: {SECOND}\n\nevent: x\n\ndata: 3".encode())
    assert [event.name for event in events] == ["ping", "", ""]


def test_text_is_no_json() -> None:
    """Tell broken JSON from JSON, and keep text that is no event at all."""
    decoder = EventDecoder()
    events = decoder.feed(b"data: {nothing\n\n<html>\nplease log in\n") + decoder.finish()
    assert [(event.text, event.is_json) for event in events] == [("{nothing", False)]
    assert decoder.stray == "<html>\nplease log in\n"


@pytest.mark.parametrize(
    "piece",
    [f"data: {SECOND}\n\n", f"data: {SECOND}\n", f"{SECOND}\n", "data: {1\n", "{\n", "x", '{"a":'],
)
def test_decoding_costs_linear_time(piece: str) -> None:
    """Take at most three times as long per piece for eight times as many, in every form."""

    def measure(size: int) -> float:
        decoder = EventDecoder()
        began = process_time()
        for _ in range(size):
            decoder.feed(piece.encode())
        decoder.finish()
        return (process_time() - began) / size

    small = min(measure(5_000) for _ in range(3))
    assert min(measure(40_000) for _ in range(3)) < 3 * small
