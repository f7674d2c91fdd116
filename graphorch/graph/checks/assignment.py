"""Every required field is assigned on every path to its readers.

A path is unsafe if a reader can be *hit* by tokens of which none has passed a writer of the field.
Backwards from the readers this is

    hit(v)    = true for the reader itself, false where the field is known to be assigned, else: v
                has a choice of which every branch hits or avoids the reader, and at least one hits
    avoid(v)  = false for the reader itself, else: v has a choice of which every branch avoids the
                reader

so a fork is an *and*, choices (routes, errors, exhausted loops) are an *or*, and ways back are left
out, because an assignment is never undone. A branch that races for a `need=k` join may also be left
behind by the others, so there one branch that hits is enough. Many pairs of reader and field are
settled in one pass over the graph, each of them a bit.

Theory of operation, from cheap to exact:

1. Forwards: what every single edge into a node brings, and behind `need=k` what at least n-k+1 of
   its n edges bring.
2. The rule above, for the pairs that are left.
3. The rule above for the joins that dominate a reader: a field that is assigned there is assigned
   for good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from graphorch.errors import Problem
from graphorch.graph.analysis import Analysis
from graphorch.graph.checks.checked_graph import CheckedGraph, Use, name_path
from graphorch.graph.edges import START_INDEX, Edge

Pair = tuple[int, int]  # a node, and the bit of a field that must be assigned when it starts
CHUNK = 4096  # pairs per pass


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNASSIGNED`, once for each reader and field."""
    needs = _collect_needs(graph)
    # 1. Forwards; this settles nearly every pair.
    known = _find_assigned(graph)
    open_pairs = [pair for pair in needs if not known[pair[0]] & pair[1]]
    # 2. Backwards from the readers, and 3. from the joins above those that are left.
    unsafe = _find_unsafe(graph, known, open_pairs)
    unsafe = _recheck_at_joins(graph, known, unsafe)
    for pair in open_pairs:
        if pair in unsafe:
            for use in needs[pair]:
                yield _describe(graph, use, pair)


def _collect_needs(graph: CheckedGraph) -> dict[Pair, list[Use]]:
    """Return which fields must be assigned where, with the uses that need them.

    The whole state is read as far as it is assigned, so it needs nothing.
    """
    needs: dict[Pair, list[Use]] = defaultdict(list)
    for use in graph.uses:
        if use.model is None or use.model is graph.spec.state or use.optional:
            continue
        if use.node not in graph.analysis.reached:
            continue
        mask = graph.mask(use.model) & graph.required & ~graph.given
        # A late use sees what its own node has written.
        if use.late:
            mask &= ~graph.must_write[use.node]
        while mask:
            bit = mask & -mask
            needs[use.node, bit].append(use)
            mask ^= bit
    return needs


def _find_assigned(graph: CheckedGraph) -> list[int]:
    """Return for each node the fields that every edge into it brings in any case."""
    known = [0] * (graph.analysis.count + 1)
    for node in graph.analysis.order:
        if node == START_INDEX:
            known[node] = graph.given & graph.required
            continue
        carried: list[int] = []
        for edge in graph.analysis.before(node):
            if edge.source in graph.analysis.reached:
                carried.append(_find_carried(graph, known, edge))
        if node in graph.quorums:
            # Any k of n edges may come first: a field that n-k+1 of them carry is among them.
            enough = len(carried) - graph.quorums[node] + 1
            known[node] = _intersect_enough(carried, enough)
        else:
            known[node] = _intersect(carried)
    return known


def _find_carried(graph: CheckedGraph, known: Sequence[int], edge: Edge) -> int:
    """Return the fields that a token on this edge carries; a failed node has written nothing."""
    if edge.kind == "error":
        return known[edge.source]
    return known[edge.source] | graph.must_write[edge.source]


def _intersect(masks: Sequence[int]) -> int:
    """Return the bits that all masks have; none without masks."""
    common = masks[0] if masks else 0
    for mask in masks:
        common &= mask
    return common


def _intersect_enough(masks: Sequence[int], enough: int) -> int:
    """Return the bits that at least `enough` of the masks have."""
    if enough <= 0:
        return 0
    # Count every bit at once, in binary: counted[n] has the bits whose count has its n-th digit.
    counted = [0] * len(masks).bit_length()
    for mask in masks:
        carry = mask
        for digit, ones in enumerate(counted):
            counted[digit], carry = ones ^ carry, ones & carry
    # Compare the counts with the number, from the highest digit on.
    more, equal = 0, -1
    for digit in reversed(range(max(len(counted), enough.bit_length()))):
        ones = counted[digit] if digit < len(counted) else 0
        if enough >> digit & 1:
            equal &= ones
        else:
            more, equal = more | equal & ones, equal & ~ones
    return more | equal


def _find_unsafe(graph: CheckedGraph, known: Sequence[int], pairs: Sequence[Pair]) -> set[Pair]:
    """Return the pairs whose field may be unassigned when the node starts, by the rule above."""
    unsafe: set[Pair] = set()
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        hit = _find_hits(graph, known, part)
        unsafe.update(pair for number, pair in enumerate(part) if hit >> number & 1)
    return unsafe


