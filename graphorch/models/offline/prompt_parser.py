"""What a prompt says, taken apart: what is asked, the sections of material that it brings, and their sentences.

A prompt is instructions and data in one text, and only habit tells them apart. The rules of this file, in the order in which they apply:
- system messages are instructions;
- a line that ends with a colon opens a section and names it (`Draft:`); a short label before a colon (`Topic: tides`) names its paragraph;
- sections that hold demands (`Feedback:`, `Criteria:`, …) are remarks: they say what matters, and are no material either;
- in the first and the last paragraph of a message, sentences that begin like an order ("Summarise …", "You are …") are instructions;
- the rest is material.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphorch.models.messages import Message

# characters of one message that are read; a longer one is read in windows spread over all of it
MAX_CHARACTERS = 400_000
_WINDOWS = 40

_ORDERS = frozenset(
    "act analyse analyze answer assess avoid be check choose classify combine compare consider condense create critique decide describe "
    "discuss do don't draft edit evaluate explain extract find fix focus follow generate give grade help identify improve include "
    "investigate judge keep list look make mention merge name outline paraphrase pick plan please polish produce propose provide put rate "
    "read refine reply report rephrase research respond return review revise rewrite route say score select shorten sort state structure "
    "suggest summarise summarize tell tidy translate turn use verify write you your".split()
)
_DEMANDS = frozenset(
    "comment comments constraint constraints criteria criterion feedback format guideline guidelines hint hints instruction instructions "
    "limit requirement requirements rubric rule rules score style task tone verdict".split()
)
_STOP = frozenset(
    "a about above after again all also although am an and any are as at be because been before being below between both but by can could did "
    "do does doing down during each even every few for from further had has have having he her here hers him his how however i if in into is "
    "it its itself just made make many may me might more most much must my no nor not now of off on once only or other our out over own "
    "per same she should since so some such than that the their them then there these they this those through thus to too under until up upon "
    "us very was we well were what when where which while who whom why will with within without would yet you your "
    "one two three four five six seven eight nine ten first second third".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_UNSEEN = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_ENDS = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？])")
_SHORT_FORMS = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|no|fig|dr|mr|mrs|ms|prof|st|inc|ltd|co|vol|pp)|\b[A-Z])\.$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d{1,3}[.)])\s+")
_LABEL = re.compile(r"^\s*(?:#{1,6}\s*)?\**([^\W\d_][\w '’/-]{0,40}?)\**:\**\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the material: its words that carry meaning, and where it stands. `section` counts the sections from 0."""

    text: str
    words: frozenset[str]
    section: int


@dataclass(slots=True)
class Section:
    """A named part of the material; the name is in lower case, "" before the first heading."""

    name: str
    paragraphs: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.paragraphs)


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """A prompt, taken apart. `unread` counts the characters that were left out because there were too many."""

    instructions: str
    remarks: str
    sections: tuple[Section, ...]
    headings: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    unread: int = 0

    @property
    def text(self) -> str:
        return "\n".join(section.text for section in self.sections)


def parse_prompt(messages: Sequence[Message]) -> ParsedPrompt:
    """Take a conversation apart."""
    reader = _Reader()
    for message in messages:
        text, unread = _bounded(message.content)
        reader.unread += unread
        if message.role == "system":
            reader.asked.append(clean_text(text))
        else:
            reader.take(clean_text(text))
    sections = tuple(section for section in reader.sections if section.paragraphs)
    sentences = tuple(
        Sentence(split_sentence, words, index)
        for index, section in enumerate(sections)
        for paragraph in section.paragraphs
        for split_sentence in split_sentences(paragraph)
        if (words := content_words(split_sentence))
    )
    return ParsedPrompt(
        "\n".join(reader.asked),
        "\n".join(reader.remarks),
        sections,
        tuple(reader.headings),
        sentences,
        reader.unread,
    )


def clean_text(text: str) -> str:
    """Text without control characters, escape sequences of terminals, reversed writing and halves of characters."""
    return (
        _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        .encode("utf-8", "ignore")
        .decode("utf-8")
    )


def split_words(text: str) -> list[str]:
    """All words, in lower case and in their order."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> frozenset[str]:
    """The different words that carry meaning, without plural endings."""
    return frozenset(
        stem(word) for word in split_words(text) if word not in _STOP and len(word) > 1
    )


def stem(word: str) -> str:
    """The word without the commonest English endings: enough to let "tides" meet "tide"."""
    for ending in ("'s", "’s", "ies", "ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


GENERIC = frozenset(
    stem(word)
    for word in [
        *_ORDERS,
        *_DEMANDS,
        *"article bullet content detail document draft eight essay five four key main message nine note paper paragraph passage point "
        "prompt question section sentence seven short six ten text thoroughly three two word".split(),
    ]
)
"""Words of orders that say nothing about their subject."""


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of one paragraph; a full stop after an abbreviation or an initial ends none."""
    found: list[str] = []
    for part in _ENDS.split(paragraph):
        text = " ".join(part.split())
        if found and _SHORT_FORMS.search(found[-1]):
            found[-1] = f"{found[-1]} {text}"
        elif text:
            found.append(text)
    return found


