"""Shorter text made of the sentences of another.

It has a headline and then the most important sentences, in the order of the document, and no
sentence twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from graphorch.models.offline.prompt_parser import (
    GENERIC,
    ParsedPrompt,
    Sentence,
    content_words,
    split_sentences,
    split_words,
)
from graphorch.models.offline.sentence_ranking import depends_on_previous, rank_sentences
from graphorch.text import truncate

_LONGEST_SENTENCE = 320  # characters; a longer one is a table or a list that lost its lines
_SHORT_SECTION = 12  # words: a section that short is a topic or a question, not a text
_PARAGRAPH = 4  # sentences
_MOST_SENTENCES = 40  # of a text that grows from round to round
_LEAST_WORDS = 4  # of a text that can be worked on
_LONGEST_TOPIC = 80  # characters of a topic that are quoted

_IMPROVING_WORDS = frozenset(
    "correct edit fix improve polish proofread refine rephrase revise rewrite tidy "
    "translate".split()
)
_SHORTENING_WORDS = frozenset(
    "abstract condense digest headline shorten shorter summaries summarise summarize "
    "summary".split()
)
_PROSE_WORDS = frozenset(
    "article blog body content draft edit email essay letter polish post prose rewrite revise "
    "story text write".split()
)
_WRITTEN_SECTIONS = frozenset(
    "answer article content draft essay letter output post proposal reply report response "
    "result story summary text".split()
)
_NUMBER_WORDS = "one two three four five six seven eight nine ten".split()
_NUMBERS = {word: number for number, word in enumerate(_NUMBER_WORDS, start=1)}
_REQUESTED_LENGTH = re.compile(
    rf"\b(\d{{1,3}}|{'|'.join(_NUMBERS)})\s+(?:[a-z-]+\s+)?"
    r"(sentences?|points?|bullets?|items?|paragraphs?|words?)\b",
    re.IGNORECASE,
)
_COUNTED_SENTENCES = re.compile(r"\b(\d{1,3}) sentences?\b")


@dataclass(frozen=True)
class Source:
    """A prompt, and what follows from it; each property is computed once, at its first use."""

    prompt: ParsedPrompt

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """Short sections beside a text: its subject, or the question about it."""
        texts = [section.text for section in self.prompt.sections]
        short = [text for text in texts if len(text.split()) <= _SHORT_SECTION]
        return tuple(short) if len(short) < len(texts) else ()

    @cached_property
    def topic_words(self) -> frozenset[str]:
        """Words of the instructions and the topics that are about the subject."""
        return content_words(" ".join([self.prompt.instructions, *self.topics])) - GENERIC

    @cached_property
    def is_question(self) -> bool:
        """Return whether the prompt asks a question, rather than for a shorter text."""
        return any("?" in text for text in (self.prompt.instructions, *self.topics))

    @cached_property
    def sentences(self) -> tuple[Sentence, ...]:
        """Sentences of the texts, each once.

        A sentence of a draft keeps its place in the document, the longest of the sections. Those of
        the topics are among them only if there are no others.
        """
        sections, topics = self.prompt.sections, set(self.topics)
        all_sentences = self.prompt.sentences
        # 1. Of equal sentences keep the one in the longest section.
        by_length = sorted(
            range(len(all_sentences)),
            key=lambda place: -len(sections[all_sentences[place].section].text),
        )
        places: dict[str, int] = {}
        for place in by_length:
            places.setdefault(all_sentences[place].text.casefold(), place)
        # 2. Back into the order of the prompt, without the topics.
        unique = [all_sentences[place] for place in sorted(places.values())]
        return tuple(
            sentence for sentence in unique if sections[sentence.section].text not in topics
        )

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Indices of `sentences`: the headline, then the others by importance.

        Remarks on an earlier version change the importance. Sentences of a draft, or those that
        speak of the question, come before all others.
        """
        order = rank_sentences(self.sentences, self.topic_words)
        remarks = content_words(self.prompt.remarks) - GENERIC
        if remarks and order:
            in_their_light = rank_sentences(self.sentences, self.topic_words | remarks)
            order = list(dict.fromkeys([order[0], *in_their_light]))
        if self.draft:
            order.sort(key=lambda index: self.sentences[index].text.casefold() not in self.draft)
        elif self.is_question:
            order.sort(key=self._distance_from_question)
        return tuple(order)

    def _distance_from_question(self, index: int) -> float:
        words = self.sentences[index].words
        # The square root favours long sentences a little: they answer more.
        return -len(words & self.topic_words) / math.sqrt(4 + len(words))

    @cached_property
    def reviewed_section(self) -> int | None:
        """Index of the last section that is named as a written text; None without one."""
        written: int | None = None
        for index, section in enumerate(self.prompt.sections):
            if _WRITTEN_SECTIONS & set(split_words(section.name)):
                written = index
        return written

    @cached_property
    def draft(self) -> frozenset[str]:
        """Sentences, in lower case, of an earlier version that is to be improved, and so kept."""
        instructions = set(split_words(self.prompt.instructions))
        if self.reviewed_section is None or _SHORTENING_WORDS & instructions:
            return frozenset()
        sections = self.prompt.sections
        reviewed = sections[self.reviewed_section]
        # The longest section is the document itself, unless the prompt asks to improve it.
        is_document = reviewed is max(sections, key=lambda section: len(section.text))
        if is_document and not _IMPROVING_WORDS & instructions:
            return frozenset()
        sentences: set[str] = set()
        for paragraph in reviewed.paragraphs:
            sentences.update(text.casefold() for text in split_sentences(paragraph))
        return frozenset(sentences)

    @cached_property
    def reviewed_sentence_count(self) -> int:
        """Number of sentences of the earlier version, if its reviewer counted them, else 0."""
        counted = _COUNTED_SENTENCES.search(self.prompt.remarks)
        return int(counted.group(1)) if counted else 0

    @property
    def is_thin(self) -> bool:
        """Return whether there is no text to work on, a topic at most."""
        return len(self.prompt.text.split()) < _LEAST_WORDS

    @property
    def headline(self) -> str:
        """Most important sentence."""
        if not self.order:
            return self.prompt.text.strip()
        return quote_text(self.sentences[self.order[0]].text)


