"""Flows that run themselves: sums by halving, and a Fibonacci number by two calls."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from graphorch import Flow, Graph, RecursionLimit, node

AnyFlow = Flow[Any, Any, Any]


class Numbers(BaseModel):
    numbers: list[int] = []


class Total(BaseModel):
    total: int = 0


class Sum(Numbers, Total): ...


class Place(BaseModel):
    place: int = 0


class Value(BaseModel):
    value: int = 0


class Before(BaseModel):
    before: int = 0


class BeforeThat(BaseModel):
    before_that: int = 0


class Fibonacci(Place, Value, Before, BeforeThat): ...


def halve(state: Numbers) -> list[Numbers]:
    middle = len(state.numbers) // 2
    halves = (state.numbers[:middle], state.numbers[middle:])
    return [Numbers(numbers=half) for half in halves] if middle else []


def add_up(totals: list[Total]) -> Total:
    return Total(total=sum(item.total for item in totals))


def halving_flow(
    max_depth: int, *, handled: bool = False, ran: list[int] | None = None, **options: Any
) -> AnyFlow:
    """Build a flow that adds numbers up: one itself, several by halves of which it runs each."""

    @node
    def look(state: Numbers) -> None:
        return None

    @node
    def take(state: Numbers) -> Total:
        if ran is not None:
            ran.extend(state.numbers)
        return Total(total=sum(state.numbers))

    def count(state: Numbers) -> Literal["one", "several"]:
        return "several" if len(state.numbers) > 1 else "one"

    graph = Graph("sum", Sum, input=Numbers, output=Total)
    halves = graph.map(
        "halves",
        graph.itself(max_depth=max_depth),
        over=halve,
        gather=add_up,
        max_items=2,
        **options,
    )
    graph.route(look, count).when("one", take).when("several", halves).exhaustive()
    if handled:
        graph.on_error(halves, take, when=RecursionLimit)
    return graph.build()


def fibonacci_flow(max_depth: int, *, ran: list[int] | None = None) -> AnyFlow:
    """Build a flow that computes a Fibonacci number from the two before it, side by side."""

    @node
    def look(state: Place) -> None:
        if ran is not None:
            ran.append(state.place)

    @node
    def one(state: Place) -> Value:
        return Value(value=1)

    @node
    def add(before: Before, that: BeforeThat) -> Value:
        return Value(value=before.before + that.before_that)

    def is_small(state: Place) -> Literal["small", "large"]:
        return "small" if state.place < 3 else "large"

    def one_less(state: Place) -> Place:
        return Place(place=state.place - 1)

    def two_less(state: Place) -> Place:
        return Place(place=state.place - 2)

    def as_before(value: Value) -> Before:
        return Before(before=value.value)

    def as_before_that(value: Value) -> BeforeThat:
        return BeforeThat(before_that=value.value)

    graph = Graph("fibonacci", Fibonacci, input=Place, output=Value)
    itself = graph.itself(max_depth=max_depth)
    first = graph.sub("first", itself, enter=one_less, leave=as_before)
    second = graph.sub("second", itself, enter=two_less, leave=as_before_that)
    graph.route(look, is_small).when("small", one).when("large", [first, second]).exhaustive()
    graph.chain([first, second], add)
    return graph.build()
