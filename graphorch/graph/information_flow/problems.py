"""Problems of marked values: what each mark forbids, the way that leads there, and the ways out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphorch.callables import find_loaded_names
from graphorch.errors import Problem
from graphorch.graph.information_flow.inspected_graph import (
    InspectedGraph,
    InspectedNode,
    split_mask,
)
from graphorch.graph.information_flow.paths import PathFinder, Place, Reason, join_hops
from graphorch.graph.information_flow.propagation import Spread
from graphorch.text import join_limited

_MANY = 6  # names that a message lists
_ASK = "let a person decide on the way (graph.ask)"
_CHECK = 'declare a check on the way: @node(declassify="what it checks")'
_FIX_EFFECT = f'{_ASK} or here (gate="before"), or {_CHECK}'
_FIX_TOOL = f"have a person approve each call: @tool(approve=True); or {_ASK}, or {_CHECK}"
_FIX_OWN_TOOL = (
    "have a person approve each call: @tool(approve=True); or let another agent read what the "
    "untrusted tools give, and put a person (graph.ask) or a check between the two"
)
_FIX_SECRET = (
    f"leave it out, {_ASK}, or declare a check that writes what may be shown: "
    '@node(declassify="what it checks")'
)

_FIX_KEY = f"give a key that may be shown, such as an id; or {_ASK}, or {_CHECK}"


class Report:
    """Problems of one mark in one graph at the path `prefix`.

    `before` are the ways around the graph that the mark, or a decision, came by.
    """

    def __init__(
        self,
        graph: InspectedGraph,
        finder: PathFinder,
        before: Mapping[Reason, Sequence[str]],
        prefix: str,
    ) -> None:
        self._graph = graph
        self._finder = finder
        self._spread = finder.spread
        self._before = before
        self._prefix = prefix

    def list_problems(self) -> Iterator[Problem]:
        """Yield `UNTRUSTED_FLOW` or `SECRET_FLOW` for each thing that a mark must not reach."""
        for index, inspected in enumerate(self._graph.nodes):
            if self._spread.mark == "untrusted":
                yield from self._check_effect(index, inspected)
                yield from self._check_undo(index, inspected)
                yield from self._check_tools(index, inspected)
            else:
                yield from self._check_models(index, inspected)
                yield from self._check_key(index, inspected)
        # The output of a flow inside goes to the graph around it, which has its own tags.
        if self._spread.mark == "secret" and not self._prefix:
            yield from self._check_output()
            yield from self._check_tags()

    # ---- untrusted values ------------------------------------------------------------------------
    def _check_effect(self, index: int, inspected: InspectedNode) -> Iterator[Problem]:
        if not inspected.has_effect or inspected.check or inspected.lets_person_decide:
            return
        effect = f'its effect (effect="{inspected.node.options.effect}")'
        goals = self._list_ways_in(index, inspected)
        if goals:
            yield self._describe(index, f"untrusted values reach {effect}", goals, _FIX_EFFECT)
        if index in self._spread.decided:
            what = f"untrusted values decide whether {effect} happens"
            yield self._describe(index, what, [Place("decided", index)], _FIX_EFFECT)

    def _check_undo(self, index: int, inspected: InspectedNode) -> Iterator[Problem]:
        """Check what an undo reads: the state behind its node. No person agrees before it acts."""
        fields = inspected.undone_with & self._spread.leaving[index]
        goals = [Place("after", index, field) for field in split_mask(fields)]
        if goals:
            fix = f"leave it out of what the undo reads, or {_CHECK}"
            yield self._describe(index, "untrusted values reach its undo, which acts", goals, fix)

    def _check_tools(self, index: int, inspected: InspectedNode) -> Iterator[Problem]:
        if not inspected.acting_tools:
            return
        acting = f"its {_name_tools(inspected.acting_tools)}"
        if inspected.untrusted_tools:
            given = _name_tools(inspected.untrusted_tools)
            what = f"what its untrusted {given} gives reaches the arguments of {acting}"
            yield self._describe(index, what, [Place("touched", index)], _FIX_OWN_TOOL)
        if inspected.lets_person_decide:
            return
        goals = self._list_ways_in(index, inspected)
        if goals:
            what = f"untrusted values reach the arguments of {acting}"
            yield self._describe(index, what, goals, _FIX_TOOL)
        if index in self._spread.decided:
            what = f"untrusted values decide whether {acting} may be called"
            yield self._describe(index, what, [Place("decided", index)], _FIX_TOOL)

    def _list_ways_in(self, index: int, inspected: InspectedNode) -> list[Place]:
        """Return the places by which a node reads marked values."""
        fields = inspected.reads & self._spread.arriving[index]
        places = [Place("before", index, field) for field in split_mask(fields)]
        if inspected.takes_failure:
            places += [
                Place("fails", edge.source)
                for edge in self._graph.topology.entering[index]
                if edge.kind == "error" and self._spread.touched[edge.source]
            ]
        return places

    # ---- secrets ---------------------------------------------------------------------------------
    def _check_models(self, index: int, inspected: InspectedNode) -> Iterator[Problem]:
        if inspected.lets_person_decide or inspected.check or not asks_models(inspected):
            return
        goals = self._list_ways_in(index, inspected)
        if not goals:
            return
        what = "a secret reaches the prompt of its model"
        if inspected.node.kind != "agent":
            what = "a secret reaches ctx.complete(), which sends it to a model"
        yield self._describe(index, what, goals, _FIX_SECRET)

    def _check_key(self, index: int, inspected: InspectedNode) -> Iterator[Problem]:
        """Check the key of a signal that a node waits for, or that ends it."""
        fields = inspected.key_reads & self._spread.arriving[index]
        goals = [Place("before", index, field) for field in split_mask(fields)]
        if goals:
            what = (
                f"a secret becomes the key of signal '{inspected.signal}', which journals, "
                "pictures and messages show"
            )
            yield self._describe(index, what, goals, _FIX_KEY)

    def _check_output(self) -> Iterator[Problem]:
        end = self._graph.topology.end
        goals = [
            Place("before", end, field)
            for field in split_mask(self._spread.arriving[end] & self._graph.output)
        ]
        if goals:
            where = f"output of graph '{self._graph.name}'"
            yield self._describe(
                end, "a secret reaches the output of the run", goals, _FIX_SECRET, where
            )

    def _check_tags(self) -> Iterator[Problem]:
        """Check the tags: they are read anew for each model call, wherever that is made."""
        for name, reads in self._graph.tags:
            goals = [
                Place("before", index, field)
                for index, arriving in enumerate(self._spread.arriving)
                for field in split_mask(arriving & reads)
            ]
            if goals:
                what = "a secret reaches the labels of model calls"
                fix = "leave it out of the tag"
                yield self._describe(goals[0].node, what, goals, fix, f"tag '{name}'")

    # ---- in words --------------------------------------------------------------------------------
    def _describe(
        self, index: int, what: str, goals: Sequence[Place], fix: str, where: str = ""
    ) -> Problem:
        """Return a problem with the shortest way to one of some places."""
        way = self._finder.find(goals)
        hops = self._finder.put_into_words(way, self._before, self._prefix)
        if goals[0].kind == "fails":
            hops.append(f"'{self._prefix}{self._graph.name_of(index)}' (reads the Failure)")
        code = "UNTRUSTED_FLOW" if self._spread.mark == "untrusted" else "SECRET_FLOW"
        where = where or f"node '{self._prefix}{self._graph.name_of(index)}'"
        return Problem(code, where, f"{what}: {join_hops(hops)}", fix)


def asks_models(inspected: InspectedNode) -> bool:
    """Return whether a node is an agent, or its code asks a model by itself.

    That is plain to see where its function names `complete`. A function that hands its context to
    another one is refused by the run, when it asks.
    """
    node = inspected.node
    if node.kind == "agent":
        return True
    if node.kind != "node" or not node.signature.has_context or not node.options.asks_models:
        return False
    return "complete" in find_loaded_names(node.fn)


def list_unseen(
    graph: InspectedGraph, loose: Spread, strict: Spread, prefix: str
) -> Iterator[Problem]:
    """Yield `UNSEEN_APPROVAL` for questions that do not show what they let through.

    `strict` is how far untrusted values get if a person vouches only for what the question reads.
    """
    let_through = 0
    for index, inspected in enumerate(graph.nodes):
        acts = inspected.has_effect or inspected.acting_tools
        if acts and not inspected.check and not inspected.lets_person_decide:
            reads = inspected.reads
            let_through |= reads & strict.arriving[index] & ~loose.arriving[index]
    for index, inspected in enumerate(graph.nodes):
        unseen = let_through & strict.arriving[index] & ~inspected.reads
        if inspected.is_ask and unseen:
            fields = _quote(graph.list_fields(unseen))
            what = (
                f"its question does not show {fields}, untrusted values that go on to an effect "
                "after it"
            )
            fix = "show them in the question, so that the person sees what they agree to"
            where = f"node '{prefix}{inspected.node.name}'"
            yield Problem("UNSEEN_APPROVAL", where, what, fix, "warning")


def _name_tools(names: Sequence[str]) -> str:
    return f"{'tool' if len(names) == 1 else 'tools'} {_quote(names)}"


def _quote(names: Sequence[str]) -> str:
    return join_limited([f"'{name}'" for name in names], _MANY)
