"""Error edges that are never taken, and handlers that would get no failure."""

from __future__ import annotations

from graphorch.graph.node import node
from graphorch.graph.payloads import Failure
from tests.graph.content import (
    Research,
    Sketch,
    Topic,
    list_codes,
    list_problems,
    look,
    note,
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
