"""Warnings about fields that are written but never read, set in vain, or never written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from graphorch.callables import list_set_attributes
from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.node import Node
from graphorch.graph.signature import inspect_callable


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNREAD_WRITE`, `LOST_CHANGE` and `NEVER_WRITTEN`."""
    yield from _check_unread(graph)
    yield from _check_lost_changes(graph)
    yield from _check_never_written(graph)


def _check_unread(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield fields that no node, function or output reads.

    A reader of the whole state reads everything.
    """
    if any(use.model is None or use.model is graph.spec.state for use in graph.uses):
        return
    read = 0
    for use in graph.uses:
        if use.model is not None:
            read |= graph.mask(use.model)
    # The next turn reads what a flow remembers.
    for model in graph.spec.remember:
        read |= graph.mask(model)
    for index, node in enumerate(graph.nodes):
        # A pattern's own node may write a report that is not read.
        if not node.options.asks_models:
            continue
        names = [f"'{name}'" for name in graph.field_names(graph.may_write[index] & ~read)]
        if names and not graph.writes_anything(index):
            what = f"it writes {', '.join(names)}, which is never read"
            yield Problem(
                "UNREAD_WRITE",
                f"node '{node.name}'",
                what,
                "read it, make it part of the output, or drop it",
                "warning",
            )


def _check_lost_changes(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield nodes that set a field of a slice which they do not return.

    What a node reads is a copy of its own, which no other node sees.
    """
    # One function may be many nodes.
    functions = {id(node.fn): node.fn for node in graph.nodes}
    changes = {key: list_set_attributes(fn) for key, fn in functions.items()}
    for node in graph.nodes:
        changed = changes[id(node.fn)]
        if not changed or node.kind != "node" or not node.options.asks_models:
            continue
        models = _list_parameters(node)
        for parameter, attribute in changed:
            model = models.get(parameter)
            if model is None or attribute not in model.model_fields:
                continue
            if not any(attribute in written.model_fields for written in node.signature.writes):
                what = (
                    f"it sets '{parameter}.{attribute}' of its own copy of {model.__name__}, "
                    "which no other node sees"
                )
                fix = f"return the slice that it changes: -> {model.__name__}"
                yield Problem("LOST_CHANGE", f"node '{node.name}'", what, fix, "warning")


def _list_parameters(node: Node[Any]) -> dict[str, type[BaseModel]]:
    """Return the slices that the function of a node reads, by the names of its parameters."""
    names = list(inspect_callable(node.fn).parameters)[node.signature.has_context :]
    reads = node.signature.reads
    return {name: read.model for name, read in zip(names, reads, strict=False) if read.model}


def _check_never_written(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield slices of which one field is written and another one never is.

    That other field always has its default, which is hardly what the author meant.
    """
    written = graph.given
    for mask in graph.may_write:
        written |= mask
    reported: set[str] = set()
    for use in graph.uses:
        model = use.model
        if model is None or model is graph.spec.state or model.__name__ in reported:
            continue
        mask = graph.mask(model)
        missing = mask & ~written & ~graph.required  # a required one is an error of its own
        if missing and mask & written:
            reported.add(model.__name__)
            names = ", ".join(f"'{name}'" for name in graph.field_names(missing))
            what = (
                f"it reads {model.__name__}, of which {names} is never written: it always has "
                "its default"
            )
            yield Problem(
                "NEVER_WRITTEN",
                use.where,
                what,
                "write it in a node, or move it to a slice of its own",
                "warning",
            )
