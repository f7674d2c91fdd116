"""Maps that decide after each item: early agreement (`until`) and growing work (`grow`)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from graphorch.core.events import Command, ItemReviewed, NodeFailed, Resumed, RetryDue, ReviewItem
from graphorch.core.tree import Activation
from graphorch.errors import TooManyItems
from graphorch.graph.signature import Read, StateFunction
from tests.core.drill import Done, Drill, Item, State, graph, map_over, plan_of, review, step


def mapped(items: int, **options):
    made = graph()
    made.chain(map_over(made, "map", items, **options), step("after"))
    return plan_of(made)


def has_two(results: list[Done]) -> bool:
    return len(results) == 2


# Item 0 grows items 1 and 2, item 1 grows item 3, and item 3 grows item 4.
TREE = {0: [1, 2], 1: [3], 3: [4]}


def grow(result: Done) -> list[Item]:
    return [Item(item=number) for number in TREE.get(result.done // 10, [])]


def outer(drill: Drill) -> Activation:
    """Return the activation of the map."""
    return next(item for item in drill.run.unfinished() if item.path == "map")


class Holding(Drill):
    """Drill that keeps reviews among its jobs until the test answers them."""

    def _answer(self) -> None:
        held = [job for job in self.jobs if isinstance(job, ReviewItem)]
        self.jobs = [job for job in self.jobs if job not in held]
        super()._answer()
        self.jobs += held

    @property
    def reviews(self) -> list[ReviewItem]:
        return [job for job in self.jobs if isinstance(job, ReviewItem)]

    def answer_review(self) -> list[Command]:
        job = self.reviews[0]
        self.jobs.remove(job)
        return self.tell(review(job))


# ---- until ---------------------------------------------------------------------------------------
def test_agreement_cancels_rest():
    """The item with whose result `until` holds decides, and the rest is cancelled by name."""
    drill = Drill(mapped(5, concurrency=3, until=has_two)).finish("map[2]/work", "map[0]/work")
    assert drill.running == ["after"]
    assert sorted(drill.cancelled) == ["map[1]/work", "map[3]/work"]
    log = ["map[0,20]", "missing 1", "missing 3", "missing 4", "after"]
    assert drill.finish_all().log == log


def test_until_sees_results_in_item_order():
    """`until` gets the results so far in the order of the items, whatever ended first."""
    seen: list[list[int]] = []

    def until(results: list[Done]) -> bool:
        seen.append([result.done for result in results])
        return False

    drill = Drill(mapped(3, until=until)).finish("map[2]/work", "map[0]/work", "map[1]/work")
    assert seen == [[20], [0, 20], [0, 10, 20]]
    assert drill.finish_all().log == ["map[0,10,20]", "after"]


def test_until_is_not_asked_without_results():
    """A map over an empty list completes at once, and so nothing is agreed."""
    drill = Drill(mapped(0, until=lambda results: 1 / 0))
    assert drill.running == ["after"]


def test_until_that_holds_at_once():
    """An `until` that always holds ends the map with the first result."""
    drill = Drill(mapped(3, concurrency=1, until=lambda results: True)).finish("map[0]/work")
    assert drill.finish_all().log == ["map[0]", "missing 1", "missing 2", "after"]


def test_agreement_with_failed_items():
    """Items that failed are left out of what `until` sees, and do not stop an agreement."""
    drill = Drill(mapped(4, concurrency=2, on_item_error="skip", until=has_two))
    drill.fail("map[0]/work").finish("map[1]/work").fail("map[2]/work").finish("map[3]/work")
    assert drill.finish_all().log == ["map[10,30]", "missing 0", "missing 2", "after"]


def test_agreement_before_need():
    """Of `need` and `until`, what holds first decides."""
    drill = Drill(mapped(4, need=3, until=has_two)).finish("map[1]/work", "map[3]/work")
    assert drill.finish_all().log == ["map[10,30]", "missing 0", "missing 2", "after"]
    drill = Drill(mapped(4, need=1, until=has_two)).finish("map[1]/work")
    assert drill.running == ["after"]


# ---- grow ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("pick", [min, max], ids=["first", "last"])
@pytest.mark.parametrize("concurrency", [1, 2, 8])
def test_grown_items_follow_their_parents(pick, concurrency):
    """A grown item is named after the one that grew it, and its result stands behind that one's."""
    drill = Drill(mapped(1, grow=grow, concurrency=concurrency)).finish_all(pick)
    assert drill.log == ["map[0,10,30,40,20]", "after"]
    assert sorted(drill.done) == [
        "after",
        "map",
        "map[0.0.0.0]/work",
        "map[0.0.0]/work",
        "map[0.0]/work",
        "map[0.1]/work",
        "map[0]/work",
    ]


def test_grown_items_have_no_rounds():
    """What an item grows begins at once, beside items that were there before."""
    drill = Drill(mapped(2, grow=grow)).finish("map[0]/work")
    assert drill.running == ["map[0.0]/work", "map[0.1]/work", "map[1]/work"]


