"""One of several specialists, chosen by a classifier.

Known failure: an input that is classified wrongly goes to the wrong specialist, unnoticed. Here
labels are typed and each has a target; below a threshold of confidence another model is asked, and
where the two do not agree either, the default route is taken. An answer that cannot be used, the
commonest failure of a weak model, counts as unsure, and a note says so. The choice is in the commit
of the classifier (its label, and the nodes that it led to), and as `route.<classifier>` in the
metadata of every model call after it.

    classify → billing | technical | default                             without a second opinion
    classify ─(invalid answer)→ classify_invalid → default

    classify → classify_unsure → second → second_route → …               with one
    classify ─(invalid answer)→ classify_invalid → second
    second ─(invalid answer)→ second_invalid → default
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.graph.builder import GraphBuilder, read_labels
from graphorch.graph.edges import Label
from graphorch.graph.payloads import Failure
from graphorch.graph.signature import Read, StateFunction
from graphorch.patterns.errors import check_score
from graphorch.patterns.pattern_builder import HiddenSlice, PatternBuilder
from graphorch.patterns.types import Chosen

DEFAULT = "default"
_SURE = "sure"


@dataclass(frozen=True, slots=True)
class Certainty:
    """When a classifier is sure enough, and the node that is asked when it is not."""

    confidence: Callable[..., Any] | None
    threshold: float
    second_opinion: Any | None


# Its name and docstring stay: they are part of fingerprints of format 1.
class Opinion(BaseModel):
    """What the router remembers: what the classifier said when it was unsure, \
