"""One of several specialists, chosen by a classifier.

Known failure: what is classified wrongly goes to the wrong specialist, and nobody sees it. Labels are typed and each has a target; below
a threshold of confidence another model is asked, and where the two do not agree either, the default route is taken. What was chosen is
in the commit of the classifier (its label, and where it led), and as `route.<classifier>` in the metadata of every model call after it.

    classify → billing | technical | default                             without a second opinion
    classify → classify_unsure → second → second_route → …               with one
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.graph.builder import GraphBuilder, read_labels
from graphorch.graph.edges import Label
from graphorch.graph.signature import Read, StateFunction
from graphorch.patterns.errors import ScoreOutside
from graphorch.patterns.pattern_builder import HiddenSlice, InputSlices, PatternBuilder
from graphorch.patterns.types import Chosen

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Certainty:
    """When a classifier is sure enough, and who is asked when it is not."""

    confidence: Callable[..., Any] | None
    threshold: float
    second_opinion: Any | None


class Opinion(BaseModel):
    """What the router remembers: what the classifier said when it was unsure, and what was decided."""

    asked: bool = False
    first: str = ""
    route: str = ""


@dataclass(frozen=True, slots=True)
class _Router:
    """One router being drawn. `choose` gives the label that the state says, or `unsure`."""

    wiring: PatternBuilder
    name: str
    by: StateFunction
    sure: StateFunction | None
    threshold: float
    cases: tuple[tuple[Label, tuple[str, ...]], ...]
    default: tuple[str, ...]
    unsure: Label

    @property
    def reads(self) -> tuple[Read, ...]:
        return (*self.by.reads, *(self.sure.reads if self.sure is not None else ()))

    def label(self, given: Sequence[Any]) -> Any:
        return self.by.fn(*given[: len(self.by.reads)])

    def confidence(self, given: Sequence[Any]) -> float:
        """Raises `ScoreOutside` unless it lies between 0 and 1."""
        if self.sure is None:
            return 1.0
        value: Any = self.sure.fn(*given[len(self.by.reads) : len(self.reads)])
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or not 0 <= value <= 1
        ):
            raise ScoreOutside(self.sure.name, value, 0, 1)
        return float(value)

    def choose(self, *given: Any) -> Any:
        return self.label(given) if self.confidence(given) >= self.threshold else self.unsure

    @property
    def targets(self) -> list[tuple[Label, tuple[str, ...]]]:
        """All labels with where they lead, the default last."""
        return [*self.cases, *([(self.unsure, self.default)] if self.sure is not None else [])]


def router(
    builder: GraphBuilder[Any],
    classify: Any,
    by: Callable[..., Any],
    routes: Mapping[Any, Any],
    default: Any,
    certainty: Certainty,
) -> None:
    """See `Graph.router`."""
    wiring = PatternBuilder(builder)
    name = wiring.exit_of(wiring.one(classify, "router(classify)"))
    where = f"router of '{name}'"
    pure = wiring.pure(by, where)
    sure = wiring.pure(certainty.confidence, where) if certainty.confidence is not None else None
    labels = _labels(wiring, where, by, routes)
    if not name or labels is None or not _is_possible(wiring, where, certainty):
        return
    others = [label for label in labels if label not in routes]
    if sure is None and not others:
        fix = "say how sure the classifier is (confidence=, threshold=), or use g.route(…).exhaustive()"
        wiring.warn(
            "ROUTER_DEFAULT",
            where,
            "its default is never taken: every label has a route, and nothing says when the classifier is unsure",
            fix,
        )
        fallback: tuple[str, ...] = ()
    else:
        fallback = wiring.named(default, f"{where}, default")
    cases = [(label, wiring.named(steps, where)) for label, steps in routes.items()] + [
        (label, fallback) for label in others
    ]
    unsure = next(
        literal for literal in ("unsure", "(unsure)", "((unsure))") if literal not in labels
    )
    item = _Router(wiring, name, pure, sure, certainty.threshold, tuple(cases), fallback, unsure)
    if certainty.second_opinion is None:
        wiring.route(name, StateFunction(item.choose, item.reads), item.targets)
        wiring.blueprint.tags[f"route.{name}"] = StateFunction(_worded(item), item.reads)
    else:
        _two_opinions(item, certainty.second_opinion)


def _labels(
    wiring: PatternBuilder, where: str, by: Callable[..., Any], routes: Mapping[Any, Any]
) -> tuple[Label, ...] | None:
    labels, many = read_labels(by)
    selector = getattr(by, "__name__", "function")
    if labels is None or many:
        what = (
            f"'{selector}' returns several labels at once"
            if many
            else f"the return type of '{selector}' does not list its labels"
        )
        wiring.problem(
            "ROUTER_SELECTOR",
            where,
            what,
            'annotate it: def selector(…) -> Literal["a", "b"], or an Enum; several at once are for g.route()',
        )
        return None
    never = [label for label in routes if label not in labels]
    for label in never:
        wiring.problem(
            "ROUTER_LABEL",
            where,
            f"'{selector}' never returns {word(label)!r}",
            f"use its labels: {', '.join(map(word, labels))}",
        )
    return None if never else labels


def _is_possible(wiring: PatternBuilder, where: str, certainty: Certainty) -> bool:
    before = len(wiring.blueprint.problems)
    if not 0 <= certainty.threshold <= 1:
        wiring.problem(
            "ROUTER_THRESHOLD",
            where,
            f"threshold={certainty.threshold!r} is no confidence",
            "give a number from 0 to 1",
        )
    if certainty.confidence is None and (
        certainty.threshold or certainty.second_opinion is not None
    ):
        what = "nothing says how sure the classifier is, so it never is unsure"
        wiring.problem(
            "ROUTER_CONFIDENCE",
            where,
            what,
            "give confidence=, a function of the slice that the classifier writes",
        )
    elif certainty.confidence is not None and not certainty.threshold:
        fix = "give the confidence from which the label is trusted, such as 0.7"
        wiring.problem("ROUTER_THRESHOLD", where, "threshold=0 is reached by every confidence", fix)
    return len(wiring.blueprint.problems) == before


def _worded(router: _Router) -> Callable[..., str]:
    def route(*given: Any) -> str:
        label = router.choose(*given)
        return DEFAULT if label == router.unsure else word(label)

    return route


def _two_opinions(router: _Router, second_opinion: Any) -> None:
    """The classifier, and where it is unsure another one; then the route, in a node of its own."""
    wiring, name = router.wiring, router.name
    second = wiring.one(second_opinion, "router(second_opinion)")
    if not second or not _is_another(wiring, name, second):
        return
    memory = wiring.memory(f"{name}_opinion", Opinion, Opinion)

    def note(ctx: NodeContext, *given: Any) -> BaseModel:
        return memory.keep(Opinion(asked=True, first=word(router.label(given))))

    def weigh(ctx: NodeContext, *given: Any) -> BaseModel:
        opinion: Opinion = memory.of(given[-1])
        label, confidence = router.label(given), router.confidence(given)
        trusted = confidence >= router.threshold or (opinion.asked and word(label) == opinion.first)
        route = word(label) if trusted else DEFAULT
        ctx.emit(
            Chosen(
                router=name,
                label=word(label),
                route=route,
                confidence=confidence,
                opinions=2 if opinion.asked else 1,
            )
        )
        return memory.keep(Opinion(route=route))

    reading = InputSlices([*router.reads, Read(memory.model)])
    unsure = wiring.hidden(f"{name}_unsure", note, router.reads, (memory.model,))
    last = wiring.hidden(f"{name}_route", weigh, reading.reads, (memory.model,))
    sure: Label = "sure"
    wiring.route(
        name,
        StateFunction(_is_sure(router), router.reads),
        [(sure, (last,)), (router.unsure, (unsure,))],
    )
    wiring.edge(unsure, second)
    wiring.edge(wiring.exit_of(second), last)
    words = {word(label): label for label, _ in router.cases}
    wiring.route(
        last,
        StateFunction(_decided(memory, words, router.unsure), (Read(memory.model),)),
        router.targets,
    )
    wiring.blueprint.tags[f"route.{name}"] = StateFunction(
        _remembered(memory), (Read(memory.model),)
    )


def _is_another(wiring: PatternBuilder, name: str, second: str) -> bool:
    before = len(wiring.blueprint.problems)
    where = f"router of '{name}'"
    lacking = [
        model.__name__ for model in wiring.slices_of(name) if model not in wiring.slices_of(second)
    ]
    if lacking:
        what = (
            f"the second opinion '{second}' does not write {', '.join(lacking)}, as '{name}' does"
        )
        wiring.problem("ROUTER_OPINION", where, what, "have both write the same slice")
    if second == name or (
        wiring.node(second).model
        and wiring.node(second).model == wiring.node(name).model != "default"
    ):
        what = f"'{second}' asks the model of '{name}' again, which is no second opinion"
        wiring.problem(
            "ROUTER_OPINION",
            where,
            what,
            f"ask another model: {second}.named('second').with_model('…')",
        )
    return len(wiring.blueprint.problems) == before


def _is_sure(router: _Router) -> Callable[..., Hashable]:
    def is_sure(*given: Any) -> Hashable:
        return router.unsure if router.choose(*given) == router.unsure else "sure"

    return is_sure


def _decided(
    memory: HiddenSlice, words: Mapping[str, Label], unsure: Label
) -> Callable[[BaseModel], Label]:
    def decided(slice: BaseModel) -> Label:
        route = memory.of(slice).route
        return unsure if route == DEFAULT and DEFAULT not in words else words[route]

    return decided


def _remembered(memory: HiddenSlice) -> Callable[[BaseModel], str]:
    def route(slice: BaseModel) -> str:
        return memory.of(slice).route

    return route


def word(label: Label) -> str:
    """A label as text: an enum member by its value."""
    return str(label.value) if isinstance(label, Enum) else str(label)
