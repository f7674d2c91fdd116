"""Reports cut to a number of tokens: never more than that, and what fits is left alone."""

from __future__ import annotations

from hypothesis import given
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
def test_a_digest_never_counts_as_more_than_its_budget_and_is_of_the_same_type(
    whole: Whole, tokens: int
) -> None:
    found = build_digest(whole, tokens)
    assert measure_report(found) <= tokens
    assert Whole.model_validate(found.model_dump()) == found
    if measure_report(whole) <= tokens:
        assert found == whole


@given(st.text(max_size=3000), st.integers(0, 900))
def test_a_shortened_text_fits_and_keeps_its_beginning_and_its_end(text: str, tokens: int) -> None:
    found = shorten_text(text, tokens)
    assert count_tokens(found) <= tokens
    if count_tokens(text) > tokens >= 60:
        assert found[0] == text[0]
        assert found[-1] == text[-1]
        assert "tokens left out" in found


@given(st.lists(st.integers(0, 5000), max_size=20), st.integers(0, 9000))
def test_shares_keep_to_the_budget_and_waste_none_of_it(sizes: list[int], budget: int) -> None:
    shares = share_budget(sizes, budget)
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    assert sum(shares) <= budget
    assert sum(shares) >= min(budget, sum(sizes)) - len(sizes)