and what was decided."""

    asked: bool = False
    first: str = ""
    route: str = ""


@dataclass(frozen=True, slots=True)
class _Router:
    """A router that is being drawn; `choose` returns the label for a state, or `unsure`."""

    pattern: PatternBuilder
    name: str
    by: StateFunction
    certainty: StateFunction | None
    threshold: float
    cases: tuple[tuple[Label, tuple[str, ...]], ...]
    default: tuple[str, ...]
    unsure: Label

    @property
    def reads(self) -> tuple[Read, ...]:
        if self.certainty is None:
            return tuple(self.by.reads)
        return (*self.by.reads, *self.certainty.reads)

    @property
    def targets(self) -> list[tuple[Label, tuple[str, ...]]]:
        """Labels with the nodes that they lead to, the default last."""
        if self.certainty is None:
            return list(self.cases)
        return [*self.cases, (self.unsure, self.default)]

    def label(self, slices: Sequence[Any]) -> Any:
        return self.by.fn(*slices[: len(self.by.reads)])

    def confidence(self, slices: Sequence[Any]) -> float:
        """Return how sure the classifier is. Raises `ScoreOutside` outside 0…1."""
        if self.certainty is None:
            return 1.0
        value: Any = self.certainty.fn(*slices[len(self.by.reads) : len(self.reads)])
        return check_score(self.certainty.name, value, 0, 1)

    def choose(self, *slices: Any) -> Any:
        return self.label(slices) if self.confidence(slices) >= self.threshold else self.unsure


def router(
    builder: GraphBuilder[Any],
    classify: Any,
    by: Callable[..., Any],
    routes: Mapping[Any, Any],
    default: Any,
    certainty: Certainty,
) -> None:
    """See `Graph.router`."""
    pattern = PatternBuilder(builder)
    classifier = pattern.add_step(classify, "router(classify)")
    name = pattern.find_exit(classifier)
    where = f"router of '{name}'"
    function = pattern.read_function(by, where)
    confidence: StateFunction | None = None
    if certainty.confidence is not None:
        fix = "return a number from 0 to 1"
        confidence = pattern.read_function(certainty.confidence, where, (float, int), fix)
    labels = _read_labels(pattern, where, by, routes)
    if not name or labels is None or not _check_certainty(pattern, where, certainty):
        return

    others = [label for label in labels if label not in routes]
    fallback: tuple[str, ...] = ()
    only_by_fallback: tuple[str, ...] = ()
    if confidence is not None or others:
        fallback = pattern.add_steps(default, f"{where}, default")
    elif pattern.can_ask_models(classifier):
        known = set(pattern.spec.nodes)
        fallback = pattern.add_steps(default, f"{where}, default")
        only_by_fallback = tuple(step for step in fallback if step not in known)
    else:
        pattern.add_warning(
            "ROUTER_DEFAULT",
            where,
            "its default is never taken: every label has a route, and nothing says when the "
            "classifier is unsure",
            "say how sure the classifier is (confidence=, threshold=), or use "
            "g.route(…).exhaustive()",
        )
    cases = [(label, pattern.add_steps(steps, where)) for label, steps in routes.items()]
    cases += [(label, fallback) for label in others]
    unsure = next(text for text in ("unsure", "(unsure)", "((unsure))") if text not in labels)
    drawn = _Router(
        pattern, name, function, confidence, certainty.threshold, tuple(cases), fallback, unsure
    )
    if certainty.second_opinion is None:
        pattern.add_route(name, StateFunction(drawn.choose, drawn.reads), drawn.targets)
        pattern.spec.tags[f"route.{name}"] = StateFunction(_name_route(drawn), drawn.reads)
        _draw_way_to_default(drawn, classifier, None, only_by_fallback)
    else:
        _draw_second_opinion(drawn, classifier, certainty.second_opinion)


def _read_labels(
    pattern: PatternBuilder, where: str, by: Callable[..., Any], routes: Mapping[Any, Any]
) -> tuple[Label, ...] | None:
    labels, is_set = read_labels(by)
    selector = getattr(by, "__name__", "function")
    if labels is None or is_set:
        what = f"the return type of '{selector}' does not list its labels"
        if is_set:
            what = f"'{selector}' returns several labels at once"
        fix = (
            'annotate it: def selector(…) -> Literal["a", "b"], or an Enum; several at once are '
            "for g.route()"
        )
        pattern.add_problem("ROUTER_SELECTOR", where, what, fix)
        return None
    unknown = [label for label in routes if label not in labels]
    for label in unknown:
        what = f"'{selector}' never returns {format_label(label)!r}"
        fix = f"use its labels: {', '.join(map(format_label, labels))}"
        pattern.add_problem("ROUTER_LABEL", where, what, fix)
    return None if unknown else labels


def _check_certainty(pattern: PatternBuilder, where: str, certainty: Certainty) -> bool:
    before = len(pattern.spec.problems)
    if not 0 <= certainty.threshold <= 1:
        what = f"threshold={certainty.threshold!r} is not a confidence"
        pattern.add_problem("ROUTER_THRESHOLD", where, what, "give a number from 0 to 1")
    if certainty.confidence is not None:
        if not certainty.threshold:
            what = "threshold=0 is reached by every confidence"
            fix = "give the confidence from which the label is trusted, such as 0.7"
            pattern.add_problem("ROUTER_THRESHOLD", where, what, fix)
    elif certainty.threshold or certainty.second_opinion is not None:
        what = "nothing says how sure the classifier is, so it never is unsure"
        fix = "give confidence=, a function of the slice that the classifier writes"
        pattern.add_problem("ROUTER_CONFIDENCE", where, what, fix)
    return len(pattern.spec.problems) == before


# ---- a second opinion ----------------------------------------------------------------------------
def _draw_second_opinion(router: _Router, classifier: str, second_opinion: Any) -> None:
    """Draw the second classifier, and the route in a node of its own after it.

    A sure classifier leads to that node at once; an unsure one to the second classifier first.
    """
    pattern, name = router.pattern, router.name
    second = pattern.add_step(second_opinion, "router(second_opinion)")
    if not second or not _check_second(pattern, name, second):
        return
    memory = pattern.add_memory(f"{name}_opinion", Opinion, Opinion)

    def note(ctx: NodeContext, *slices: Any) -> BaseModel:
        return memory.wrap(Opinion(asked=True, first=format_label(router.label(slices))))

    def weigh(ctx: NodeContext, *slices: Any) -> BaseModel:
        opinion: Opinion = memory.unwrap(slices[-1])
        label, confidence = format_label(router.label(slices)), router.confidence(slices)
        # An unsure opinion is trusted if the first one, unsure as well, was equal.
        is_confirmed = opinion.asked and label == opinion.first
        is_trusted = is_confirmed or confidence >= router.threshold
        route = label if is_trusted else DEFAULT
        opinions = 2 if opinion.asked else 1
        ctx.emit(
            Chosen(router=name, label=label, route=route, confidence=confidence, opinions=opinions)
        )
        return memory.wrap(Opinion(route=route))

    own = Read(memory.model)
    unsure = pattern.add_node(f"{name}_unsure", note, router.reads, (memory.model,))
    last = pattern.add_node(f"{name}_route", weigh, (*router.reads, own), (memory.model,))
    by_certainty = StateFunction(_is_sure(router), router.reads)
    pattern.add_route(name, by_certainty, [(_SURE, (last,)), (router.unsure, (unsure,))])
    pattern.add_edges(unsure, second)
    pattern.add_edges(pattern.find_exit(second), last)
    labels = {format_label(label): label for label, _ in router.cases}
    by_memory = StateFunction(_read_decision(memory, labels, router.unsure), (own,))
    pattern.add_route(last, by_memory, router.targets)
    pattern.spec.tags[f"route.{name}"] = StateFunction(_read_route(memory), (own,))
    _draw_way_to_second(router, classifier, second, memory)
    _draw_way_to_default(router, second, memory, ())


# ---- answers that cannot be used -----------------------------------------------------------------
def _draw_way_to_second(router: _Router, classifier: str, second: str, memory: HiddenSlice) -> None:
    """Lead from an invalid answer of the classifier to the second one."""
    pattern = router.pattern
    if not pattern.can_ask_models(classifier):
        return

    def note(ctx: NodeContext, failure: Failure) -> BaseModel:
        ctx.note(f"'{classifier}' gave no valid answer, so '{second}' was asked: {failure.message}")
        return memory.wrap(Opinion(asked=True))

    handler = pattern.add_node(f"{classifier}_invalid", note, (Read(Failure),), (memory.model,))
    loss = ("ROUTER_INVALID", "ends the run", f"'{second}' is asked")
    pattern.add_fallback(classifier, handler, (second,), loss)


def _draw_way_to_default(
    router: _Router, classifier: str, memory: HiddenSlice | None, nodes: Sequence[str]
) -> None:
    """Lead from an invalid answer of the last classifier to the default route.

    `nodes` are those of the default that nothing else leads to.
    """
    pattern, name = router.pattern, router.name
    if not router.default or not pattern.can_ask_models(classifier):
        return

    def note(ctx: NodeContext, failure: Failure) -> BaseModel | None:
        ctx.note(
            f"'{classifier}' gave no valid answer, so the default route was taken: "
            f"{failure.message}"
        )
        opinions = 1 if memory is None else 2
        ctx.emit(Chosen(router=name, label="", route=DEFAULT, opinions=opinions))
        return None if memory is None else memory.wrap(Opinion(route=DEFAULT))

    writes = () if memory is None else (memory.model,)
    handler = pattern.add_node(f"{classifier}_invalid", note, (Read(Failure),), writes)
    loss = ("ROUTER_INVALID", "ends the run", "the default route is taken")
    pattern.add_fallback(classifier, handler, router.default, loss, nodes=nodes)


def _check_second(pattern: PatternBuilder, name: str, second: str) -> bool:
    before = len(pattern.spec.problems)
    where = f"router of '{name}'"
    written = pattern.written_slices(second)
    lacking = [model.__name__ for model in pattern.written_slices(name) if model not in written]
    if lacking:
        what = (
            f"the second opinion '{second}' does not write {', '.join(lacking)}, as '{name}' does"
        )
        pattern.add_problem("ROUTER_OPINION", where, what, "have both write the same slice")
    model = pattern.node(second).model
    has_same_model = model and model == pattern.node(name).model != "default"
    if second == name or has_same_model:
        what = f"'{second}' asks the model of '{name}' again, which is not a second opinion"
        fix = f"ask another model: {second}.named('second').with_model('…')"
        pattern.add_problem("ROUTER_OPINION", where, what, fix)
    return len(pattern.spec.problems) == before


# ---- functions of the routes; pictures show their names ------------------------------------------
def _name_route(router: _Router) -> Callable[..., str]:
    def route(*slices: Any) -> str:
        label = router.choose(*slices)
        return DEFAULT if label == router.unsure else format_label(label)

    return route


def _is_sure(router: _Router) -> Callable[..., Hashable]:
    def is_sure(*slices: Any) -> Hashable:
        return router.unsure if router.choose(*slices) == router.unsure else _SURE

    return is_sure


def _read_decision(
    memory: HiddenSlice, labels: Mapping[str, Label], unsure: Label
) -> Callable[[BaseModel], Label]:
    def decided(slice: BaseModel) -> Label:
        route = memory.unwrap(slice).route
        return unsure if route == DEFAULT and DEFAULT not in labels else labels[route]

    return decided


def _read_route(memory: HiddenSlice) -> Callable[[BaseModel], str]:
    def route(slice: BaseModel) -> str:
        return memory.unwrap(slice).route

    return route


def format_label(label: Label) -> str:
    """Return a label as text: an enum member by its value."""
    return str(label.value) if isinstance(label, Enum) else str(label)
