"""Conversations as HTML: whole pages and fragments, without anything that acts or loads."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from graphorch.trace.conversation.html import format_fragment, format_page
from graphorch.trace.conversation.turns import ToolUse, Turn, Utterance
from tests.trace.sample_spans import make_trace

EVIL = '<script src="//x">alert(1)</script>&"\'<b>'


class Elements(HTMLParser):
    """Reader of a page: its tags, and its texts without the style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick", "onload"}

    def handle_data(self, data: str) -> None:
        if self.tags[-1] != "style":
            self.texts.append(data)


def call(**changes: str) -> Turn:
    """Return the turn of a model call with one message."""
    turn = Turn(1, "calls", "ask", ("m",), 1, 0.0, "answer", prompt=(Utterance("user", "Hi"),))
    return replace(turn, **changes)


def test_page_escapes_every_text() -> None:
    """Texts of every kind are shown as they are, and never become elements."""
    said = Utterance(EVIL, EVIL, (ToolUse("1", EVIL, ""),))
    turn = Turn(1, "calls", EVIL, (EVIL,), 1, 0.0, EVIL, prompt=(said,))
    turn = replace(turn, note=EVIL, decision=EVIL, masked=(EVIL,))
    read = Elements(format_page(replace(make_trace(run_id=EVIL), flow=EVIL), [turn]))
    assert not {"script", "b"} & set(read.tags)
    assert "".join(read.texts).count(EVIL) == 13


def test_turn_shows_its_parts() -> None:
    """A turn names its speaker and receiver, and a call its messages and its answer."""
    read = Elements(format_fragment(make_trace(), [call()]))
    text = " ".join(part.strip() for part in read.texts if part.strip())
    assert text.endswith("ask → m calls; 0 s; 0+0 tokens; $0.000000 user Hi answer answer")
    assert "details" not in read.tags


@pytest.mark.parametrize(("length", "folded"), [(600, False), (601, True)])
def test_long_text_is_folded(length: int, folded: bool) -> None:
    """A text of more than 600 characters is folded behind its beginning, and is there whole."""
    page = format_fragment(make_trace(), [call(text="x" * length)])
    assert ("<details>" in page) is folded
    assert f"<pre>{'x' * length}</pre>" in page
    assert (f"{'x' * 120}…</code> ({length:,} characters)" in page) is folded


def test_half_character_is_replaced() -> None:
    """Half a surrogate pair cannot be encoded, and is replaced."""
    page = format_fragment(make_trace(), [call(text="half \ud800 of it")])
    assert "half ? of it" in page.encode().decode()


def test_page_forbids_loading() -> None:
    """The page has a policy against scripts and links, and holds the fragment."""
    page = format_page(make_trace(), [call()])
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert format_fragment(make_trace(), [call()]) in page
