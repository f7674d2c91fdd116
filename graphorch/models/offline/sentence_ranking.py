"""Ranking of sentences by importance: PageRank over the similarity of sentences.

The method is TextRank (R. Mihalcea and P. Tarau, "TextRank: Bringing Order into Texts", EMNLP
2004), with words weighed by how rare they are, a prior for sentences that stand early, and a gain
for sentences about the question. The iteration is written out here because the one of networkx
needs numpy and scipy, many times the size of everything else that this package installs.

Sums over sets of words are `fsum`s: exact, so that the order of a set, which changes from process
to process, cannot show in a rank.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from graphorch.models.offline.prompt_parser import Sentence

MAX_COMPARED = 240
"""Sentences that are compared with each other; the cost grows with the square."""

_PER_STRETCH = 8  # candidates from each stretch of a long text
_COMMON_WORDS = 200
_NEIGHBOURS = 12
_DAMPING = 0.85
_ROUNDS = 40
_FOCUS = 4.0  # gain of a sentence that speaks of all words of the question
_REPEATS = 0.6  # similarity from which two sentences say the same
_RARITY_OF_SINGLE = 0.3  # of a word that occurs once, and so connects no sentences

_SUBORDINATE = frozenset(
    "although as because before if once since though unless until when whereas while".split()
)
_DATA = re.compile(r"\b\d{4}-\d{2}-\d{2}\b|@\w|https?://")
_LEANING = frozenset(
    "also and both but finally first he however it second she so still such that then therefore "
    "these they third this those thus yet".split()
)


def rank_sentences(sentences: Sequence[Sentence], asked: frozenset[str]) -> list[int]:
    """Return indices of sentences, the most important first, without repetitions of a better one.

    `asked` are the words of the question. A sentence that is far too long or too short to be one
    ranks behind the others. Costs O(n) to choose `MAX_COMPARED` candidates, spread over the text,
    and O(MAX_COMPARED²) to compare them.
    """
    rarity = _compute_rarity(sentences)
    candidates = _select_candidates(sentences, rarity, asked)
    # 1. Importance by the links between sentences.
    links = _link_similar([sentences[index] for index in candidates], rarity)
    prior = [_compute_prior(sentences[index], index, len(sentences)) for index in candidates]
    importance = pagerank(links, prior)
    # 2. A gain for the share of the question that a sentence speaks of.
    question_weight = math.fsum(rarity[word] for word in asked & rarity.keys()) or 1.0
    scores: list[float] = []
    for score, index in zip(importance, candidates, strict=True):
        sentence = sentences[index]
        answered = math.fsum(rarity[word] for word in sentence.words & asked)
        relevance = answered / question_weight * _rate_shape(sentence)
        scores.append(score * (1 + _FOCUS * relevance))
    # 3. The best first, and no repetitions.
    best = sorted(range(len(candidates)), key=lambda place: (-scores[place], candidates[place]))
    return _drop_repetitions([candidates[place] for place in best], sentences)


def pagerank(links: Sequence[Mapping[int, float]], prior: Sequence[float]) -> list[float]:
    """Return the share of visits of each node under a random walk with restarts.

    Parameters
    ----------
    links: for each node its targets and their weights; a node without targets restarts the walk.
    prior: weights of the nodes at a restart, which happens with probability 0.15 at each step.

    Returns the shares, which sum to 1, after 40 rounds of power iteration: O(40 · number of links).

    S. Brin and L. Page, "The anatomy of a large-scale hypertextual Web search engine", 1998.
    """
    total = math.fsum(prior)
    if total > 0:
        start = [weight / total for weight in prior]
    else:
        start = [1 / max(1, len(prior))] * len(prior)
    outgoing = [math.fsum(targets.values()) for targets in links]
    scores = start
    for _ in range(_ROUNDS):
        # The score of nodes without links goes back to the start, or it would be lost.
        stranded = math.fsum(score for score, out in zip(scores, outgoing, strict=True) if not out)
        restarts = 1 - _DAMPING + _DAMPING * stranded
        arriving = [restarts * weight for weight in start]
        for node, targets in enumerate(links):
            if targets:
                share = _DAMPING * scores[node] / outgoing[node]
                for target, weight in targets.items():
                    arriving[target] += share * weight
        scores = arriving
    return scores


def similarity(words: frozenset[str], other: frozenset[str]) -> float:
    """Return Dice's coefficient of two sets of words: 0 without common words, 1 if equal."""
    if not words and not other:
        return 1.0
    return 2 * len(words & other) / (len(words) + len(other))