def compose_text(source: Source, *, purpose: str, most_characters: int) -> str:
    """Return a text for a purpose: the name and description of the text to write.

    The purpose and the instructions decide between prose and points.
    """
    if source.is_thin or not source.order:
        return explain_missing_text(source)
    words = set(split_words(f"{purpose} {source.prompt.instructions}"))
    count, most_words = _choose_length(source)
    lead, *others = _choose_sentences(source, count, most_words, most_characters)
    if source.is_question or _PROSE_WORDS & words:
        return _write_prose(source, lead, others)
    lines = [_quote(source, lead)]
    if others:
        lines.append("")
        lines += [f"- {_quote(source, index)}" for index in others]
    return "\n".join(lines)


def explain_missing_text(source: Source) -> str:
    """Return the answer to a prompt without a text to extract from."""
    topic = " ".join((source.prompt.text or source.prompt.instructions).split())
    if not topic or topic.endswith(":"):
        return "There is no text to work on: the prompt is empty where the text should be."
    shown = truncate(topic, _LONGEST_TOPIC).rstrip(".:")
    return (
        f"On “{shown}”: no source text was given, and the offline model only works on text that it "
        "is given."
    )


def quote_text(sentence: str) -> str:
    """Return a sentence fit to stand alone: with an end, and cut at a word if it is endless."""
    if len(sentence) <= _LONGEST_SENTENCE:
        return f"{sentence}." if sentence[-1].isalnum() else sentence
    end = sentence.rfind(" ", 0, _LONGEST_SENTENCE)
    if end < 0:
        end = _LONGEST_SENTENCE
    return sentence[:end].rstrip(",;:") + " …"


def _quote(source: Source, index: int) -> str:
    return quote_text(source.sentences[index].text)


def _choose_length(source: Source) -> tuple[int, int | None]:
    """Return the number of sentences, and the most words if the prompt limits them.

    It is the length that the prompt asks for, or else grows with the text. A draft in the prompt,
    or one whose length its reviewer counted, was not enough, or it would not come up: the next one
    is two sentences longer.
    """
    # 1. The length that the prompt asks for.
    requested: dict[str, int] = {}
    for number, unit in _REQUESTED_LENGTH.findall(source.prompt.instructions):
        requested[unit.lower().rstrip("s")] = _NUMBERS.get(number.lower()) or int(number)
    most_words = requested.pop("word", None)
    if "paragraph" in requested:
        requested["sentence"] = requested.pop("paragraph") * _PARAGRAPH
    if requested:
        return max(1, *requested.values()), most_words
    # 2. A length that suits the text.
    count = 3
    if not source.is_question:
        count = min(12, max(3, round(1.2 * math.sqrt(len(source.sentences)))))
    # 3. Longer than the earlier version.
    earlier = len(source.draft) or source.reviewed_sentence_count
    if earlier:
        count = min(_MOST_SENTENCES, max(count, earlier + 2))
    return count, most_words


def _choose_sentences(
    source: Source, count: int, most_words: int | None, most_characters: int
) -> list[int]:
    """Return the best sentence, then the others in the order of the document.

    They are within every limit, but one at least.
    """
    chosen: list[int] = []
    words = characters = 0
    for index in _prefer_independent(source, count):
        text = _quote(source, index)
        words += len(text.split())
        characters += len(text) + 3  # with what joins it to the others
        is_too_long = characters > most_characters
        has_too_many_words = most_words is not None and words > most_words
        if chosen and (is_too_long or has_too_many_words):
            break
        chosen.append(index)
    return [chosen[0], *sorted(chosen[1:])]


def _prefer_independent(source: Source, count: int) -> list[int]:
    """Return the best sentences that can stand where they will stand.

    A sentence that leans on its predecessor is put behind all others, unless that one was chosen
    before it.
    """
    standing: list[int] = []
    leaning: list[int] = []
    for index in source.order:
        sentence = source.sentences[index]
        previous = index - 1
        follows_previous = (
            previous in standing and source.sentences[previous].section == sentence.section
        )
        if follows_previous or source.is_question or not depends_on_previous(sentence.text):
            standing.append(index)
        else:
            leaning.append(index)
    return [*standing, *leaning][:count]


def _write_prose(source: Source, lead: int, others: Sequence[int]) -> str:
    """Return paragraphs of a few sentences; the lead stands first, even if it is not the first."""
    paragraphs: list[list[str]] = [[_quote(source, lead)]]
    for index in others:
        if len(paragraphs[-1]) >= _PARAGRAPH:
            paragraphs.append([])
        paragraphs[-1].append(_quote(source, index))
    return "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)
