"""Reports cut to a number of tokens: never more than that, and what fits is left alone."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch.patterns.digests import (
    build_digest,
    count_tokens,
    measure_report,
    share_budget,
    shorten_text,
)


class Part(BaseModel):
    title: str = ""
    lines: list[str] = []


class Whole(BaseModel):
    text: str = ""
    parts: list[Part] = []
    by_name: dict[str, str] = {}
    count: int = 0


texts = st.text(max_size=400)
wholes = st.builds(
    Whole,
    text=texts,
    parts=st.lists(st.builds(Part, title=texts, lines=st.lists(texts, max_size=5)), max_size=5),
    by_name=st.dictionaries(texts, texts, max_size=4),
    count=st.integers(),
)


@given(wholes, st.integers(2, 600))
@example(Whole(text="0\u0800", by_name={"0": "", "1": ""}), 2)
def test_digest_fits_budget_and_type(whole: Whole, tokens: int) -> None:
    """A digest fits its budget and has the type of its report."""
    shortened = build_digest(whole, tokens)
    assert measure_report(shortened) <= tokens
    assert Whole.model_validate(shortened.model_dump()) == shortened
    if measure_report(whole) <= tokens:
        assert shortened == whole


@given(st.text(max_size=3000), st.integers(0, 900))
def test_shortened_text_keeps_both_ends(text: str, tokens: int) -> None:
    """A shortened text fits, and keeps its beginning and its end."""
    shortened = shorten_text(text, tokens)
    assert count_tokens(shortened) <= tokens
    if count_tokens(text) > tokens >= 60:
        assert shortened[0] == text[0]
        assert shortened[-1] == text[-1]
        assert "tokens left out" in shortened


@given(st.lists(st.integers(0, 5000), max_size=20), st.integers(0, 9000))
def test_shares_use_the_whole_budget(sizes: list[int], budget: int) -> None:
    """Shares fit the budget and waste none of it."""
    shares = share_budget(sizes, budget)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert sum(shares) <= budget
    assert sum(shares) >= min(budget, sum(sizes)) - len(sizes)
