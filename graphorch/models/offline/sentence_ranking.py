"""Which sentences of a text matter most: PageRank over the similarity of sentences.

The method is TextRank (Mihalcea and Tarau, "TextRank: Bringing Order into Texts", EMNLP 2004), with words weighed by how rare they are,
a prior for what stands early, and a gain for what was asked about. The iteration is written out here because the one of networkx needs
numpy and scipy, many times the size of everything else that this package installs.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from graphorch.models.offline.prompt_parser import Sentence

# Sums over sets of words are `fsum`s: exact, so that the order of a set, which changes from process to process, cannot show in a rank.
MAX_COMPARED = 240  # sentences that are compared with each other; the cost grows with the square
_NEIGHBOURS = 12
_DAMPING = 0.85
_ROUNDS = 40
_FOCUS = 4.0  # how many times a sentence gains that speaks of everything that was asked about
_SAME = 0.6  # similarity from which two sentences say the same


def rank_sentences(sentences: Sequence[Sentence], asked: frozenset[str]) -> list[int]:
    """Indices of sentences, the most important first, without those that repeat a better one.

    `asked` are the words of the question. A sentence that is far too long or too short to be one ranks behind the others.
    Costs O(n) to choose `MOST` candidates, spread over the text, and O(MOST²) to compare them.
    """
    rarity = _rarity(sentences)
    candidates = _candidates(sentences, rarity, asked)
    links = _links([sentences[index] for index in candidates], rarity)
    prior = [_prior(sentences[index], index, len(sentences)) for index in candidates]
    known = math.fsum(rarity[word] for word in asked & rarity.keys()) or 1.0
    about = [
        math.fsum(rarity[word] for word in sentences[index].words & asked)
        / known
        * _shape(sentences[index])
        for index in candidates
    ]
    scores = [
        score * (1 + _FOCUS * share)
        for score, share in zip(pagerank(links, prior), about, strict=True)
    ]
    best = sorted(range(len(candidates)), key=lambda place: (-scores[place], candidates[place]))
    return _different([candidates[place] for place in best], sentences)


def pagerank(links: Sequence[Mapping[int, float]], prior: Sequence[float]) -> list[float]:
    """The share of visits that each place gets from a reader who follows weighted links, and now and then starts anew at the prior."""
    total = sum(prior)
    start = (
        [number / total for number in prior] if total > 0 else [1 / max(1, len(prior))] * len(prior)
    )
    outgoing = [sum(mapping.values()) for mapping in links]
    scores = start
    for _ in range(_ROUNDS):
        stranded = sum(score for score, out in zip(scores, outgoing, strict=True) if not out)
        arriving = [(1 - _DAMPING + _DAMPING * stranded) * number for number in start]
        for place, targets in enumerate(links):
            if targets:
                share = _DAMPING * scores[place] / outgoing[place]
                for target, weight in targets.items():
                    arriving[target] += share * weight
        scores = arriving
    return scores


def similarity(item: frozenset[str], other: frozenset[str]) -> float:
    """How much two sets of words have in common: 0 is nothing, 1 is all (Dice's coefficient)."""
    return 2 * len(item & other) / (len(item) + len(other)) if item or other else 1.0


def _rarity(sentences: Sequence[Sentence]) -> dict[str, float]:
    """How much a word tells: the rarer, the more; but one that occurs once connects nothing."""
    counts = Counter(word for sentence in sentences for word in sentence.words)
    return {
        word: math.log(1 + len(sentences) / count) if count > 1 else 0.3
        for word, count in counts.items()
    }


def _candidates(
    sentences: Sequence[Sentence], rarity: Mapping[str, float], asked: frozenset[str]
) -> list[int]:
    """The best sentences of each stretch of the text by their words alone, so that no part of a long text is ignored."""
    if len(sentences) <= MAX_COMPARED:
        return list(range(len(sentences)))
    stretches = MAX_COMPARED // 8
    counts = Counter(word for sentence in sentences for word in sentence.words)
    common = set(sorted(counts, key=lambda word: (-counts[word], word))[:200])

    def weight(index: int) -> float:
        words = sentences[index].words
        told = math.fsum(rarity[word] for word in words & common) + 3 * len(words & asked)
        return told / (8 + len(words)) * _shape(sentences[index])

    chosen: list[int] = []
    for stretch in range(stretches):
        inside = range(
            len(sentences) * stretch // stretches, len(sentences) * (stretch + 1) // stretches
        )
        chosen += sorted(inside, key=lambda index: (-weight(index), index))[
            : MAX_COMPARED // stretches
        ]
    return sorted(chosen)


def _links(sentences: Sequence[Sentence], rarity: Mapping[str, float]) -> list[dict[int, float]]:
    """For each sentence the most similar others; found by way of the words, so that strangers are never compared."""
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for place, sentence in enumerate(sentences):
        for word in sorted(sentence.words):
            holders[word].append(place)
    sizes = [
        math.sqrt(math.fsum(rarity[word] ** 2 for word in sentence.words)) or 1.0
        for sentence in sentences
    ]
    links: list[dict[int, float]] = []
    for place, sentence in enumerate(sentences):
        common: defaultdict[int, float] = defaultdict(float)
        for word in sorted(sentence.words):
            for other in holders[word]:
                if other != place:
                    common[other] += rarity[word] ** 2
        close = sorted(
            ((weight / (sizes[place] * sizes[other]), -other) for other, weight in common.items()),
            reverse=True,
        )
        links.append({-other: weight for weight, other in close[:_NEIGHBOURS]})
    return links


def _prior(sentence: Sentence, index: int, count: int) -> float:
    """Where a reader would start: at the beginning, and at what is built like a sentence."""
    return (1.0 + math.exp(-index / max(1.0, count / 10))) * _shape(sentence)


def _shape(sentence: Sentence) -> float:
    """1 for a sentence that can be quoted; less for scraps, bylines, endless ones, questions, and what begins in the middle of a thought."""
    length = len(sentence.text.split())
    size = 1.0 if 6 <= length <= 40 else 0.5 if 4 <= length <= 60 else 0.15
    ends = 1.0 if sentence.text[-1] in ".!…。”\"')" else 0.6
    stands = 0.7 if depends_on_previous(sentence.text) else 1.0
    begins = 0.8 if sentence.text.split(maxsplit=1)[0].lower() in _SUBORDINATE else 1.0
    data = 0.5 if _DATA.search(sentence.text) else 1.0
    return size * ends * stands * begins * data


def depends_on_previous(text: str) -> bool:
    """Whether a sentence leans on the one before it, so that it says little by itself."""
    first = text.split(maxsplit=1)[0].strip("\"'“‘(").rstrip(",").lower()
    return first in _LEANING


_SUBORDINATE = frozenset(
    "although as because before if once since though unless until when whereas while".split()
)
_DATA = re.compile(r"\b\d{4}-\d{2}-\d{2}\b|@\w|https?://")
_LEANING = frozenset(
    "also and both but finally first he however it second she so still such that then therefore these they third this those thus yet".split()
)


def _different(order: Sequence[int], sentences: Sequence[Sentence]) -> list[int]:
    """The order without sentences that say again what a better one has said."""
    kept: list[int] = []
    texts: set[str] = set()
    for index in order:
        text = sentences[index].text.casefold()
        if text not in texts and all(
            similarity(sentences[index].words, sentences[other].words) < _SAME for other in kept
        ):
            kept.append(index)
            texts.add(text)
    return kept