def _find_hits(graph: CheckedGraph, known: Sequence[int], pairs: Sequence[Pair]) -> int:
    """Return the pairs, as bits, whose node START hits while avoiding every writer of the field."""
    analysis, full = graph.analysis, (1 << len(pairs)) - 1
    here, of_field = _number_pairs(pairs)
    left_behind = _find_left_behind(graph, here, full)
    interesting = 0
    for field in of_field:
        interesting |= field
    hit = [0] * (analysis.count + 1)
    avoid = [full] * (analysis.count + 1)
    # Targets come before their sources, since ways back are left out.
    for node in reversed(analysis.order):
        settled = _collect_pairs(of_field, known[node] & interesting)
        written = _collect_pairs(of_field, graph.must_write[node] & interesting)
        choices = _list_forward_choices(analysis, node)
        hits = 0
        avoids = 0 if choices else full
        # Choices are an *or* …
        for choice in choices:
            all_avoid = all_fine = full
            some = 0
            # … and the branches of a fork an *and*.
            for edge in choice:
                all_avoid &= avoid[edge.target]
                all_fine &= avoid[edge.target] | hit[edge.target] | left_behind.get(edge.target, 0)
                some |= hit[edge.target]
            avoids |= all_avoid
            # What the node writes stops a pair, unless the node failed.
            unwritten = full if choice[0].kind == "error" else ~written
            hits |= all_fine & some & unwritten
        own = here.get(node, 0)
        avoid[node] = avoids & ~own
        hit[node] = hits & ~settled | own
    return hit[START_INDEX]


def _list_forward_choices(analysis: Analysis, node: int) -> list[list[Edge]]:
    """Return the choices of a node without ways back, and without choices of ways back alone."""
    choices: list[list[Edge]] = []
    for choice in analysis.choices[node]:
        edges = [edge for edge in choice if not analysis.goes_back(edge)]
        if edges:
            choices.append(edges)
    return choices


def _find_left_behind(graph: CheckedGraph, here: dict[int, int], full: int) -> dict[int, int]:
    """Return for each node of a quorum's region, and the quorum, the pairs whose node is outside.

    Those pairs can do without this branch.
    """
    left_behind: dict[int, int] = {}
    for join, region in graph.regions.items():
        outside = full
        for node in region:
            outside &= ~here.get(node, 0)
        for node in (join, *region):
            left_behind[node] = left_behind.get(node, 0) | outside
    return left_behind


def _number_pairs(pairs: Sequence[Pair]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the bits of the pairs of each node, and of each field."""
    here: dict[int, int] = defaultdict(int)
    of_field: dict[int, int] = defaultdict(int)
    for number, (node, field) in enumerate(pairs):
        here[node] |= 1 << number
        of_field[field] |= 1 << number
    return here, of_field


def _collect_pairs(of_field: dict[int, int], mask: int) -> int:
    """Return the pairs, as bits, of the fields in a mask."""
    pairs = 0
    while mask:
        bit = mask & -mask
        pairs |= of_field[bit]
        mask ^= bit
    return pairs


def _recheck_at_joins(graph: CheckedGraph, known: Sequence[int], unsafe: set[Pair]) -> set[Pair]:
    """Return the pairs whose field is not assigned at a join that dominates the node either."""
    above: dict[Pair, list[Pair]] = {}
    for node, field in unsafe:
        joins = [
            join
            for join in graph.analysis.dominators(node)
            if len(graph.topology.entering[join]) > 1
        ]
        above[node, field] = [(join, field) for join in joins]
    # Several readers lie below one join: ask about it once, and in a stable order.
    join_pairs = list(dict.fromkeys(pair for pairs in above.values() for pair in pairs))
    unsafe_at_joins = _find_unsafe(graph, known, join_pairs)
    return {pair for pair in unsafe if unsafe_at_joins.issuperset(above[pair])}


def _describe(graph: CheckedGraph, use: Use, pair: Pair) -> Problem:
    name = graph.field_names(pair[1])[0]
    assert use.model is not None
    model = use.model.__name__
    writers = [node for node in range(graph.topology.end) if graph.may_write[node] & pair[1]]
    optional = ""
    if use.node != graph.topology.end and not use.late:
        optional = f", or read `{model} | None`"
    if not writers:
        what = f"it reads {model}.{name}, which has no default, and nothing writes it"
        return Problem(
            "UNASSIGNED",
            use.where,
            what,
            f"write it in a node before, make it part of the input, or give it a default{optional}",
        )
    path = name_path(graph.topology, _find_witness(graph, pair))
    what = f"it reads {model}.{name}, which has no default and is not assigned on the path {path}"
    fix = (
        f"write it on that path too ({graph.named(writers)} may write it), or give it a "
        f"default{optional}"
    )
    # a node without annotations may write any field, but none for sure: it counts on no path
    fix = graph.ask_for_annotations(writers) or fix
    return Problem("UNASSIGNED", use.where, what, fix)


def _find_witness(graph: CheckedGraph, pair: Pair) -> list[int]:
    """Return a shortest path from START to the node on which the field may stay unassigned."""
    came_from = {START_INDEX: START_INDEX}
    pending = [START_INDEX]
    for node in pending:
        for edge in graph.topology.leaving[node]:
            # A failed node has written nothing.
            writes = graph.must_write[node] & pair[1] and edge.kind != "error"
            if writes or graph.analysis.goes_back(edge) or edge.target in came_from:
                continue
            came_from[edge.target] = node
            pending.append(edge.target)
    path = [pair[0]]
    while path[-1] != START_INDEX and path[-1] in came_from:
        path.append(came_from[path[-1]])
    return path[::-1]