def depends_on_previous(text: str) -> bool:
    """Return whether a sentence leans on the one before it, so that it says little by itself."""
    first = text.split(maxsplit=1)[0].strip("\"'“‘(").rstrip(",").lower()
    return first in _LEANING


def _compute_rarity(sentences: Sequence[Sentence]) -> dict[str, float]:
    """Return the weight of each word: the rarer, the more, but little if it occurs only once."""
    counts = Counter(word for sentence in sentences for word in sentence.words)
    rarity: dict[str, float] = {}
    for word, count in counts.items():
        rarity[word] = _RARITY_OF_SINGLE
        if count > 1:
            rarity[word] = math.log(1 + len(sentences) / count)
    return rarity


def _select_candidates(
    sentences: Sequence[Sentence], rarity: Mapping[str, float], asked: frozenset[str]
) -> list[int]:
    """Return the best sentences of each stretch of the text by their words alone.

    No part of a long text is ignored.
    """
    if len(sentences) <= MAX_COMPARED:
        return list(range(len(sentences)))
    stretches = MAX_COMPARED // _PER_STRETCH
    counts = Counter(word for sentence in sentences for word in sentence.words)
    common = set(sorted(counts, key=lambda word: (-counts[word], word))[:_COMMON_WORDS])

    def sort_key(index: int) -> tuple[float, int]:
        sentence = sentences[index]
        content = math.fsum(rarity[word] for word in sentence.words & common)
        content += 3 * len(sentence.words & asked)
        # The constant keeps very short sentences from winning by their density.
        density = content / (8 + len(sentence.words))
        return -density * _rate_shape(sentence), index

    chosen: list[int] = []
    for stretch in range(stretches):
        begin = len(sentences) * stretch // stretches
        end = len(sentences) * (stretch + 1) // stretches
        chosen += sorted(range(begin, end), key=sort_key)[: MAX_COMPARED // stretches]
    return sorted(chosen)


def _link_similar(
    sentences: Sequence[Sentence], rarity: Mapping[str, float]
) -> list[dict[int, float]]:
    """Return for each sentence the most similar others, with the cosine of their word weights.

    An index of the words finds them, so that sentences without a common word are never compared.
    """
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for place, sentence in enumerate(sentences):
        for word in sorted(sentence.words):
            holders[word].append(place)
    norms = [
        math.sqrt(math.fsum(rarity[word] ** 2 for word in sentence.words)) or 1.0
        for sentence in sentences
    ]
    links: list[dict[int, float]] = []
    for place, sentence in enumerate(sentences):
        products: defaultdict[int, float] = defaultdict(float)
        for word in sorted(sentence.words):
            for other in holders[word]:
                if other != place:
                    products[other] += rarity[word] ** 2
        # By weight, and among equals by place: it is negative, since the order is reversed.
        weighted = [
            (product / (norms[place] * norms[other]), -other) for other, product in products.items()
        ]
        weighted.sort(reverse=True)
        links.append({-other: weight for weight, other in weighted[:_NEIGHBOURS]})
    return links


def _compute_prior(sentence: Sentence, index: int, count: int) -> float:
    """Return the weight of a sentence for a reader who starts: early, and built like a sentence."""
    return (1.0 + math.exp(-index / max(1.0, count / 10))) * _rate_shape(sentence)


def _rate_shape(sentence: Sentence) -> float:
    """Return 1 for a sentence that can be quoted, and less for others.

    Those are scraps, bylines, endless sentences, questions, and beginnings in the middle of a
    thought.
    """
    length = len(sentence.text.split())
    rating = 0.15
    if 6 <= length <= 40:
        rating = 1.0
    elif 4 <= length <= 60:
        rating = 0.5
    if sentence.text[-1] not in ".!…。”\"')":
        rating *= 0.6
    if depends_on_previous(sentence.text):
        rating *= 0.7
    if sentence.text.split(maxsplit=1)[0].lower() in _SUBORDINATE:
        rating *= 0.8
    if _DATA.search(sentence.text):
        rating *= 0.5
    return rating


def _drop_repetitions(order: Sequence[int], sentences: Sequence[Sentence]) -> list[int]:
    """Return the order without sentences that repeat a better one."""
    kept: list[int] = []
    texts: set[str] = set()
    for index in order:
        sentence = sentences[index]
        text = sentence.text.casefold()
        if text in texts:
            continue
        if all(similarity(sentence.words, sentences[other].words) < _REPEATS for other in kept):
            kept.append(index)
            texts.add(text)
    return kept
