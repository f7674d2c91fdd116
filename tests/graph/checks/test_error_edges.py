"""Error edges that are never taken, and handlers that would get no failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from pydantic import BaseModel

from graphorch.graph.node import START, node
from graphorch.graph.payloads import Failure
from tests.graph.content import (
    Job,
    Research,
    Sketch,
    Topic,
    dig,
    list_codes,
    list_problems,
    look,
    note,
    notes_of,
    rescue,
    research,
)


@node
def perhaps(f: Failure | None, t: Topic) -> Research:
    return Research(research="?")


@node
def twice(f: Failure, g: Failure) -> Research:
    return Research(research="?")


def test_handler_reads_failure_and_slices() -> None:
    """A handler reads the failure beside its slices."""
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, rescue, when=(TimeoutError, ValueError))
    sketch.chain(rescue, look)
    assert list_problems(sketch) == []


def test_shadowed_error_edge_is_refused() -> None:
    """An error edge behind a wider one is never taken."""
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, rescue)
    sketch.on_error(research, look, when=TimeoutError)
    assert list_problems(sketch) == [
        "ERROR_SHADOWED at on_error 'research' → 'look': it is never taken: Exception, "
        "declared before, already leads to 'rescue'\n"
        "    fix: declare the narrower exceptions first"
    ]


def test_narrow_error_edge_first_is_fine() -> None:
    """An error edge before a wider one is fine."""
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, look, when=TimeoutError)
    sketch.on_error(research, rescue)
    assert list_problems(sketch) == []


def test_failure_missing_on_other_edge_is_refused() -> None:
    """A failure that another edge does not bring is refused, unless it is optional."""
    sketch = Sketch()
    sketch.chain(look, rescue)
    assert list_problems(sketch) == [
        "FAILURE_READ at node 'rescue': it reads a Failure, but 'look' → 'rescue' does "
        "not bring one\n"
        "    fix: lead to it by on_error() only, or read `Failure | None`"
    ]
    optional = Sketch()
    optional.chain(look, perhaps)
    assert list_problems(optional) == []


def test_failure_read_twice_is_refused() -> None:
    """A failure that is read twice is refused."""
    sketch = Sketch()
    sketch.chain(look)
    sketch.on_error(look, twice)
    assert list_problems(sketch) == [
        "FAILURE_READ at node 'twice': it reads the Failure twice\n    fix: keep one of "
        "the parameters"
    ]


def test_wrong_exception_and_node_are_named() -> None:
    """Handlers that are not nodes, and classes that are not exceptions, are named."""
    sketch = Sketch()
    sketch.chain(look)
    sketch.on_error(look, note, when=KeyboardInterrupt)  # type: ignore[arg-type]
    sketch.on_error(look, "ntoe")  # type: ignore[arg-type]
    assert list_problems(sketch) == [
        "ERROR_TYPE at on_error 'look' → 'note': when=KeyboardInterrupt is not a "
        "subclass of Exception\n"
        "    fix: name classes that derive from Exception, such as TimeoutError",
        "NOT_A_NODE at on_error(handler): 'ntoe' is a name, not a node\n"
        "    fix: pass the node itself, without quotes. Did you mean 'note'? Known: look, note.",
    ]


def test_error_edge_alone_leads_to_end() -> None:
    """A node with only an error edge still leads to END."""
    sketch = Sketch()
    sketch.chain(look)
    sketch.on_error(look, note)
    assert list_codes(sketch) == []


# ---- a join that runs without a branch that failed -----------------------------------------------
class Price(BaseModel):
    price: float = 0.0


class Stock(BaseModel):
    stock: int = 0


class Offer(BaseModel):
    offer: str = ""


class Log(BaseModel):
    log: str = ""


class Shop(Topic, Price, Stock, Offer, Log): ...


@node
def ask_price(topic: Topic) -> Price:
    return Price(price=1)


@node
def ask_stock(topic: Topic) -> Stock:
    return Stock(stock=1)


@node
def convert(price: Price) -> Price:
    return Price(price=price.price * 2)


@node
def make_offer(price: Price, stock: Stock) -> Offer:
    return Offer(offer=f"{price.price} {stock.stock}")


@node
def make_careful_offer(price: Price | None, stock: Stock) -> Offer:
    return Offer(offer=f"{price} {stock.stock}")


@node
def offer_stock(stock: Stock) -> Offer:
    return Offer(offer=f"{stock.stock}")


@node
def write_log(failure: Failure) -> Log:
    return Log(log=failure.message)


@node
def guess_price(topic: Topic) -> Price:
    return Price(price=9)


def list_unseen(sketch: Sketch) -> list[str]:
    problems = list_problems(sketch, warnings=True)
    return [problem for problem in problems if problem.startswith("FAILURE_UNSEEN")]


def shopping() -> Sketch:
    return Sketch(state=Shop, output=Shop)


UNSEEN = (
    "FAILURE_UNSEEN at node 'make_offer': if '{}' fails, 'write_log' handles that and 'make_offer' "
    "runs all the same, with the default of 'price', which only the branch of '{}' writes\n"
    "    fix: read `Price | None`, which is None then, or lead on from 'write_log' to 'make_offer'"
)


def test_join_that_reads_defaults_of_failed_branch_is_suspicious() -> None:
    """A join goes on without a branch that failed: what only that writes is the default then."""
    sketch = shopping().chain([ask_price, ask_stock], make_offer)
    sketch.on_error(ask_price, write_log)
    assert list_unseen(sketch) == [UNSEEN.format("ask_price", "ask_price")]


def test_failure_further_up_branch_is_suspicious() -> None:
    """The branch may be longer: each of its nodes that fails leaves out what follows it."""
    sketch = shopping().chain(START, [ask_price, ask_stock])
    sketch.chain(ask_price, convert, make_offer).chain(ask_stock, make_offer)
    sketch.on_error(ask_price, write_log)
    assert list_unseen(sketch) == [UNSEEN.format("ask_price", "ask_price")]


def test_function_of_map_that_reads_defaults_is_suspicious() -> None:
    """What a map goes over is read by its node, and may be a default as well."""

    def jobs(price: Price) -> list[Job]:
        return []

    sketch = shopping()
    digs = sketch.map("digs", dig, jobs, notes_of)
    sketch.chain([ask_price, ask_stock], digs).on_error(ask_price, write_log)
    (problem,) = list_unseen(sketch)
    assert problem.startswith("FAILURE_UNSEEN at over of map 'digs': if 'ask_price' fails")


def seen() -> Sketch:
    """Read what may be missing as such."""
    sketch = shopping().chain([ask_price, ask_stock], make_careful_offer)
    return sketch.on_error(ask_price, write_log)


def led_on() -> Sketch:
    """Lead the handler into the join."""
    sketch = shopping().chain([ask_price, ask_stock], make_offer).chain(write_log, make_offer)
    return sketch.on_error(ask_price, write_log)


def replaced() -> Sketch:
    """Have the handler write what the node would have written."""
    sketch = shopping().chain([ask_price, ask_stock], make_offer).chain(guess_price, make_offer)
    return sketch.on_error(ask_price, guess_price)


def unread() -> Sketch:
    """Read nothing of the branch that may fail."""
    sketch = shopping().chain([ask_price, ask_stock], offer_stock)
    return sketch.on_error(ask_price, write_log)


def written_before() -> Sketch:
    """Read what was written before as well."""
    sketch = shopping().chain(guess_price, [convert, ask_stock], make_offer)
    return sketch.on_error(convert, write_log)


def alone() -> Sketch:
    """Follow one branch alone, which does not run where that failed."""
    sketch = shopping().chain(ask_stock, ask_price, make_offer)
    return sketch.on_error(ask_price, write_log)


def chosen() -> Sketch:
    """Come by one way or the other, never by both."""

    def by(topic: Topic) -> Literal["price", "stock"]:
        return "price"

    sketch = shopping()
    sketch.route(guess_topic, by).when("price", ask_price).when("stock", ask_stock).exhaustive()
    sketch.chain([ask_price, ask_stock], make_offer)
    return sketch.on_error(ask_price, write_log)


@node
def guess_topic(topic: Topic) -> None: ...


@pytest.mark.parametrize(
    "make",
    [seen, led_on, replaced, unread, written_before, alone, chosen],
    ids=lambda make: make.__name__,
)
def test_join_that_knows_what_it_reads_is_fine(make: Callable[[], Sketch]) -> None:
    """No warning where the failure shows, is made good, or leaves nothing out that is read."""
    assert list_unseen(make()) == []