def test_grown_ids_ignore_timing():
    """Every order in which items end makes the same activations, with the same ids."""
    orders = {
        tuple(sorted((path, *ids) for path, ids in run_in_order(choices).ids().items()))
        for choices in itertools.product(range(3), repeat=6)
    }
    assert len(orders) == 1


def run_in_order(choices: tuple[int, ...]) -> Drill:
    drill = Drill(mapped(2, grow=grow, concurrency=3), checked=False)
    for choice in choices:
        if drill.running:
            drill.finish(drill.running[choice % len(drill.running)])
    return drill.finish_all()


def test_growth_beyond_bound_fails_map():
    """More than `max_items` in all fail the map, once what runs in it has ended."""
    drill = Drill(mapped(2, grow=grow, max_items=3)).finish("map[0]/work")
    assert drill.running == ["map[1]/work"]
    drill.finish("map[1]/work")
    assert drill.ends == ["failed"]
    (failed,) = drill.run.failed()
    assert isinstance(failed.failure, TooManyItems)
    assert "'map[0]'" in str(failed.failure)


def test_growth_with_agreement():
    """With `until`, a map grows until it has enough; the item that agrees grows nothing."""
    drill = Drill(mapped(1, grow=grow, until=has_two)).finish("map[0]/work", "map[0.0]/work")
    assert drill.finish_all().log == ["map[0,10]", "missing 2", "after"]


def test_failed_item_grows_nothing():
    """An item that is left out grows nothing."""
    drill = Drill(mapped(1, grow=grow, on_item_error="collect")).finish("map[0]/work")
    drill.fail("map[0.0]/work").finish("map[0.1]/work")
    assert drill.finish_all().log == ["map[0,20]", "missing 1", "after"]


def test_grown_items_in_loop():
    """In a loop a map grows afresh in every iteration."""
    made = graph()
    node = map_over(made, "map", 1, grow=grow)
    made.chain(node, step("after")).loop(
        node, back_to=node, while_=lambda state: True, max_iterations=2
    )
    drill = Drill(plan_of(made)).finish_all()
    assert drill.log == ["map[0,10,30,40,20]", "map[0,10,30,40,20]", "after"]


# ---- unique items --------------------------------------------------------------------------------
# A graph with ways that meet: 0 leads to 1 and 2, both lead to 3, and 3 leads back to 0.
GRAPH = {0: [2, 1], 1: [3], 2: [3], 3: [0]}


