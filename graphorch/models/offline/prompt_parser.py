"""Parser of a prompt: instructions, the sections of material that it brings, their sentences.

A prompt is instructions and data in one text, and only habit tells them apart. Rules of this file,
in the order in which they apply:
1. System messages are instructions.
2. A line that ends with a colon opens a section and names it (`Draft:`). A short label before a
   colon (`Topic: tides`) names its paragraph.
3. Sections that hold demands (`Feedback:`, `Criteria:`, …) are remarks: they say what matters, and
   are not material either.
4. In the first and the last paragraph of a message, sentences that begin like an order ("Summarise
   …", "You are …") are instructions.
5. The rest is material.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphorch.models.messages import Message

MAX_CHARACTERS = 400_000
"""Characters of one message that are read; a longer one is read in windows spread over it."""

_WINDOWS = 40
_SHORT_PARAGRAPH = 600  # characters; a last paragraph longer than that holds no instructions
_LONGEST_HEADING = 300  # characters of a line that ends with a colon
_LONGEST_LABELLED_LINE = 200
_MOST_HEADING_WORDS = 9
_MOST_LABEL_WORDS = 3
_LEAST_STEM = 3

_ORDERS = frozenset(
    "act analyse analyze answer assess avoid be check choose classify combine compare consider "
    "condense create critique decide describe discuss do don't draft edit evaluate explain "
    "extract find fix focus follow generate give grade help identify improve include "
    "investigate judge keep list look make mention merge name outline paraphrase pick plan "
    "please polish produce propose provide put rate read refine reply report rephrase research "
    "respond return review revise rewrite route say score select shorten sort state structure "
    "suggest summarise summarize tell tidy translate turn use verify write you your".split()
)
_DEMANDS = frozenset(
    "comment comments constraint constraints criteria criterion feedback format guideline "
    "guidelines hint hints instruction instructions limit requirement requirements rubric rule "
    "rules score style task tone verdict".split()
)
_STOP = frozenset(
    "a about above after again all also although am an and any are as at be because been before "
    "being below between both but by can could did do does doing down during each even every "
    "few for from further had has have having he her here hers him his how however i if in into "
    "is it its itself just made make many may me might more most much must my no nor not now of "
    "off on once only or other our out over own per same she should since so some such than "
    "that the their them then there these they this those through thus to too under until up "
    "upon us very was we well were what when where which while who whom why will with within "
    "without would yet you your one two three four five six seven eight nine ten first second "
    "third".split()
)
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
# Escape sequences of terminals, control characters, marks of zero width and of reversed writing.
_UNSEEN = re.compile(
    r"\x1b\[[0-9;?]*[A-Za-z]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    r"\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_ENDS = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[^\W_a-z])|(?<=[。！？])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|no|fig|dr|mr|mrs|ms|prof|st|inc|ltd|co|vol|pp)"
    r"|\b[A-Z])\.$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d{1,3}[.)])\s+")
_LABEL = re.compile(r"^\s*(?:#{1,6}\s*)?\**([^\W\d_][\w '’/-]{0,40}?)\**:\**\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the material: its text, its content words, and its section, from 0."""

    text: str
    words: frozenset[str]
    section: int


@dataclass(slots=True)
class Section:
    """Named part of the material. The name is in lower case, "" before the first heading."""

    name: str
    paragraphs: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """Paragraphs of the section, a line each."""
        return "\n".join(self.paragraphs)


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """Parts of a prompt. `unread` counts the characters left out because there were too many."""

    instructions: str
    remarks: str
    sections: tuple[Section, ...]
    headings: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    unread: int = 0

    @property
    def text(self) -> str:
        """All material, without instructions and remarks."""
        return "\n".join(section.text for section in self.sections)


def parse_prompt(messages: Sequence[Message]) -> ParsedPrompt:
    """Return the parts of a conversation."""
    reader = _Reader()
    for message in messages:
        text, unread = _select_windows(message.content)
        reader.unread += unread
        if message.role == "system":
            reader.instructions.append(clean_text(text))
        else:
            reader.read_message(clean_text(text))
    sections = tuple(section for section in reader.sections if section.paragraphs)
    return ParsedPrompt(
        instructions="\n".join(reader.instructions),
        remarks="\n".join(reader.remarks),
        sections=sections,
        headings=tuple(reader.headings),
        sentences=tuple(_list_sentences(sections)),
        unread=reader.unread,
    )


def _list_sentences(sections: Sequence[Section]) -> list[Sentence]:
    """Return the sentences that hold content words."""
    sentences: list[Sentence] = []
    for index, section in enumerate(sections):
        for paragraph in section.paragraphs:
            for text in split_sentences(paragraph):
                words = content_words(text)
                if words:
                    sentences.append(Sentence(text, words, index))
    return sentences


def clean_text(text: str) -> str:
    """Return text without invisible characters and halves of characters, lines ended by `\\n`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub("", text).encode("utf-8", "ignore").decode("utf-8")


def split_words(text: str) -> list[str]:
    """Return all words, in lower case and in their order."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> frozenset[str]:
    """Return the stems of the different words that carry meaning."""
    words = split_words(text)
    return frozenset(stem(word) for word in words if word not in _STOP and len(word) > 1)


