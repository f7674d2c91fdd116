"""A shorter text out of the sentences of another: its headline, then what matters most, in the order of the document, nothing twice."""

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

_LONGEST = 320  # characters of a sentence; what is longer is a table or a list that lost its lines
_SHORT_SECTION = 12  # words: a section that short is a topic or a question, not a text
_PARAGRAPH = 4  # sentences
_MOST = 40  # sentences of a text that grows from round to round
_BETTER = frozenset(
    "correct edit fix improve polish proofread refine rephrase revise rewrite tidy translate".split()
)
_SHORTER = frozenset(
    "abstract condense digest headline shorten shorter summaries summarise summarize summary".split()
)
_NUMBERS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten".split(), start=1
    )
}
_WANTED = re.compile(
    rf"\b(\d{{1,3}}|{'|'.join(_NUMBERS)})\s+(?:[a-z-]+\s+)?(sentences?|points?|bullets?|items?|paragraphs?|words?)\b",
    re.IGNORECASE,
)
_PROSE = frozenset(
    "article blog body content draft edit email essay letter polish post prose rewrite revise story text write".split()
)
_WRITTEN = frozenset(
    "answer article content draft essay letter output post proposal reply report response result story summary text".split()
)


@dataclass(frozen=True)
class Source:
    """Material, and what can be told about it: worked out once, when it is first asked for."""

    prompt: ParsedPrompt

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """Short sections beside a text: what it is about, or what is asked of it."""
        texts = [section.text for section in self.prompt.sections]
        short = [text for text in texts if len(text.split()) <= _SHORT_SECTION]
        return tuple(short) if len(short) < len(texts) else ()

    @cached_property
    def topic_words(self) -> frozenset[str]:
        """The words that say what it is about: of the question and of its topics."""
        return content_words(" ".join([self.prompt.instructions, *self.topics])) - GENERIC

    @cached_property
    def is_question(self) -> bool:
        """Whether something is asked for by name, not a shorter text."""
        return any("?" in text for text in (self.prompt.instructions, *self.topics))

    @cached_property
    def sentences(self) -> tuple[Sentence, ...]:
        """The sentences of the texts, each once: a sentence of a draft keeps its place in the document, the longest of the sections.

        Those of the topics are among them only if there is nothing else.
        """
        sections, topics = self.prompt.sections, set(self.topics)
        by_length = sorted(
            range(len(self.prompt.sentences)),
            key=lambda number: -len(sections[self.prompt.sentences[number].section].text),
        )
        places: dict[str, int] = {}
        for place in by_length:
            places.setdefault(self.prompt.sentences[place].text.casefold(), place)
        unique = [self.prompt.sentences[place] for place in sorted(places.values())]
        return tuple(
            sentence for sentence in unique if sections[sentence.section].text not in topics
        )

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Indices of `sentences`: the headline, then the most important ones in the light of the remarks on an earlier version.

        Before all others come those of a draft, or those that speak of what is asked.
        """
        order = rank_sentences(self.sentences, self.topic_words)
        remarks = content_words(self.prompt.remarks) - GENERIC
        if remarks and order:
            order = list(
                dict.fromkeys(
                    [order[0], *rank_sentences(self.sentences, self.topic_words | remarks)]
                )
            )
        if self.draft:
            order.sort(key=lambda index: self.sentences[index].text.casefold() not in self.draft)
        elif self.is_question:
            order.sort(
                key=lambda index: (
                    -len(self.sentences[index].words & self.topic_words)
                    / math.sqrt(4 + len(self.sentences[index].words))
                )
            )
        return tuple(order)

    @cached_property
    def reviewed_section(self) -> int | None:
        """The index of the section that somebody wrote and that may be under review, if it is named as such."""
        named = [
            index
            for index, section in enumerate(self.prompt.sections)
            if _WRITTEN & set(split_words(section.name))
        ]
        return named[-1] if named else None

    @cached_property
    def draft(self) -> frozenset[str]:
        """The sentences, in lower case, of an earlier version that is to be made better, and so to be kept."""
        if self.reviewed_section is None or _SHORTER & set(split_words(self.prompt.instructions)):
            return frozenset()
        sections = self.prompt.sections
        is_all = sections[self.reviewed_section] is max(
            sections, key=lambda section: len(section.text)
        )
        if is_all and not _BETTER & set(split_words(self.prompt.instructions)):
            return frozenset()
        paragraphs = sections[self.reviewed_section].paragraphs
        return frozenset(
            split_sentence.casefold()
            for paragraph in paragraphs
            for split_sentence in split_sentences(paragraph)
        )

    @cached_property
    def reviewed_sentence_count(self) -> int:
        """How many sentences the earlier version had, if its reviewer counted them."""
        counted = re.search(r"\b(\d{1,3}) sentences?\b", self.prompt.remarks)
        return int(counted.group(1)) if counted else 0

    @property
    def is_thin(self) -> bool:
        """Whether there is no text to work on, a topic at most."""
        return len(self.prompt.text.split()) < 4

    @property
    def headline(self) -> str:
        """The sentence that says most."""
        return (
            quote_text(self.sentences[self.order[0]].text)
            if self.order
            else self.prompt.text.strip()
        )


def compose_text(source: Source, *, purpose: str, most_characters: int) -> str:
    """A text for a purpose (the name and description of what is wanted, which decides between prose and points)."""
    if source.is_thin or not source.order:
        return explain_missing_text(source)
    asked = split_words(f"{purpose} {source.prompt.instructions}")
    count, most_words = _wanted(source)
    chosen = _chosen(source, count, most_words, most_characters)
    lead, *others = chosen
    if source.is_question or (_PROSE & set(asked)):
        return _prose(source, lead, others)
    return "\n".join(
        [
            quote_text(source.sentences[lead].text),
            *([""] if others else []),
            *_points(source, others),
        ]
    )


def explain_missing_text(source: Source) -> str:
    """What to answer where there is nothing to extract from."""
    topic = " ".join((source.prompt.text or source.prompt.instructions).split())
    if not topic or topic.endswith(":"):
        return "There is no text to work on: the prompt is empty where the text should be."
    shown = topic if len(topic) <= 80 else topic[:79] + "…"
    return f"On “{shown.rstrip('.:')}”: no source text was given, and the offline model only works on text that it is given."


def quote_text(sentence: str) -> str:
    """A sentence fit to stand alone: ended, and cut at a word if it is endless."""
    if len(sentence) > _LONGEST:
        return (
            sentence[
                : sentence.rfind(" ", 0, _LONGEST) if " " in sentence[:_LONGEST] else _LONGEST
            ].rstrip(",;:")
            + " …"
        )
    return sentence if not sentence[-1].isalnum() else f"{sentence}."


def _wanted(source: Source) -> tuple[int, int | None]:
    """How many sentences, and at most how many words, by what the prompt asks for or else by the length of the text.

    A draft that is in the prompt, or whose length its reviewer tells, was not enough, or it would not come up: the next one is two
    sentences longer.
    """
    numbers = {
        unit.lower().rstrip("s"): _NUMBERS.get(number.lower()) or int(number)
        for number, unit in _WANTED.findall(source.prompt.instructions)
    }
    most_words = numbers.pop("word", None)
    if "paragraph" in numbers:
        numbers["sentence"] = numbers.pop("paragraph") * _PARAGRAPH
    if numbers:
        return max(1, *numbers.values()), most_words
    count = (
        3 if source.is_question else min(12, max(3, round(1.2 * math.sqrt(len(source.sentences)))))
    )
    before = len(source.draft) or source.reviewed_sentence_count
    return (min(_MOST, max(count, before + 2)) if before else count), most_words


def _chosen(source: Source, count: int, most_words: int | None, most_characters: int) -> list[int]:
    """The best sentence, then the others in the order of the document, within every limit; one at least."""
    chosen: list[int] = []
    words = characters = 0
    for index in _standing(source, count):
        text = quote_text(source.sentences[index].text)
        words, characters = words + len(text.split()), characters + len(text) + 3
        if chosen and (
            characters > most_characters or (most_words is not None and words > most_words)
        ):
            break
        chosen.append(index)
    return [chosen[0], *sorted(chosen[1:])]


def _standing(source: Source, count: int) -> list[int]:
    """The best sentences that can stand where they will stand: one that leans on its predecessor only beside it, if there are enough others."""
    standing: list[int] = []
    leaning: list[int] = []
    for index in source.order:
        before = index - 1
        is_followed = (
            before in standing
            and source.sentences[before].section == source.sentences[index].section
        )
        (
            standing
            if is_followed
            or source.is_question
            or not depends_on_previous(source.sentences[index].text)
            else leaning
        ).append(index)
    return [*standing, *leaning][:count]


def _points(source: Source, chosen: Sequence[int]) -> list[str]:
    return [f"- {quote_text(source.sentences[index].text)}" for index in chosen]


def _prose(source: Source, lead: int, others: Sequence[int]) -> str:
    """Paragraphs of a few sentences. The lead stands first, whatever its place in the document."""
    paragraphs: list[list[str]] = [[quote_text(source.sentences[lead].text)]]
    for index in others:
        if len(paragraphs[-1]) >= _PARAGRAPH:
            paragraphs.append([])
        paragraphs[-1].append(quote_text(source.sentences[index].text))
    return "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)
