"""`need=k` joins: the commit of the k-th arrival decides, the rest of the region is cancelled."""

from __future__ import annotations

from typing import Literal

import pytest

from graphorch.core.events import NodeSucceeded
from graphorch.core.tree import Status
from graphorch.graph.node import END
from tests.core.drill import Drill, graph, plan_of, step


def race(need: int = 1, short: Literal["fail", "fire"] = "fail", branches: int = 3):
    made = graph()
    names = [step(name) for name in "abc"[:branches]]
    merge = step("merge")
    made.chain(step("fork"), names, merge, step("after"))
    made.join(merge, need=need, short=short)
    return plan_of(made)


def test_quorum_first_arrival_wins():
    """The first arrival wins, and the rest is cancelled by name."""
    drill = Drill(race()).finish("fork", "b")
    assert drill.running == ["merge"]
    assert sorted(drill.cancelled) == ["a", "c"]
    assert drill.finish_all().log == ["fork", "b", "merge", "after"]
    assert drill.ends == ["succeeded"]


def test_quorum_of_two():
    """The second arrival decides where two are needed."""
    drill = Drill(race(need=2)).finish("fork", "c")
    assert drill.running == ["a", "b"]
    drill.finish("a")
    assert drill.running == ["merge"]
    assert drill.finish_all().log == ["fork", "a", "c", "merge", "after"]


def test_quorum_ignores_late_result():
    """A late result of a cancelled branch changes nothing."""
    drill = Drill(race()).finish("fork")
    late = drill.activation("a")
    drill.finish("b")
    assert late.status is Status.CANCELLED
    assert drill.tell(NodeSucceeded(late, {})) == []
    assert drill.finish_all().log == ["fork", "b", "merge", "after"]


def test_quorum_cancels_retry_and_question():
    """A retry and a question in the region are cancelled too."""
    drill = Drill(race()).finish("fork")
    drill.fail("a", retry_after=5)
    question = drill.ask("c")
    drill.finish("b")
    assert drill.running == ["merge"]
    assert question.status is Status.CANCELLED
    assert drill.finish_all().ends == ["succeeded"]


def test_quorum_not_met():
    """Too few arrivals fail the join."""
    drill = Drill(race(need=2, branches=2)).finish("fork", "a")
    drill.skip("b")
    assert drill.running == ["merge"]
    drill.finish("merge")
    assert drill.ends == ["failed"]
    assert type(drill.run.failed()[0].failure).__name__ == "QuorumNotMet"


def test_quorum_fires_short():
    """Too few arrivals fire a join with `short="fire"`."""
    drill = Drill(race(need=2, short="fire", branches=2)).finish("fork", "a")
    drill.skip("b")
    assert drill.finish_all().log == ["fork", "a", "merge", "after"]


def test_quorum_at_end_not_met():
    """An END with too few arrivals fails the run."""
    made = graph().chain(step("fork"), [step("a"), step("b")], END).join(END, need=2)
    drill = Drill(plan_of(made)).finish("fork", "a").skip("b")
    drill.finish_all()
    assert drill.ends == ["failed"]


def test_quorum_at_end():
    """END takes the first arrival."""
    made = graph().chain(step("fork"), [step("a"), step("b")], END).join(END, need=1)
    drill = Drill(plan_of(made)).finish("fork", "b")
    assert drill.ends == ["succeeded"]
    assert drill.log == ["fork", "b"]


def test_quorum_regions_nest():
    """Regions nest."""
    made = graph()
    inner_fork, inner, outer = step("inner_fork"), step("inner"), step("outer")
    made.chain(step("fork"), [inner_fork, step("slow")], outer)
    made.spec.edges.remove(("inner_fork", "outer"))
    made.chain(inner_fork, [step("x"), step("y")], inner, outer).join(inner, need=1).join(
        outer, need=1
    )
    drill = Drill(plan_of(made)).finish("fork", "inner_fork", "y")
    assert sorted(drill.cancelled) == ["x"]
    drill.finish("slow")
    assert sorted(drill.cancelled) == ["inner", "x"]
    assert drill.finish_all().log == ["fork", "slow", "outer"]


def test_quorum_in_loop():
    """A `need=k` join in a loop decides in every iteration."""
    made = graph()
    fork, merge = step("fork"), step("merge")
    made.chain(fork, [step("a"), step("b")], merge).join(merge, need=1)
    made.loop(merge, back_to=fork, while_=lambda s: True, max_iterations=3)
    drill = Drill(plan_of(made))
    for winner in "aba":
        drill.finish("fork", winner, "merge")
    assert drill.log == ["fork", "a", "merge", "fork", "b", "merge", "fork", "a", "merge"]


@pytest.mark.parametrize("need", [1, 2])
def test_quorum_decides_after_drain(need):
    """Arrivals while the run drains decide when it is resumed."""
    drill = Drill(race(need=need)).finish("fork")
    drill.stop(now=False).finish("b", "c", "a")
    assert drill.ends == ["stopped: asked to"]
    drill.resume()
    assert drill.running == ["merge"]
    assert drill.finish_all().log == ["fork", *sorted(["b", "c"][:need]), "merge", "after"]
