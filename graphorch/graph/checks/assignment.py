"""A required field is assigned on every path to whoever reads it.

A path is unsafe if a reader can be *hit* by tokens of which none has passed a writer of the field. Backwards from the readers this is

    hit(v)    = true for the reader itself, false where the field is known to be assigned, else: a choice of v exists of which every
                branch hits or avoids the reader, and at least one hits it
    avoid(v)  = false for the reader itself, else: a choice of v exists of which every branch avoids the reader

so a fork is an *and*, choices (routes, errors, exhausted loops) are an *or*, and ways back are left out, because an assignment is never
taken back. A branch that races for a `need=k` join may also be left behind by the others, so there one branch that hits is enough.
Many pairs of reader and field are settled in one pass over the graph, each of them a bit.

Theory of operation, from cheap to exact: (1) forwards, what holds on every single edge into a node, and behind `need=k` what at least
n-k+1 of its n edges bring; (2) the rule above for what is left; (3) the same rule for the joins that dominate a reader, since what is
assigned there is assigned for good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from graphorch.errors import Problem
from graphorch.graph.checks import quorums
from graphorch.graph.checks.subject import CheckedGraph, Use
from graphorch.graph.edges import START_INDEX, Edge

Pair = tuple[int, int]  # a node, and the bit of a field that must be assigned when it starts
CHUNK = 4096  # pairs per pass


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`UNASSIGNED`, once for each reader and field."""
    needs = _needs(subject)
    known = _known(subject)
    open_pairs = [pair for pair in needs if not known[pair[0]] & pair[1]]
    unsafe = _still_unsafe(subject, known, _unsafe(subject, known, open_pairs))
    for pair in open_pairs:
        if pair in unsafe:
            for use in needs[pair]:
                yield _problem(subject, use, pair)


def _needs(subject: CheckedGraph) -> dict[Pair, list[Use]]:
    """What must be assigned where, and who says so. The whole state is read as far as it is assigned, so it needs nothing."""
    needs: dict[Pair, list[Use]] = defaultdict(list)
    for use in subject.uses:
        if (
            use.model is None
            or use.model is subject.blueprint.state
            or use.optional
            or use.node not in subject.analysis.reached
        ):
            continue
        mask = subject.mask(use.model) & subject.required & ~subject.given
        if use.late:
            mask &= ~subject.must_write[use.node]
        while mask:
            bit = mask & -mask
            needs[use.node, bit].append(use)
            mask ^= bit
    return needs


def _known(subject: CheckedGraph) -> list[int]:
    """For each node the fields that every edge into it brings, whatever happened."""
    known = [0] * (subject.analysis.count + 1)
    for node in subject.analysis.order:
        if node == START_INDEX:
            known[node] = subject.given & subject.required
            continue
        brought = [
            _brought(subject, known, edge)
            for edge in subject.analysis.before(node)
            if edge.source in subject.analysis.reached
        ]
        known[node] = (
            _on_enough(brought, len(brought) - subject.quorums.get(node, len(brought)) + 1)
            if node in subject.quorums
            else _on_all(brought)
        )
    return known


def _brought(subject: CheckedGraph, known: Sequence[int], edge: Edge) -> int:
    """What a token on this edge brings; a node that failed has written nothing."""
    return known[edge.source] | (subject.must_write[edge.source] if edge.kind != "error" else 0)


def _on_all(masks: Sequence[int]) -> int:
    found = masks[0] if masks else 0
    for mask in masks:
        found &= mask
    return found


def _on_enough(masks: Sequence[int], enough: int) -> int:
    """The bits that at least `enough` of the masks have."""
    counted = [0] * (max(enough, 0) + 1)
    counted[0] = -1
    for mask in masks:
        for count in range(enough, 0, -1):
            counted[count] |= counted[count - 1] & mask
    return counted[enough] if enough > 0 else 0


def _unsafe(subject: CheckedGraph, known: Sequence[int], pairs: Sequence[Pair]) -> set[Pair]:
    """The pairs for which the field may be unassigned when the node starts, by the rule above."""
    found: set[Pair] = set()
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        hit = _hits(subject, known, part)
        found.update(pair for number, pair in enumerate(part) if hit >> number & 1)
    return found


