"""Warnings: what is written in vain, and what is read but never there."""

from __future__ import annotations

from collections.abc import Iterator

from graphorch.errors import Problem
from graphorch.graph.checks.subject import CheckedGraph


def check(subject: CheckedGraph) -> Iterator[Problem]:
    """`UNREAD_WRITE` and `NEVER_WRITTEN`."""
    yield from _unread(subject)
    yield from _partly(subject)


def _unread(subject: CheckedGraph) -> Iterator[Problem]:
    """Fields that no node, function or output reads. Whoever reads the whole state reads everything."""
    if any(use.model is None or use.model is subject.blueprint.state for use in subject.uses):
        return
    read = 0
    for use in subject.uses:
        read |= subject.mask(use.model) if use.model is not None else 0
    for model in subject.blueprint.remember:
        read |= subject.mask(model)  # by the next turn
    for index, node in enumerate(subject.nodes):
        if not node.options.asks_models:
            continue  # a pattern's own node: it may tell what nobody asks for
        names = [f"'{name}'" for name in subject.field_names(subject.may_write[index] & ~read)]
        if names and not subject.writes_anything(index):
            what = f"nothing reads {', '.join(names)}, which it writes"
            yield Problem(
                "UNREAD_WRITE",
                f"node '{node.name}'",
                what,
                "read it, make it part of the output, or drop it",
                "warning",
            )


def _partly(subject: CheckedGraph) -> Iterator[Problem]:
    """Slices of which a field is written by nobody while another one is: that field always is its default, which is hardly meant."""
    written = subject.given
    for mask in subject.may_write:
        written |= mask
    told: set[str] = set()
    for use in subject.uses:
        model = use.model
        if model is None or model is subject.blueprint.state or model.__name__ in told:
            continue
        mask = subject.mask(model)
        missing = mask & ~written & ~subject.required  # a required one is an error of its own
        if missing and mask & written:
            told.add(model.__name__)
            names = ", ".join(f"'{name}'" for name in subject.field_names(missing))
            what = f"it reads {model.__name__}, of which nothing writes {names}: always the default"
            yield Problem(
                "NEVER_WRITTEN",
                use.where,
                what,
                "write it in a node, or move it to a slice of its own",
                "warning",
            )
