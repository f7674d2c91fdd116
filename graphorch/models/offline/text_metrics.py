"""How good a text is, as far as it can be measured: how much of its material it covers, its length, how well it reads, whether it repeats."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from graphorch.models.offline.prompt_parser import content_words, split_sentences, split_words, stem
from graphorch.models.offline.summarizer import Source

GOOD_QUALITY = 0.7  # quality from which a text counts as good enough, where the answer is yes or no
_KEY_TERMS = 25
_LONG_ENOUGH = 120  # words
_LONG_SENTENCE = 28  # words


@dataclass(frozen=True, slots=True)
class TextMetrics:
    """What was measured of a text. `missing` are terms of the material that it does not mention, the most important first."""

    words: int
    sentences: int
    coverage: float
    missing: tuple[str, ...]
    repeated: int

    @property
    def words_per_sentence(self) -> float:
        """The mean."""
        return self.words / max(1, self.sentences)

    @property
    def quality(self) -> float:
        """From 0 to 1. It grows with every term that is covered and, ever more slowly, with every word."""
        if not self.words:
            return 0.0
        length = 1 - math.exp(-self.words / 90)
        ease = 1 - min(1.0, abs(self.words_per_sentence - 17) / 25)
        variety = 1 - self.repeated / self.sentences
        return 0.4 * self.coverage + 0.3 * length + 0.2 * ease + 0.1 * variety

    @property
    def feedback(self) -> str:
        """The same in words, with what to do about it."""
        counted = (
            f"{self.words} words in {self.sentences} sentence{'s' if self.sentences != 1 else ''}"
        )
        told = [f"{counted}; it covers {self.coverage:.0%} of the key terms."]
        if self.missing:
            told.append(f"Not mentioned: {', '.join(self.missing[:6])}.")
        if self.words < _LONG_ENOUGH:
            told.append(f"Say more: {_LONG_ENOUGH} words or more.")
        if self.words_per_sentence > _LONG_SENTENCE:
            told.append(
                f"Shorten the sentences: they have {self.words_per_sentence:.0f} words on average."
            )
        if self.repeated:
            told.append(
                f"Remove what is said twice ({self.repeated} sentence{'s' if self.repeated != 1 else ''})."
            )
        return " ".join(told)


def measure_text(source: Source) -> TextMetrics:
    """Measure the text that is under review against the rest of the material; a text alone against itself."""
    sections = source.prompt.sections
    longest = max(range(len(sections)), key=lambda index: len(sections[index].text), default=None)
    under_review = source.reviewed_section if source.reviewed_section is not None else longest
    text = sections[under_review].text if under_review is not None else ""
    rest = "\n".join(
        section.text for index, section in enumerate(sections) if index != under_review
    )
    sentences = [
        split_sentence
        for paragraph in text.split("\n")
        for split_sentence in split_sentences(paragraph)
    ]
    terms = key_terms(rest or text)[:_KEY_TERMS]
    said = content_words(text)
    missing = tuple(word for word in terms if stem(word) not in said)
    return TextMetrics(
        words=len(text.split()),
        sentences=len(sentences),
        coverage=1 - len(missing) / len(terms) if terms else 0.0,
        missing=missing,
        repeated=len(sentences) - len({sentence.casefold() for sentence in sentences}),
    )


def key_terms(text: str) -> list[str]:
    """The commonest words that carry meaning, each as it stands first, the commonest first."""
    shown: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for word in split_words(text):
        for term in content_words(word):
            counts[term] += 1
            shown.setdefault(term, word)
    return [shown[term] for term in sorted(counts, key=lambda term: (-counts[term], term))]