def visit(result: Done) -> list[Item]:
    return [Item(item=number) for number in GRAPH[result.done // 10]]


def test_unique_items_run_once():
    """An item equal to an earlier one is not added, so a map follows a graph to its end."""
    drill = Drill(mapped(1, grow=visit, unique=True)).finish_all()
    assert drill.log == ["map[0,20,10,30]", "after"]
    assert len(drill.done) == 6


def test_unique_ids_ignore_timing():
    """Whichever item grows another one first, its path, its id and its place stay the same."""
    runs = [run_unique(choices) for choices in itertools.product(range(3), repeat=5)]
    assert {tuple(run.log) for run in runs} == {("map[0,20,10,30,50]", "after")}
    assert len({repr(sorted(run.ids().items())) for run in runs}) == 1


def run_unique(choices: tuple[int, ...]) -> Drill:
    def grow(result: Done) -> list[Item]:
        return [Item(item=5)] if result.done == 30 else visit(result) if result.done < 50 else []

    drill = Drill(mapped(1, grow=grow, unique=True, concurrency=3), checked=False)
    for choice in choices:
        if drill.running:
            drill.finish(drill.running[choice % len(drill.running)])
    return drill.finish_all()


def test_equal_items_begin_once():
    """Equal items of the list that a map goes over run once, too, and count once."""
    made = graph()
    node = map_over(made, "map", 3, grow=lambda result: [], unique=True, max_items=1)
    made.spec.maps["map"] = replace(
        made.spec.maps["map"],
        over=StateFunction(lambda state: [Item(item=7), Item(item=7)], (Read(State),)),
    )
    drill = Drill(plan_of(made.chain(node, step("after")))).finish_all()
    assert drill.log == ["map[70]", "after"]


def test_unique_items_within_bound():
    """Items that are known do not count against the bound; new ones do."""
    assert Drill(mapped(1, grow=visit, unique=True, max_items=4)).finish_all().ends == ["succeeded"]
    assert Drill(mapped(1, grow=visit, unique=True, max_items=3)).finish_all().ends == ["failed"]


# ---- reviews -------------------------------------------------------------------------------------
def test_review_holds_back_items():
    """Before an item is reviewed, no item begins, and the map is not left."""
    drill = Holding(mapped(3, concurrency=1, until=has_two)).finish("map[0]/work")
    assert (drill.running, drill.ends) == ([], [])
    drill.answer_review()
    assert drill.running == ["map[1]/work"]
    drill.finish("map[1]/work").answer_review()
    assert drill.running == ["after"]


def test_reviews_are_made_in_order():
    """Items that are done meanwhile are reviewed in the order in which they were done."""
    drill = Holding(mapped(3, until=has_two)).finish("map[2]/work", "map[1]/work", "map[0]/work")
    assert [job.scope.item for job in drill.reviews] == [2]
    drill.answer_review()
    assert [job.scope.item for job in drill.reviews] == [1]
    drill.answer_review()
    # The third item is done, but was not reviewed: it is none of the results that were enough.
    assert drill.finish_all().log == ["map[10,20]", "missing 0", "after"]


@pytest.mark.parametrize("now", [True, False])
def test_review_survives_stop(now):
    """A review that a stop interrupted is made when the run is resumed, and no item is repeated."""
    drill = Holding(mapped(3, until=has_two)).finish("map[0]/work").stop(now=now)
    if not now:
        drill.answer_review()
        drill.finish("map[1]/work", "map[2]/work")
        while drill.reviews:
            drill.answer_review()
    assert drill.ends == ["stopped: asked to"]
    drill.resume()
    while drill.reviews or drill.running:
        drill.answer_review() if drill.reviews else drill.finish(drill.running[0])
    assert drill.done.count("map[0]/work") == 1
    assert drill.ends[-1] == "succeeded"


def test_failed_review_fails_map():
    """What `until` raises fails the map when nothing runs in it; a resume repeats the review."""
    broken = [True]

    def until(results: list[Done]) -> bool:
        if broken[0]:
            raise ValueError("no idea")
        return len(results) == 2

    drill = Drill(mapped(3, concurrency=2, until=until)).finish("map[0]/work")
    assert drill.running == ["map[1]/work"]
    drill.finish("map[1]/work")
    assert drill.ends == ["failed"]
    assert str(drill.run.failed()[0].failure) == "no idea"
    broken[0] = False
    drill.resume()
    assert drill.running == ["after"]
    assert drill.finish_all().log == ["map[0,10]", "missing 2", "after"]


def test_failed_review_counts_with_items_left_out():
    """A map whose review failed ends as failed, also if what still ran in it is left out."""
    options = {"until": lambda results: 1 / 0, "on_item_error": "skip"}
    drill = Drill(mapped(2, **options)).finish("map[0]/work").fail("map[1]/work")
    assert drill.ends == ["failed"]
    assert [activation.path for activation in drill.run.failed()] == ["map[1]/work", "map"]


def test_failed_review_takes_error_edge():
    """An error edge of the map takes what `grow` raises."""
    made = graph()
    node = map_over(made, "map", 2, grow=lambda result: 1 / 0)
    made.chain(node, step("after")).on_error(node, step("handler"), when=ZeroDivisionError)
    drill = Drill(plan_of(made)).finish("map[0]/work", "map[1]/work")
    assert drill.running == ["handler"]


def test_retried_map_reviews_again():
    """A map that is retried repeats the review that failed, and no item."""
    broken = [True]

    def until(results: list[Done]) -> bool:
        if broken[0]:
            raise ValueError("no idea")
        return True

    drill = Drill(mapped(2, concurrency=1, until=until))
    node, answer = outer(drill), drill._answer
    drill._answer = lambda: None  # type: ignore[method-assign]
    drill.finish("map[0]/work")
    drill.tell(review(drill.job("map")))
    drill.jobs.clear()
    drill.tell(NodeFailed(node, 1, ValueError("no idea"), retry_after=1.0))
    drill._answer = answer  # type: ignore[method-assign]
    broken[0] = False
    drill.tell(RetryDue(node, 1))
    assert drill.finish_all().log == ["map[0]", "missing 1", "after"]
    assert drill.done.count("map[0]/work") == 1


def test_both_failures_are_told():
    """A map whose review failed is a cause of its own beside an item that failed meanwhile."""
    drill = Drill(mapped(2, until=lambda results: 1 / 0)).finish("map[0]/work")
    drill.fail("map[1]/work")
    assert [activation.path for activation in drill.run.failed()] == ["map[1]/work", "map"]


def test_cancelled_map_drops_review():
    """A map that a race cancels has its review dropped; a late answer changes nothing."""
    made = graph()
    merge = step("merge")
    made.chain(step("fork"), [map_over(made, "map", 2, until=has_two), step("quick")], merge).join(
        merge, need=1
    )
    drill = Holding(plan_of(made)).finish("fork", "map[0]/work")
    (job,) = drill.reviews
    drill.finish("quick")
    assert drill.tell(ItemReviewed(job.activation, "0", True)) == []
    assert drill.finish_all().ends == ["succeeded"]


def test_review_of_other_item_is_stale():
    """A review of another item than the one that is due changes nothing."""
    drill = Holding(mapped(2, until=has_two)).finish("map[0]/work")
    assert drill.tell(ItemReviewed(outer(drill), "1", True)) == []
    assert [job.scope.item for job in drill.reviews] == [0]


def test_answer_to_stopped_map_is_reviewed():
    """An item that a person completes in a stopped run is reviewed."""
    flow = plan_of(graph().chain(step("x")))
    drill = Drill(mapped(2, flow=flow, until=lambda results: True))
    question = drill.ask("map[0]/x")
    drill.stop()
    drill.answer(question, "late")
    drill.tell(Resumed())
    assert drill.finish_all().log == ["map[late]", "missing 1", "after"]
