"""Warnings about slices that are read before anything has written them.

Their defaults hide it: a reader without a writer before it always gets the same. A field without a
default has a check of its own, `assignment`, which is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.edges import START_INDEX
from graphorch.state.defaults import find_constant
from graphorch.state.version import UNSET


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`READ_BEFORE_WRITE`, once for each reader and slice; `NEVER_WRITTEN` if there is no writer.

    A slice of which one field is given, written before or written by its reader is as it should be:
    the reader may be after that field. So is a default that is made anew for each run, such as an
    id: all its readers get the same.
    """
    models = {use.model for use in graph.uses if use.model is not None}
    early = {model for model in models if _may_be_early(graph, model)}
    if not early:
        return
    arriving = _find_arriving(graph)
    for use in graph.uses:
        if use.model is None or use.model not in early:
            continue
        mask = graph.mask(use.model)
        if mask & (arriving[use.node] | graph.may_write[use.node]):
            continue
        writers = [node for node in range(graph.topology.end) if graph.may_write[node] & mask]
        gets = "gets None" if use.optional else "gets its defaults"
        name = use.model.__name__
        if writers:
            what = (
                f"it reads {name} before anything writes it, so it always {gets}: "
                f"{graph.named(writers)} can never run before that"
            )
            fix = f"connect a node that writes {name} before it, or make it part of the input"
            yield Problem("READ_BEFORE_WRITE", use.where, what, fix, "warning")
        else:
            what = f"it reads {name}, which nothing writes, so it always {gets}"
            fix = "write it in a node before, make it part of the input, or drop it"
            yield Problem("NEVER_WRITTEN", use.where, what, fix, "warning")


def _may_be_early(graph: CheckedGraph, model: type[BaseModel]) -> bool:
    """Return whether a slice is not given, and has constant defaults alone."""
    if model is graph.spec.state or model in graph.spec.memory:
        return False
    fields = model.model_fields.values()
    if any(find_constant(model, info) is UNSET for info in fields):
        return False
    mask = graph.mask(model)
    remembered = 0
    for slice in graph.spec.remember:
        remembered |= graph.mask(slice)
    return bool(mask) and not mask & (graph.given | remembered)


def _find_arriving(graph: CheckedGraph) -> list[int]:
    """Return for each node the fields that may have been written when it starts.

    Ways back count: what the end of a loop writes, its beginning may read. A node that failed has
    written nothing; only the way that a pattern draws for an answer that cannot be used is drawn
    for flows that do without.
    """
    topology = graph.topology
    drawn = {graph.number[name] for item in graph.spec.fallbacks for name in item.nodes}
    arriving = [0] * (topology.end + 1)
    nodes = [node for node in graph.analysis.order if node != START_INDEX]
    is_settled = False
    while not is_settled:  # once more than loops are inside each other
        is_settled = True
        for node in nodes:
            mask = arriving[node]
            for edge in topology.entering[node]:
                if edge.source == START_INDEX:
                    continue
                mask |= arriving[edge.source]
                if edge.kind != "error" or node in drawn:
                    mask |= graph.may_write[edge.source]
            if mask != arriving[node]:
                arriving[node] = mask
                is_settled = False
    return arriving
