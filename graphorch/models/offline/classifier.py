"""Which of several labels fits a text best, by the words of the label and by what the prompt says about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphorch.models.offline.prompt_parser import content_words, split_words, stem
from graphorch.models.offline.summarizer import Source
from graphorch.models.offline.text_metrics import GOOD_QUALITY, TextMetrics

_YES = frozenset(
    "accept accepted approve approved done excellent fine good great high ok pass passed publish ready ship strong valid yes".split()
)
_NO = frozenset(
    "bad decline fail failed improve insufficient invalid low no poor redo reject rejected repeat retry revise rewrite weak".split()
)
_ELSE = frozenset("any default fallback general misc none other unclear unknown".split())


def choose_label(labels: Sequence[str], source: Source, measures: TextMetrics) -> str:
    """The label that fits. Labels that are judgements (approve, revise) go by the measured quality, all others by their words.

    Where nothing speaks for any of them it is the one that stands for the rest (`other`), or else the first.
    """
    judged = _judged(labels, measures)
    if judged is not None:
        return judged
    words = split_words(source.prompt.text or source.prompt.instructions)
    stems = [stem(word) for word in words]
    scores = [_fit(label, labels, source.prompt.instructions, stems) for label in labels]
    best = max(scores, default=0.0)
    if best > 0:
        return labels[scores.index(best)]
    rest = [label for label in labels if _ELSE & set(split_words(label))]
    return rest[0] if rest else labels[0]


def find_mentioned_labels(labels: Sequence[str], source: Source) -> list[str]:
    """The labels that the text speaks of, in their own order."""
    stems = [stem(word) for word in split_words(source.prompt.text)]
    return [label for label in labels if _fit(label, labels, source.prompt.instructions, stems) > 0]


def _judged(labels: Sequence[str], measures: TextMetrics) -> str | None:
    good = [label for label in labels if _YES & set(split_words(label.replace("_", " ")))]
    bad = [label for label in labels if _NO & set(split_words(label.replace("_", " ")))]
    if not good or not bad or set(good) & set(bad):
        return None
    between = [label for label in labels if label not in good and label not in bad]
    if between and measures.quality >= GOOD_QUALITY / 2 and measures.quality < GOOD_QUALITY:
        return between[0]
    return good[0] if measures.quality >= GOOD_QUALITY else bad[0]


def _fit(label: str, labels: Sequence[str], asked: str, stems: Sequence[str]) -> float:
    """How often the text uses the words of a label, or of the clause of the prompt that explains it; a shared beginning counts half."""
    own = {stem(word) for word in split_words(label.replace("_", " "))}
    explained = _explained(label, labels, asked) - own
    score = 0.0
    for word in stems:
        if word in own:
            score += 1.0
        elif any(_begin_alike(word, text) for text in own) or word in explained:
            score += 0.5
    return score


def _begin_alike(text: str, other: str) -> bool:
    shorter = min(len(text), len(other))
    return shorter >= 4 and text[:shorter] == other[:shorter]


def _explained(label: str, labels: Sequence[str], asked: str) -> frozenset[str]:
    """The words of the clauses of the prompt that speak of this label and of no other."""
    found: frozenset[str] = frozenset()
    others = [other.lower() for other in labels if other != label]
    for clause in re.split(r"[\n;.]|\),", asked.lower()):
        if label.lower() in clause and not any(other in clause for other in others):
            found |= content_words(clause)
    return found
