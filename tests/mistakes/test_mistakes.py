"""What newcomers read: the text of each mistake, and the law that holds for all of them."""

from __future__ import annotations

import re
from collections import Counter

import pytest

import graphorch
from graphorch import errors
from tests.mistakes.programs import PAGE, Mistake, read_mistakes, run_mistake, write_page

PAGE_TEXT = PAGE.read_text("utf-8")
MISTAKES = read_mistakes(PAGE_TEXT)
LEAST = 80

# Python's own words, which no library can change: a coroutine or a generator that is not awaited.
RAW = {"A run is not awaited", "A stream is read without async"}
# Errors of the author's own code are repeated with their place, and without a remedy.
OWN = {"A node raises", "A loop's condition fails", "A node reads its state like a dict"}
NO_REMEDY = "does not say how to mend it"

# What belongs to the inside: names, addresses, and words of Python for what has a name of ours.
INSIDE = re.compile(
    r"Traceback|\bat 0x[0-9a-f]+|<function|<bound method|NoneType|\bNode[1-4]\b|MemoryOf_"
    r"|GraphBuilder|PatternMethods|NodeDecorator|AgentDecorator|NodeContext|__\w+__"
    r"|\b_[a-z]\w+\(|graphorch\.\w+\.\w+|Known: none|\bNone None\b|Flow\.run\b"
)
# What to do stands behind `fix: `, or begins a clause.
REMEDY = re.compile(
    r"\bfix: \S|[.?;:] (?:Did you mean|Known: |Write|Give|Return|Raise|Correct|Set|Add|Call|Answer"
    r"|Name|A graph is built before|In a unit test call|A node is part of)|write `await`"
)
# Where: what is quoted or called, an option, a parameter or a file.
PLACE = re.compile(r"'[^']+'|\w+\(\)|--\w+|\w+\.py|\b\w+=")


def find_faults(text: str) -> list[str]:
    """Return what a text lacks, or says and should not."""
    faults = [f"says {match.group()!r}" for match in INSIDE.finditer(text)]
    if not text.strip():
        faults.append("is silent")
    if not REMEDY.search(text):
        faults.append(NO_REMEDY)
    if not PLACE.search(text):
        faults.append("does not say where")
    return faults


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_mistake_reads_as_written(mistake: Mistake) -> None:
    """A mistake is answered by the text that stands on the page."""
    assert run_mistake(mistake).text == mistake.text


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_text_says_what_where_and_how(mistake: Mistake) -> None:
    """A text names a place and a remedy, and neither a traceback nor what is inside."""
    allowed = {NO_REMEDY} if mistake.title in OWN else set[str]()
    if mistake.title not in RAW:
        assert set(find_faults(mistake.text)) <= allowed


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_error_is_ours(mistake: Mistake) -> None:
    """What ends a program is an error of graphorch, never one of Python."""
    raised = re.findall(r"^(\w+(?:Error|Exception|Warning)): ", mistake.text, re.MULTILINE)
    ours = {name for home in (graphorch, errors) for name in dir(home)}
    if "write `await`" in mistake.text:
        ours.add("RuntimeWarning")  # Python says it too, once the coroutine is gone
    if mistake.title not in RAW:
        assert set(raised) <= ours


def test_exceptions_from_the_law_are_on_the_page() -> None:
    """What the law leaves out exists, and is little."""
    titles = {mistake.title for mistake in MISTAKES}
    assert titles >= RAW | OWN
    assert len(RAW | OWN) <= 5


def test_page_holds_enough_different_mistakes() -> None:
    """The page has eighty mistakes or more, none of them twice."""
    assert len(MISTAKES) >= LEAST
    assert PAGE_TEXT.count("\n### ") == len(MISTAKES)
    for part in ("title", "program"):
        counts = Counter((getattr(mistake, part), mistake.command) for mistake in MISTAKES)
        assert [value for value, count in counts.items() if count > 1] == []
    assert write_page(PAGE_TEXT, MISTAKES) == PAGE_TEXT


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is silent"),
        ("TypeError: 'Node2' object is not callable\n", "says 'Node2'"),
        ("InputError: 'x' is wrong.\n", "does not say how to mend it"),
        ("it is wrong. Write it anew\n", "does not say where"),
        ("error: <function f at 0x7f00>. Use 'x'.\n", "says '<function'"),
    ],
)
def test_faults_of_texts_are_found(text: str, fault: str) -> None:
    """A law that cannot fail guards nothing."""
    assert fault in find_faults(text)
