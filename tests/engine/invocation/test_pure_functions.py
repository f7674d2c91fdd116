"""Pure functions in a run: what they return is checked by value, and what they raise is theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy
import pytest
from pydantic import BaseModel

from graphorch import Failure, Flow, Graph, RunFailed, WrongOutput, node
from graphorch.patterns import Repeat


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class Review(BaseModel):
    score: int = 0


class State(Topic, Draft, Review): ...


@node
def write(topic: Topic, review: Review) -> Draft:
    return Draft(draft=f"{topic.topic} {review.score}")


@node
def judge(draft: Draft, review: Review) -> Review:
    return Review(score=review.score + 1)


@node
def end(review: Review) -> Draft:
    return Draft(draft=f"ended at {review.score}")


@node
def keep(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)


@node
def rescue(failure: Failure) -> Draft:
    return Draft(draft=f"{failure.error}: {failure.message}")


def graph() -> Graph[State, Topic, Draft]:
    return Graph("g", State, input=Topic, output=Draft)


def loop(fn: Any, **options: Any) -> Graph[Any, Any, Any]:
    drawn = graph().chain(write, judge, end)
    return drawn.loop(judge, back_to=write, while_=fn, max_iterations=3, **options)


def gate(fn: Any) -> Graph[Any, Any, Any]:
    return graph().pipeline(write, judge, end, gates={judge: fn})


def accept(fn: Any) -> Graph[Any, Any, Any]:
    return graph().evaluator_loop(write, judge, accept=fn, max_rounds=3).chain(judge, end)


def route(fn: Any) -> Graph[Any, Any, Any]:
    def choose(review: Review) -> Literal["a", "b"]:
        return fn(review)

    drawn = graph().chain(write, judge)
    return drawn.route(judge, choose).when("a", end).when("b", keep).exhaustive()


def over(fn: Any) -> Graph[Any, Any, Any]:
    drawn = graph()
    each = drawn.map("each", keep, over=fn, gather=lambda drafts: drafts[0], max_items=3)
    return drawn.chain(each)


def gather(fn: Any) -> Graph[Any, Any, Any]:
    drawn = graph()
    each = drawn.map("each", keep, over=lambda state: [state], gather=fn, max_items=3)
    return drawn.chain(each)


def enter(fn: Any) -> Graph[Any, Any, Any]:
    drawn = graph()
    return drawn.chain(drawn.sub("inner", inner(), enter=fn, leave=lambda draft: draft))


def leave(fn: Any) -> Graph[Any, Any, Any]:
    drawn = graph()
    return drawn.chain(drawn.sub("inner", inner(), enter=lambda state: Topic(), leave=fn))


def question(fn: Any) -> Graph[Any, Any, Any]:
    drawn = graph()
    return drawn.chain(drawn.ask("approve", question=fn, answer=Review), end)


def inner() -> Flow[Topic, Draft]:
    return Graph("inner", State, input=Topic, output=Draft).chain(keep).build()


def fail(made: Graph[Any, Any, Any]) -> BaseException:
    with pytest.raises(RunFailed) as caught:
        made.build().run_sync(Topic())
    (error,) = caught.value.exceptions
    assert error.__cause__ is not None
    return error


PLACES: dict[Callable[[Any], Graph[Any, Any, Any]], str] = {
    loop: "in while_ of the loop 'judge' → 'write': ",
    route: "in the route of 'judge': ",
    over: "in over of map 'each': ",
    gather: "in gather of map 'each': ",
    enter: "in enter of sub 'inner': ",
    leave: "in leave of sub 'inner': ",
    question: "in question of 'approve': ",
    gate: "in gate of 'judge': ",
    accept: "in accept of evaluator_loop of 'write' and 'judge': ",
}


@pytest.mark.parametrize("role", PLACES)
def test_error_of_pure_function_names_its_place(
    role: Callable[[Any], Graph[Any, Any, Any]],
) -> None:
    """What a pure function raises keeps its type, and says which function of what raised it."""

    error = fail(role(lambda given: {}["scores"]))
    assert isinstance(error.__cause__, KeyError)
    assert f"failed: KeyError: {PLACES[role]}'scores'" in str(error)


NOT_BOOL = [None, "no", "", 0, 1, [], numpy.int64(1), numpy.array([True])]


@pytest.mark.parametrize("value", NOT_BOOL, ids=repr)
@pytest.mark.parametrize("role", [loop, gate, accept])
def test_truth_of_value_is_no_verdict(role: Callable[..., Any], value: object) -> None:
    """A verdict that is neither True nor False fails the run, whatever its truth is."""
    error = fail(role(lambda state: value))
    assert isinstance(error.__cause__, WrongOutput)
    assert "which is neither True nor False. Return True " in str(error)


@pytest.mark.parametrize("kind", [bool, numpy.bool_, numpy.array])
@pytest.mark.parametrize("role", [loop, gate, accept])
def test_verdict_of_numpy_counts_by_value(role: Callable[..., Any], kind: Any) -> None:
    """A comparison in numpy is a verdict like any other."""
    wants_two_rounds = role is loop
    made = role(lambda state: kind((state.score < 2) is wants_two_rounds))
    assert made.build().run_sync(Topic()).output.draft == "ended at 2"


@pytest.mark.parametrize("role", [loop, gate, accept])
def test_async_verdict_is_refused_without_warning(role: Callable[..., Any]) -> None:
    """A coroutine is no verdict, and is closed instead of being forgotten."""

    async def decide() -> bool:
        return True

    error = fail(role(lambda state: decide()))
    assert "returned coroutine <coroutine object " in str(error)
    assert " at 0x" not in str(error)


@pytest.mark.parametrize(
    ("role", "value", "message"),
    [
        (over, None, "'<lambda>' returned None, which is not a list of items. Return list[Topic]."),
        (over, "ab", "returned str 'ab', which is not a list of items. Return list[Topic]."),
        (over, {"a": 1}, "returned dict {'a': 1}, which is not a list of items."),
        (over, Topic(), "which is not a list of items."),
        (over, [Draft()], "It returned Draft Draft(draft=''), but declares Topic. Return a Topic."),
        (enter, None, "It returned nothing, but declares Topic. Return a Topic"),
        (leave, "x", "It returned str 'x', which is not a slice of the state State."),
        (question, None, "returned None, which is not a text. Return the str that the person"),
        (question, 7, "returned int 7, which is not a text."),
    ],
)
def test_wrong_value_of_mapping_is_explained(
    role: Callable[..., Any], value: object, message: str
) -> None:
    """A value that goes into a map, a sub-flow or a question is checked where it comes from."""
    error = fail(role(lambda given: value))
    assert isinstance(error.__cause__, WrongOutput)
    assert f"{PLACES[role]}" in str(error)
    assert message in str(error)


def test_error_of_condition_is_handled_by_its_type() -> None:
    """An error edge catches what a condition raises, and its `Failure` says where it was raised."""
    made = loop(lambda state: 1 // 0).on_error(judge, rescue, when=ZeroDivisionError)
    output = made.build().run_sync(Topic()).output.draft
    assert output.startswith("ZeroDivisionError: in while_ of the loop 'judge' → 'write': ")


def test_error_of_condition_is_recorded(tmp_path: Path) -> None:
    """A resumed run of another process tells the same place, and a mended condition goes on."""
    path = str(tmp_path / "runs.sqlite")
    values: list[Any] = ["no", False]

    def decide(state: State) -> Any:
        return values[0]

    flow = loop(decide).build()

    async def run() -> None:
        with pytest.raises(RunFailed) as live:
            await flow.run(Topic(), run_id="r", durable=path)
        later = loop(decide).build()
        with pytest.raises(RunFailed) as recorded:
            await later.replay("r", durable=path)
        for caught in (live, recorded):
            (error,) = caught.value.exceptions
            assert "in while_ of the loop 'judge' → 'write': 'decide' returned" in str(error)
        values.pop(0)
        result = await later.resume("r", durable=path)
        assert result.output.draft == "ended at 1"

    asyncio.run(run())


def test_gate_may_still_answer_at_length() -> None:
    """A gate repeats by `Repeat`, beside True and False."""
    verdicts: list[Any] = [Repeat("again"), False, True]
    made = graph().pipeline(
        write, judge, end, gates={judge: lambda state: verdicts.pop(0)}, attempts=3
    )
    assert made.build().run_sync(Topic()).output.draft == "ended at 3"


def test_node_that_returns_coroutine_is_told() -> None:
    """A node that returns the coroutine of a helper lacks an `await`."""

    async def fetch() -> Draft:
        return Draft()

    @node
    async def forgetful(topic: Topic) -> Draft:
        return fetch()  # type: ignore[return-value]

    error = fail(graph().chain(forgetful))
    assert "It returned a coroutine, but declares Draft. Write `await` before" in str(error)


def test_field_that_is_coroutine_is_told() -> None:
    """A slice that is made of a coroutine lacks an `await`, and pydantic's words are one line."""

    async def fetch() -> str:
        return ""

    made = fetch()

    @node
    async def forgetful(topic: Topic) -> Draft:
        return Draft(draft=made)  # type: ignore[arg-type]

    error = fail(graph().chain(forgetful))
    made.close()
    assert (
        "ValidationError: Draft does not fit: draft: Input should be a valid string, got a "
        "coroutine; write `await` before the call that made it" in str(error)
    )
    assert "https://" not in str(error)
