"""PageRank over sentences: central ones first, no repetitions, bounded work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.offline.prompt_parser import Sentence, content_words
from graphorch.models.offline.sentence_ranking import (
    MAX_COMPARED,
    pagerank,
    rank_sentences,
    similarity,
)


def sentences(*texts: str) -> list[Sentence]:
    return [Sentence(text, content_words(text), 0) for text in texts]


def test_pagerank_of_pair_and_stranger() -> None:
    """Two nodes hold each other up; a stranger has only its start, and shares all of it."""
    number, two, alone = pagerank([{1: 1.0}, {0: 1.0}, {}], [1.0, 1.0, 1.0])
    assert number == pytest.approx(two)
    assert alone < number
    assert number + two + alone == pytest.approx(1.0)


def test_pagerank_lifts_common_target() -> None:
    """A node that all others link to is lifted."""
    scores = pagerank([{}, {0: 1.0}, {0: 1.0}, {0: 1.0}], [1.0] * 4)
    assert scores[0] > 2 * scores[1]
    assert scores[1] == pytest.approx(scores[2]) == pytest.approx(scores[3])


@given(
    st.lists(
        st.dictionaries(st.integers(0, 5), st.floats(0.01, 1.0), max_size=4), min_size=6, max_size=6
    )
)
def test_pagerank_is_distribution(links: list[dict[int, float]]) -> None:
    """The shares are positive and sum to 1."""
    scores = pagerank(links, [1.0] * 6)
    assert sum(scores) == pytest.approx(1.0)
    assert min(scores) > 0


def test_ranking_of_nothing_is_empty() -> None:
    """Without sentences there is no ranking."""
    assert rank_sentences([], frozenset()) == []
    assert pagerank([], []) == []


def test_connecting_sentence_ranks_first() -> None:
    """A sentence that connects the others comes first, and a stranger last."""
    text = sentences(
        "The weather in the city stayed pleasant for the whole of March.",
        "Radar gauges measure the height of the water from above the harbour.",
        "The old harbour gauge hangs in a well that fills with mud.",
        "A radar gauge above the harbour measures water without any well or mud.",
        "Mud in the well stops the old gauge from measuring low water.",
    )
    assert rank_sentences(text, frozenset())[0] in (2, 3, 4)
    assert rank_sentences(text, frozenset())[-1] == 0


def test_question_words_rank_first() -> None:
    """A sentence about the question comes first."""
    text = sentences(
        "The radar gauge measures the height of the water in the harbour.",
        "The harbour gauge measures the water in a well of the old pier.",
        "The council pays for the gauge out of the dues of the harbour.",
    )
    assert rank_sentences(text, content_words("council dues"))[0] == 2


def test_repetition_is_left_out() -> None:
    """Sentences that repeat a better one are left out."""
    text = sentences(
        "The gauge shows the height of the water.",
        "The gauge shows the height of the water.",
        "Of the water the gauge shows the height.",
    )
    assert len(rank_sentences(text, frozenset())) == 1


def word(number: int) -> str:
    return "".join("bcdfghjklm"[int(digit)] for digit in f"{number:05}")


def test_long_text_is_sampled_evenly() -> None:
    """No more than the most are compared, and they come from every part."""
    text = sentences(
        *(
            " ".join(word(n * 6 + k) for k in range(6)).capitalize() + " water."
            for n in range(3_000)
        )
    )
    order = rank_sentences(text, frozenset())
    assert len(order) == MAX_COMPARED
    assert {index // 100 for index in order} == set(range(30))


@pytest.mark.parametrize(
    "text, other, alike",
    [("a b", "a b", 1.0), ("a b", "c d", 0.0), ("a b", "b c", 0.5), ("", "", 1.0)],
)
def test_similarity_of_word_sets(text: str, other: str, alike: float) -> None:
    """Similarity grows with the words in common."""
    assert similarity(frozenset(text.split()), frozenset(other.split())) == alike
