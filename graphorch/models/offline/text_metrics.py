"""Measured quality of a text: coverage of its material, length, readability, repetition."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from graphorch.models.offline.prompt_parser import content_words, split_sentences, split_words, stem
from graphorch.models.offline.summarizer import Source

GOOD_QUALITY = 0.7
"""Quality from which a text counts as good enough, where the answer is yes or no."""

_KEY_TERMS = 25
_ENOUGH_WORDS = 120
_LONG_SENTENCE = 28  # words
_SHOWN_TERMS = 6


@dataclass(frozen=True, slots=True)
class TextMetrics:
    """Measurements of a text.

    `missing` are terms of the material that it does not mention, the most important first.
    """

    words: int
    sentences: int
    coverage: float
    missing: tuple[str, ...]
    repeated: int

    @property
    def words_per_sentence(self) -> float:
        """Mean length of a sentence."""
        return self.words / max(1, self.sentences)

    @property
    def quality(self) -> float:
        """Quality from 0 to 1.

        It grows with every term that is covered and, ever more slowly, with every word.
        """
        if not self.words:
            return 0.0
        length = 1 - math.exp(-self.words / 90)
        ease = 1 - min(1.0, abs(self.words_per_sentence - 17) / 25)
        variety = 1 - self.repeated / self.sentences
        return 0.4 * self.coverage + 0.3 * length + 0.2 * ease + 0.1 * variety

    @property
    def feedback(self) -> str:
        """Quality in words, with advice."""
        counted = f"{self.words} words in {_count_sentences(self.sentences)}"
        parts = [f"{counted}; it covers {self.coverage:.0%} of the key terms."]
        if self.missing:
            parts.append(f"Not mentioned: {', '.join(self.missing[:_SHOWN_TERMS])}.")
        if self.words < _ENOUGH_WORDS:
            parts.append(f"Say more: {_ENOUGH_WORDS} words or more.")
        if self.words_per_sentence > _LONG_SENTENCE:
            mean = f"{self.words_per_sentence:.0f} words on average"
            parts.append(f"Shorten the sentences: they have {mean}.")
        if self.repeated:
            parts.append(f"Remove what is said twice ({_count_sentences(self.repeated)}).")
        return " ".join(parts)


def _count_sentences(count: int) -> str:
    return f"{count} sentence{'s' if count != 1 else ''}"


def measure_text(source: Source) -> TextMetrics:
    """Measure the text under review against the rest of the material.

    A text alone is measured against itself.
    """
    sections = source.prompt.sections
    under_review = source.reviewed_section
    if under_review is None:
        longest = max(range(len(sections)), key=lambda at: len(sections[at].text), default=None)
        under_review = longest
    text = sections[under_review].text if under_review is not None else ""
    rest = [section.text for index, section in enumerate(sections) if index != under_review]
    terms = key_terms("\n".join(rest) or text)[:_KEY_TERMS]
    mentioned = content_words(text)
    missing = tuple(term for term in terms if stem(term) not in mentioned)
    sentences: list[str] = []
    for paragraph in text.split("\n"):
        sentences += split_sentences(paragraph)
    different = {sentence.casefold() for sentence in sentences}
    return TextMetrics(
        words=len(text.split()),
        sentences=len(sentences),
        coverage=1 - len(missing) / len(terms) if terms else 0.0,
        missing=missing,
        repeated=len(sentences) - len(different),
    )


def key_terms(text: str) -> list[str]:
    """Return the words that carry meaning, the commonest first, each as it first stands."""
    first_forms: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for word in split_words(text):
        for term in content_words(word):
            counts[term] += 1
            first_forms.setdefault(term, word)
    by_count = sorted(counts, key=lambda term: (-counts[term], term))
    return [first_forms[term] for term in by_count]