def _bounded(text: str) -> tuple[str, int]:
    """The text, or windows spread evenly over it that begin and end at line or sentence ends, and how much was left out."""
    if len(text) <= MAX_CHARACTERS:
        return text, 0
    step, size = len(text) / _WINDOWS, MAX_CHARACTERS // _WINDOWS
    windows: list[str] = []
    for index in range(_WINDOWS):
        begin = int(index * step)
        window = text[begin : begin + size]
        whole = re.search(r"(?:^|[.!?\n]\s)(.*[.!?\n])", window, re.DOTALL) if index else None
        windows.append(whole.group(1) if whole else window)
    kept = "\n".join(windows)
    return kept, max(0, len(text) - len(kept))


class _Reader:
    """Reads the messages of a conversation, line by line."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.remarks: list[str] = []
        self.sections: list[Section] = [Section("")]
        self.headings: list[str] = []
        self._is_labelled = False  # the section began with a label, and ends with its paragraph
        self.unread = 0

    def take(self, text: str) -> None:
        paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
        self.sections.append(Section(""))
        for index, paragraph in enumerate(paragraphs):
            at_border = index == 0 or (index == len(paragraphs) - 1 and len(paragraph) < 600)
            self._paragraph(paragraph, at_border=at_border)

    def _paragraph(self, paragraph: str, *, at_border: bool) -> None:
        if self._is_labelled:
            self._open("")
        pending: list[str] = []  # lines of prose that were wrapped; they belong together
        lines = paragraph.split("\n")
        for index, line in enumerate(lines):
            bare = _BULLET.sub("", line).strip()
            is_item = bare != line.strip()
            if self._opens_section(bare, alone=len(lines) == 1):
                self._flush(pending, at_border=at_border)
                continue
            label = _LABEL.match(bare)
            if (
                label
                and not is_item
                and (len(lines) == 1 or index == 0 or len(bare) < 200)
                and self._is_label(label.group(1))
            ):
                self._flush(pending, at_border=at_border)
                self._open(label.group(1))
                self._is_labelled = True
                bare = bare[label.end() :]
            if is_item:
                self._flush(pending, at_border=at_border)
            if bare:
                pending.append(bare)
        self._flush(pending, at_border=at_border)

    def _opens_section(self, line: str, *, alone: bool) -> bool:
        """A line that names what follows: it ends with a colon, is marked as a heading, or stands alone and is no sentence."""
        if line.endswith(":") and len(line) <= 300:
            sentences = split_sentences(line[:-1])
            self.asked += sentences[:-1]
            self._open(sentences[-1] if sentences else "")
            return True
        if line.startswith("#"):
            self.headings.append(line.lstrip("# "))
            return True
        is_bare = line[:1].isupper() and line[-1:].isalnum() and ": " not in line
        if alone and is_bare and 1 < len(line.split()) <= 9 and not _is_order(line):
            self.headings.append(line)
            return True
        return False

    @staticmethod
    def _is_label(label: str) -> bool:
        return len(label.split()) <= 3 or _is_order(label)

    def _open(self, name: str) -> None:
        # one word alone (`Draft:`, `Review:`) is a name, even if it could be a verb
        if _is_order(name) and " " in name:
            self.asked.append(f"{name}:")
            name = ""
        self._is_labelled = False
        self.sections.append(Section(name.lower()))

    def _flush(self, lines: list[str], *, at_border: bool) -> None:
        """The collected lines become a paragraph of the section, or part of what is asked."""
        text = " ".join(lines)
        lines.clear()
        if not text:
            return
        if _DEMANDS & set(split_words(self.sections[-1].name)):
            self.remarks.append(text)
            return
        kept: list[str] = []
        for sentence in split_sentences(text) if at_border else [text]:
            if at_border and _is_order(sentence):
                self._order(sentence, kept)
            else:
                kept.append(sentence)
        if kept:
            self.sections[-1].paragraphs.append(" ".join(kept))

    def _order(self, sentence: str, kept: list[str]) -> None:
        """An order may carry its material after a colon: `Research this topic: tides`."""
        order, colon, rest = sentence.partition(": ")
        self.asked.append(order + colon)
        if rest:
            kept.append(rest)


def _is_order(sentence: str) -> bool:
    first = re.match(r"\W*([^\W\d_]+(?:['’][^\W\d_]+)?)", sentence)
    return first is not None and first.group(1).lower() in _ORDERS
