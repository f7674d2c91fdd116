"""Choice of the label that fits a text best.

It goes by the words of the label and by what the prompt says about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphorch.models.offline.prompt_parser import content_words, split_words, stem
from graphorch.models.offline.summarizer import Source
from graphorch.models.offline.text_metrics import GOOD_QUALITY, TextMetrics

_YES = frozenset(
    "accept accepted approve approved done excellent fine good great high ok pass passed publish "
    "ready ship strong valid yes".split()
)
_NO = frozenset(
    "bad decline fail failed improve insufficient invalid low no poor redo reject rejected repeat "
    "retry revise rewrite weak".split()
)
_OTHER = frozenset("any default fallback general misc none other unclear unknown".split())
_SHORTEST_BEGINNING = 4  # characters that two words have to share


def choose_label(labels: Sequence[str], source: Source, metrics: TextMetrics) -> str:
    """Return the label that fits best.

    Labels that are judgements (approve, revise) go by the measured quality, all others by their
    words. If no label fits, it is the one that stands for the rest (`other`), or else the first.
    """
    judgement = _choose_judgement(labels, metrics)
    if judgement is not None:
        return judgement
    instructions = source.prompt.instructions
    stems = [stem(word) for word in split_words(source.prompt.text or instructions)]
    scores = [_score_label(label, labels, instructions, stems) for label in labels]
    best = max(scores, default=0.0)
    if best > 0:
        return labels[scores.index(best)]
    catch_alls = [label for label in labels if _OTHER & set(split_words(label))]
    return catch_alls[0] if catch_alls else labels[0]


def find_mentioned_labels(labels: Sequence[str], source: Source) -> list[str]:
    """Return the labels that the text speaks of, in their own order."""
    instructions = source.prompt.instructions
    stems = [stem(word) for word in split_words(source.prompt.text)]
    return [label for label in labels if _score_label(label, labels, instructions, stems) > 0]


def _choose_judgement(labels: Sequence[str], metrics: TextMetrics) -> str | None:
    """Return the label of the measured quality, or None if the labels are not judgements."""
    good = [label for label in labels if _YES & _label_words(label)]
    bad = [label for label in labels if _NO & _label_words(label)]
    if not good or not bad or set(good) & set(bad):
        return None
    between = [label for label in labels if label not in good and label not in bad]
    if metrics.quality >= GOOD_QUALITY:
        return good[0]
    if between and metrics.quality >= GOOD_QUALITY / 2:
        return between[0]
    return bad[0]


def _score_label(
    label: str, labels: Sequence[str], instructions: str, stems: Sequence[str]
) -> float:
    """Return how often the text uses the words of a label.

    Words of the clause of the prompt that explains the label, and words that only begin alike,
    count half.
    """
    own = {stem(word) for word in _label_words(label)}
    explanation = _explaining_words(label, labels, instructions) - own
    score = 0.0
    for word in stems:
        if word in own:
            score += 1.0
        elif word in explanation or any(_begin_alike(word, other) for other in own):
            score += 0.5
    return score


def _label_words(label: str) -> set[str]:
    return set(split_words(label.replace("_", " ")))


def _begin_alike(word: str, other: str) -> bool:
    shorter = min(len(word), len(other))
    return shorter >= _SHORTEST_BEGINNING and word[:shorter] == other[:shorter]


def _explaining_words(label: str, labels: Sequence[str], instructions: str) -> frozenset[str]:
    """Return the words of the clauses of the prompt that speak of this label and of no other."""
    words: frozenset[str] = frozenset()
    others = [other.lower() for other in labels if other != label]
    for clause in re.split(r"[\n;.]|\),", instructions.lower()):
        if label.lower() in clause and not any(other in clause for other in others):
            words |= content_words(clause)
    return words
