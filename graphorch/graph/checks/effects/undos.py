"""Undos of nodes: they act, write nothing, and read what is there after the node's commit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphorch.errors import Problem
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.checks.options import FORBIDDEN, check_process, name_place
from graphorch.graph.node import Node
from graphorch.graph.payloads import Failure
from graphorch.graph.plan import MapSpec, Plan, has_undo

_FORBIDDEN = {
    "gate": "it runs without a person: one who does not answer would keep all others from running",
    "cache": "a result from the cache would leave it out",
    "hedge_after": "two attempts at once could both take effect",
    "declassify": "it writes nothing, so it checks nothing",
    "undo": "what it takes back is not done again",
}


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`UNDO`, and `COMPENSATE` as a warning where nothing can be undone."""
    for node in graph.nodes:
        if node.options.undo is not None:
            yield from _check_undo(node, node.name)
    for name, spec in graph.spec.maps.items():
        if spec.worker is not None:
            path = f"{name}/{spec.worker.name}"
            yield from _check_undo(spec.worker, path)
            yield from _check_worker(spec, path)
    yield from _check_regions(graph)


def _check_undo(node: Node[Any], path: str) -> Iterator[Problem]:
    undo = node.undo
    if undo is None:
        return
    where = f"undo of '{path}'"

    def refuse(what: str, fix: str) -> Problem:
        return Problem("UNDO", where, what, fix)

    if node.options.effect == "pure":
        yield refuse(
            f"'{node.name}' has effect=\"pure\", so there is nothing to undo",
            'say what running it twice would do: effect="once" or effect="idempotent"',
        )
    if undo.kind != "node":
        yield refuse(
            f"'{undo.name}' is of kind '{undo.kind}'; an undo neither asks a model nor a person, "
            "so that it runs whatever is left of the budget",
            "give a plain function of slices, or a @node",
        )
        return
    if undo.options.effect == "pure":
        yield refuse(
            f"'{undo.name}' has effect=\"pure\", so it would undo nothing",
            'say effect="idempotent" or effect="once", or give the plain function: it acts once',
        )
    if undo.signature.writes:
        yield refuse(
            f"'{undo.name}' writes {undo.signature.writes[0].__name__}, which nothing could read",
            "let it return None",
        )
    if any(read.model is Failure for read in undo.signature.reads):
        yield refuse(
            f"'{undo.name}' reads a Failure, but what it undoes has succeeded",
            "leave it out; the reason is in the error of the run",
        )
    yield from _check_options(undo, where)


def _check_options(undo: Node[Any], where: str) -> Iterator[Problem]:
    for option, why in {**FORBIDDEN[undo.options.effect], **_FORBIDDEN}.items():
        if getattr(undo.options, option) is not None:
            yield Problem("UNDO", where, f"it cannot have {option}: {why}", f"leave {option} out")
    if undo.options.goes_out:
        what = f"it cannot have {name_place(undo.options)}: undos run where the run is"
        yield Problem("UNDO", where, what, "leave the option out")
    if undo.options.isolation == "process":
        yield from check_process(undo, where)


def _check_worker(spec: MapSpec, path: str) -> Iterator[Problem]:
    """The undo of a map's worker reads an item and its result, as a whole."""
    worker = spec.worker
    if worker is None or worker.undo is None:
        return
    known = f"{spec.item.__name__} or {spec.result.__name__}"
    for read in worker.undo.signature.reads:
        if read.model is not None and read.model not in (spec.item, spec.result, Failure):
            what = f"it reads {read.model.__name__}, but a worker has an item and its result"
            yield Problem("UNDO", f"undo of '{path}'", what, f"read {known}")


def _check_regions(graph: CheckedGraph) -> Iterator[Problem]:
    """Warn about `compensate=True` where nothing has an undo."""
    spec = graph.spec
    inside: list[tuple[str, bool]] = [
        *(
            (f"sub '{name}'", sub.flow.has_undos)
            for name, sub in spec.subs.items()
            if sub.compensate
        ),
        *(
            (f"map '{name}'", _has_undos(map_))
            for name, map_ in spec.maps.items()
            if map_.compensate
        ),
    ]
    if spec.compensate:
        flows = [*(sub.flow for sub in spec.subs.values())]
        has_own = any(has_undo(node) for node in graph.nodes)
        maps = any(_has_undos(map_) for map_ in spec.maps.values())
        inside.append((f"graph '{spec.name}'", has_own or maps or any(map(_flow_has, flows))))
    for where, can_undo in inside:
        if not can_undo:
            what = "compensate=True, but nothing inside has an undo"
            fix = "give nodes that act an undo: @node(effect=…, undo=take_back)"
            yield Problem("COMPENSATE", where, what, fix, "warning")


def _flow_has(flow: Plan) -> bool:
    return flow.has_undos


def _has_undos(spec: MapSpec) -> bool:
    if spec.flow is not None:
        return spec.flow.has_undos
    return spec.worker is not None and has_undo(spec.worker)