def _hits(subject: CheckedGraph, known: Sequence[int], pairs: Sequence[Pair]) -> int:
    """For each pair, as a bit, whether START hits its node while avoiding all that write its field."""
    analysis, full = subject.analysis, (1 << len(pairs)) - 1
    here, of_field = _bits(pairs)
    left_behind = _left_behind(subject, here, full)
    interesting = 0
    for field in of_field:
        interesting |= field
    hit, avoid = [0] * (analysis.count + 1), [full] * (analysis.count + 1)
    for node in reversed(analysis.order):
        settled = _pairs_of(of_field, known[node] & interesting)
        written = _pairs_of(of_field, subject.must_write[node] & interesting)
        hits = avoids = 0
        choices = [
            [edge for edge in choice if not analysis.goes_back(edge)]
            for choice in analysis.choices[node]
        ]
        for choice in filter(None, choices):
            all_avoid = all_fine = full
            some = 0
            for edge in choice:
                all_avoid &= avoid[edge.target]
                all_fine &= avoid[edge.target] | hit[edge.target] | left_behind.get(edge.target, 0)
                some |= hit[edge.target]
            avoids |= all_avoid
            hits |= all_fine & some & (full if choice[0].kind == "error" else ~written)
        own = here.get(node, 0)
        avoid[node] = (avoids if any(choices) else full) & ~own
        hit[node] = hits & ~settled | own
    return hit[START_INDEX]


def _left_behind(subject: CheckedGraph, here: dict[int, int], full: int) -> dict[int, int]:
    """For each node of a quorum's region, and the quorum itself, the pairs whose node is outside: those may do without this branch."""
    found: dict[int, int] = {}
    for join, region in quorums.regions(subject).items():
        outside = full
        for node in region:
            outside &= ~here.get(node, 0)
        for node in (join, *region):
            found[node] = found.get(node, 0) | outside
    return found


def _bits(pairs: Sequence[Pair]) -> tuple[dict[int, int], dict[int, int]]:
    """The bits of the pairs of each node, and of each field."""
    here: dict[int, int] = defaultdict(int)
    of_field: dict[int, int] = defaultdict(int)
    for number, (node, field) in enumerate(pairs):
        here[node] |= 1 << number
        of_field[field] |= 1 << number
    return here, of_field


def _pairs_of(of_field: dict[int, int], mask: int) -> int:
    found = 0
    while mask:
        bit = mask & -mask
        found |= of_field[bit]
        mask ^= bit
    return found


def _still_unsafe(subject: CheckedGraph, known: Sequence[int], unsafe: set[Pair]) -> set[Pair]:
    """Those pairs for which the field is not assigned at a join that dominates the node either."""
    above = {
        pair: [
            (node, pair[1])
            for node in subject.analysis.dominators(pair[0])
            if len(subject.shape.entering[node]) > 1
        ]
        for pair in unsafe
    }
    asked = list(dict.fromkeys(pair for pairs in above.values() for pair in pairs))
    still = _unsafe(subject, known, asked)
    return {pair for pair in unsafe if all(item in still for item in above[pair])}


def _problem(subject: CheckedGraph, use: Use, pair: Pair) -> Problem:
    name = subject.field_names(pair[1])[0]
    model = use.model.__name__ if use.model is not None else ""
    writers = [node for node in range(subject.shape.end) if subject.may_write[node] & pair[1]]
    optional = "" if use.node == subject.shape.end or use.late else f", or read `{model} | None`"
    if not writers:
        what = f"it reads {model}.{name}, which has no default, and nothing writes it"
        return Problem(
            "UNASSIGNED",
            use.where,
            what,
            f"write it in a node before, make it part of the input, or give it a default{optional}",
        )
    path = " → ".join(subject.shape.name(node) for node in _witness(subject, pair))
    what = f"it reads {model}.{name}, which has no default and is not assigned on the path {path}"
    fix = f"write it on that path too ({subject.named(writers)} may write it), or give it a default{optional}"
    return Problem("UNASSIGNED", use.where, what, fix)


def _witness(subject: CheckedGraph, pair: Pair) -> list[int]:
    """A shortest path from START to the node on which nothing surely writes the field."""
    came_from = {START_INDEX: START_INDEX}
    pending = [START_INDEX]
    for node in pending:
        for edge in subject.shape.leaving[node]:
            writes = subject.must_write[node] & pair[1] and edge.kind != "error"
            if not writes and not subject.analysis.goes_back(edge) and edge.target not in came_from:
                came_from[edge.target] = node
                pending.append(edge.target)
    path = [pair[0]]
    while path[-1] != START_INDEX and path[-1] in came_from:
        path.append(came_from[path[-1]])
    return path[::-1]