def stem(word: str) -> str:
    """Return the word without the commonest English endings, so that "tides" meets "tide"."""
    for ending in ("'s", "’s", "ies", "ing", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


_GENERIC_WORDS = (
    "article bullet content detail document draft eight essay five four key main message nine note "
    "paper paragraph passage point prompt question section sentence seven short six ten text "
    "thoroughly three two word".split()
)
GENERIC = frozenset(stem(word) for word in (*_ORDERS, *_DEMANDS, *_GENERIC_WORDS))
"""Stems of words of orders, which say nothing about their subject."""


def split_sentences(paragraph: str) -> list[str]:
    """Return the sentences of one paragraph.

    A full stop after an abbreviation or an initial does not end a sentence.
    """
    sentences: list[str] = []
    for part in _ENDS.split(paragraph):
        text = " ".join(part.split())
        if sentences and _ABBREVIATION.search(sentences[-1]):
            sentences[-1] = f"{sentences[-1]} {text}"
        elif text:
            sentences.append(text)
    return sentences


def _select_windows(text: str) -> tuple[str, int]:
    """Return the part of a text that is read, and the number of characters left out.

    Of a very long text that is windows spread evenly over it, which begin and end at the ends of
    lines or sentences.
    """
    if len(text) <= MAX_CHARACTERS:
        return text, 0
    step, size = len(text) / _WINDOWS, MAX_CHARACTERS // _WINDOWS
    windows: list[str] = []
    for index in range(_WINDOWS):
        begin = int(index * step)
        window = text[begin : begin + size]
        # The first window begins where the text does; the others begin behind a sentence.
        whole = re.search(r"(?:^|[.!?\n]\s)(.*[.!?\n])", window, re.DOTALL) if index else None
        windows.append(whole.group(1) if whole else window)
    kept = "\n".join(windows)
    return kept, max(0, len(text) - len(kept))


class _Reader:
    """Reader of the messages of a conversation, line by line. Mutable: it collects the parts."""

    def __init__(self) -> None:
        self.instructions: list[str] = []
        self.remarks: list[str] = []
        self.sections: list[Section] = [Section("")]
        self.headings: list[str] = []
        self.unread = 0
        self._is_labelled = False  # the section began with a label, and ends with its paragraph

    def read_message(self, text: str) -> None:
        paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
        self.sections.append(Section(""))
        for index, paragraph in enumerate(paragraphs):
            is_last = index == len(paragraphs) - 1
            at_border = index == 0 or (is_last and len(paragraph) < _SHORT_PARAGRAPH)
            self._read_paragraph(paragraph, at_border=at_border)

    def _read_paragraph(self, paragraph: str, *, at_border: bool) -> None:
        if self._is_labelled:
            self._open_section("")
        pending: list[str] = []  # lines of prose that were wrapped and belong together
        lines = paragraph.split("\n")
        for index, line in enumerate(lines):
            bare = _BULLET.sub("", line).strip()
            is_item = bare != line.strip()
            # Three cases: a heading, a line behind a label, and a line of prose or of a list.
            if self._read_heading(bare, is_alone=len(lines) == 1):
                self._flush(pending, at_border=at_border)
                continue
            label = None if is_item else _LABEL.match(bare)
            is_short = index == 0 or len(bare) < _LONGEST_LABELLED_LINE
            if label and is_short and _is_label(label.group(1)):
                self._flush(pending, at_border=at_border)
                self._open_section(label.group(1))
                self._is_labelled = True
                bare = bare[label.end() :]
            if is_item:
                self._flush(pending, at_border=at_border)
            if bare:
                pending.append(bare)
        self._flush(pending, at_border=at_border)

    def _read_heading(self, line: str, *, is_alone: bool) -> bool:
        """Return whether a line names what follows, and note it if so.

        It ends with a colon, is marked as a heading, or stands alone and is not a sentence.
        """
        if line.endswith(":") and len(line) <= _LONGEST_HEADING:
            sentences = split_sentences(line[:-1])
            self.instructions += sentences[:-1]
            self._open_section(sentences[-1] if sentences else "")
            return True
        if line.startswith("#"):
            self.headings.append(line.lstrip("# "))
            return True
        has_no_end = line[:1].isupper() and line[-1:].isalnum() and ": " not in line
        is_short = 1 < len(line.split()) <= _MOST_HEADING_WORDS
        if is_alone and has_no_end and is_short and not _is_order(line):
            self.headings.append(line)
            return True
        return False

    def _open_section(self, name: str) -> None:
        # One word alone (`Draft:`, `Review:`) is a name, even if it could be a verb.
        if _is_order(name) and " " in name:
            self.instructions.append(f"{name}:")
            name = ""
        self._is_labelled = False
        self.sections.append(Section(name.lower()))

    def _flush(self, lines: list[str], *, at_border: bool) -> None:
        """Make the collected lines a paragraph of the section, or part of the instructions."""
        text = " ".join(lines)
        lines.clear()
        if not text:
            return
        if _DEMANDS & set(split_words(self.sections[-1].name)):
            self.remarks.append(text)
            return
        if not at_border:
            self.sections[-1].paragraphs.append(text)
            return
        kept: list[str] = []
        for sentence in split_sentences(text):
            if not _is_order(sentence):
                kept.append(sentence)
                continue
            # An order may carry its material after a colon: `Research this topic: tides`.
            order, colon, rest = sentence.partition(": ")
            self.instructions.append(order + colon)
            if rest:
                kept.append(rest)
        if kept:
            self.sections[-1].paragraphs.append(" ".join(kept))


def _is_label(text: str) -> bool:
    return len(text.split()) <= _MOST_LABEL_WORDS or _is_order(text)


def _is_order(sentence: str) -> bool:
    """Return whether a sentence begins with a word of an order."""
    first = re.match(r"\W*([^\W\d_]+(?:['’][^\W\d_]+)?)", sentence)
    return first is not None and first.group(1).lower() in _ORDERS
