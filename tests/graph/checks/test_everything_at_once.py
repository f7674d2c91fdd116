"""All problems of a graph in one error, each once, in a stable order."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from graphorch.errors import GraphError
from graphorch.graph.build import build_plan
from graphorch.graph.node import node
from graphorch.graph.options import NodeSettings, Retry
from tests.graph.content import (
    Content,
    Draft,
    Sketch,
    Topic,
    classify,
    dash,
    judge,
    kind_of,
    list_problems,
    look,
    maybe,
    note,
    tidy,
    weak,
    write,
)


class Foreign(BaseModel):
    foreign: int = 0


@node
def stranger(f: Foreign) -> None: ...


def ten_mistakes() -> Sketch:
    sketch = Sketch(output=Draft)
    paid = type(look)(
        look.fn, look.signature, name="paid", options=NodeSettings(effect="once", retry=Retry(2))
    )
    sketch.chain("classify", classify)  # type: ignore[arg-type]
    sketch.chain(classify, [dash, maybe], tidy, judge)
    sketch.chain(judge, note, note.named("again"), note)
    sketch.chain(classify, stranger)
    sketch.chain(classify, write)
    sketch.chain(classify, paid)
    sketch.route(note, kind_of).when("mth", look).exhaustive()  # type: ignore[misc]
    sketch.loop(judge, back_to=tidy, while_=weak, max_iterations=0)
    sketch.join(tidy, need=5)
    sketch.ask("forgotten", lambda state: "?", Draft)
    return sketch


def test_build_reports_ten_mistakes_at_once() -> None:
    """Ten mistakes are reported at once."""
    with pytest.raises(GraphError) as caught:
        build_plan(ten_mistakes().spec)
    assert [f"{problem.code} at {problem.where}" for problem in caught.value.problems] == [
        "NOT_A_NODE at chain()",
        "NOT_CONNECTED at node 'forgotten'",
        "SLICE_MISSING at node 'stranger'",
        "UNDECLARED_CYCLE at edge 'again' → 'note'",
        "ROUTE_LABEL at route of 'note'",
        "ROUTE_INCOMPLETE at route of 'note'",
        "LOOP_BOUND at loop 'judge' → 'tidy'",
        "JOIN_NEED at join of 'tidy'",
        "OPTION_EFFECT at node 'paid'",
        "UNASSIGNED at node 'write'",
    ]
    text = str(caught.value)
    assert text.startswith(
        "Graph 'content' does not build: 10 problems.\n  NOT_A_NODE at chain(): "
        "'classify' is a name, not a node\n"
    )
    assert text.count("    fix: ") == 10


def test_problems_have_stable_order() -> None:
    """The same graph has the same problems in the same order."""
    assert list_problems(ten_mistakes()) == list_problems(ten_mistakes())


def test_graph_without_problems_becomes_plan() -> None:
    """A graph without problems becomes a plan."""
    sketch = Sketch(Content, Topic, Draft)
    sketch.chain(dash, tidy)
    plan = build_plan(sketch.spec)
    assert [step.name for step in plan.steps] == ["dash", "tidy", "END"]
    assert plan.problems == ()
