"""A route has a target for each label that its selector can return, and none for any other."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from graphorch.errors import Problem, did_you_mean, find_closest
from graphorch.graph.checks.checked_graph import CheckedGraph, join_names
from graphorch.graph.edges import Label
from graphorch.graph.spec import RouteSpec


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`ROUTE_TWICE`, and what is wrong with the cases of one route.

    `ROUTE_SELECTOR`, `ROUTE_OPEN`, `ROUTE_LABEL`, `ROUTE_LABEL_TWICE`, `ROUTE_INCOMPLETE` and
    `ROUTE_NO_LABEL_LEFT`.
    """
    seen: set[str] = set()
    for route in graph.spec.routes:
        where = f"route of '{route.source}'"
        if route.source in seen:
            fix = "write all cases into one route, or let a node after it decide the rest"
            yield Problem("ROUTE_TWICE", where, f"node '{route.source}' has two routes", fix)
        seen.add(route.source)
        yield from _check_selector(route, where)
        yield from _check_cases(route, where)
        yield from _check_closing(route, where)


def _check_selector(route: RouteSpec, where: str) -> Iterator[Problem]:
    if route.labels is None:
        what = f"the return type of '{route.selector.name}' does not list its labels"
        labels = [f'"{label}"' for label, _ in route.cases if type(label) is str] or ['"a"', '"b"']
        if route.otherwise is not None:
            labels.append("…")
        listed = ", ".join(labels)
        yield Problem(
            "ROUTE_SELECTOR",
            where,
            what,
            f"annotate it: def selector(…) -> Literal[{listed}], an Enum, or a set of these",
        )


def _check_cases(route: RouteSpec, where: str) -> Iterator[Problem]:
    labels = [label for label, _ in route.cases]
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            fix = f"give one list: .when({_format_code(label)}, [first, second])"
            yield Problem(
                "ROUTE_LABEL_TWICE", where, f"label {_format_code(label)} has two cases", fix
            )
        if route.labels is not None and label not in route.labels:
            known = [_format_label(item) for item in route.labels]
            yield Problem(
                "ROUTE_LABEL",
                where,
                f"'{route.selector.name}' never returns {_format_code(label)}",
                did_you_mean(_format_label(label), known),
            )


def _check_closing(route: RouteSpec, where: str) -> Iterator[Problem]:
    misspelt = _list_misspelt(route)
    missing = [
        label
        for label in route.open_labels
        if route.labels is not None and _format_label(label) not in misspelt
    ]
    names = join_names([_format_label(label) for label in missing])
    if route.otherwise is None and not route.exhaustive:
        hint = f" ({names} would have no target)" if missing else ""
        yield Problem(
            "ROUTE_OPEN",
            where,
            f"it is not closed{hint}",
            "end it in .exhaustive(), or in .otherwise(node) for the rest",
        )
    elif route.exhaustive and route.otherwise is None and missing:
        subject = f"labels {names} have" if len(missing) > 1 else f"label {names} has"
        what = f"it is called exhaustive, but {subject} no target"
        yield Problem(
            "ROUTE_INCOMPLETE",
            where,
            what,
            f"add .when({_format_code(missing[0])}, node), or end it in .otherwise(node)",
        )
    elif route.otherwise is not None and route.labels is not None and not route.open_labels:
        what = "every label has a case, so otherwise() can never be taken"
        yield Problem(
            "ROUTE_NO_LABEL_LEFT",
            where,
            what,
            "end it in .exhaustive(), or drop the case that otherwise() should cover",
        )


def _list_misspelt(route: RouteSpec) -> set[str]:
    """Return the labels without a case that a case with an unknown label probably means."""
    open_labels = [_format_label(label) for label in route.open_labels]
    unknown = [label for label, _ in route.cases if label not in (route.labels or ())]
    return {find_closest(_format_label(label), open_labels) for label in unknown}


def _format_label(label: Label) -> str:
    return str(label) if not isinstance(label, Enum) else f"{type(label).__name__}.{label.name}"


def _format_code(label: Label) -> str:
    return _format_label(label) if isinstance(label, Enum) else repr(label)
