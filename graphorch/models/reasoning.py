"""Take the thoughts of a model out of its answer.

Models that reason write their thoughts before the answer, between two marks, and not every endpoint
takes them out. Where the prompt already ends with the opening mark, only the closing one comes. A
closing mark that stands alone in quotes, in backticks or in JSON belongs to the answer, which may
be about such marks.
"""

from __future__ import annotations

import re

# Opening and closing marks: the usual tags, and those of Magistral, Command, OpenThinker and Kimi.
# Other tags, such as <reasoning>, are what prompts ask for: then they belong to the answer.
_TAGS = ("think", "thinking", "thought", "seed:think")
_MARKS = (
    *((f"<{tag}>", f"</{tag}>") for tag in _TAGS),
    ("[think]", "[/think]"),
    ("<|start_thinking|>", "<|end_thinking|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),
)
# gpt-oss: the channels of its format, of which only the last one is the answer.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>final\s*(?:<\|[a-z]+\|>[^<]*)*?<\|message\|>")
_CHANNEL_MARK = re.compile(r"<\|(?:end|return|start|channel|message|call)\|>")

_QUOTES = "`'\"“”‘’"
_LONGEST_MARK = max(len(mark) for pair in _MARKS for mark in pair)


def strip_reasoning(text: str) -> str:
    """Return the text without the thoughts before the answer; "" if there is nothing else."""
    if text.startswith("<|channel|>"):
        return _read_final_channel(text)
    is_stripped = False
    while (mark := _find_opening(text)) is not None:
        opening, closing = mark
        begin = len(text) - len(text.lstrip()) + len(opening)
        end = _find(text, closing, begin)
        if end < 0:
            return ""
        text = text[end + len(closing) :].lstrip()
        is_stripped = True
    return text if is_stripped else _strip_to_closing_mark(text)


class ReasoningFilter:
    """Takes thoughts out of a text that comes in pieces, as far as their opening mark shows them.

    Costs linear time, and holds back at most one mark.
    """

    def __init__(self) -> None:
        self._held = ""
        self._closing = ""  # of the thought that is being left out
        self._has_thought = False
        self._has_answer = False

    def add(self, piece: str) -> str:
        """Return what of the text can be shown now."""
        if self._has_answer or not piece:
            return piece
        self._held += piece
        while True:
            # 1. Within a thought: wait for its end.
            if self._closing:
                end = _find(self._held, self._closing, 0)
                if end < 0:
                    self._held = self._held[-(len(self._closing) - 1) :]
                    return ""
                self._held = self._held[end + len(self._closing) :]
                self._closing = ""
                self._has_thought = True
            # 2. Before the answer: another thought, or perhaps the beginning of one.
            mark = _find_opening(self._held)
            if mark is not None:
                self._held = self._held.lstrip()[len(mark[0]) :]
                self._closing = mark[1]
                continue
            if _may_become_mark(self._held):
                return ""
            self._has_answer = True
            return self.finish()

    def finish(self) -> str:
        """Return what was held back, at the end of the text."""
        shown = "" if self._closing else self._held
        self._held = ""
        return shown.lstrip() if self._has_thought else shown


def _find_opening(text: str) -> tuple[str, str] | None:
    """Return the marks of the thought that a text begins with, or None."""
    beginning = text.lstrip()[:_LONGEST_MARK].lower()
    for opening, closing in _MARKS:
        if beginning.startswith(opening):
            return opening, closing
    return None


def _may_become_mark(text: str) -> bool:
    beginning = text.lstrip().lower()
    return any(opening.startswith(beginning) for opening, _ in _MARKS)


def _find(text: str, mark: str, begin: int) -> int:
    """Return the place of a mark in any case, or -1."""
    found = re.compile(re.escape(mark), re.IGNORECASE).search(text, begin)
    return -1 if found is None else found.start()


def _strip_to_closing_mark(text: str) -> str:
    """Return what follows a closing mark without an opening one, or the text as it is."""
    if text.lstrip()[:1] in ("{", "["):
        return text
    for opening, closing in _MARKS:
        end = _find(text, closing, 0)
        if end < 0 or _find(text[:end], opening, 0) >= 0:
            continue
        after = end + len(closing)
        if text[:end].endswith(tuple(_QUOTES)) or text[after:].startswith(tuple(_QUOTES)):
            continue
        return text[after:].lstrip()
    return text


def _read_final_channel(text: str) -> str:
    final = _FINAL_CHANNEL.search(text)
    if final is None:
        return ""
    answer = text[final.end() :]
    end = _CHANNEL_MARK.search(answer)
    return answer if end is None else answer[: end.start()]
