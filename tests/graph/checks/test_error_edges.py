"""Error edges that are never taken, and handlers that would get no failure."""

from __future__ import annotations

from graphorch.graph.node import node
from graphorch.graph.payloads import Failure
from tests.graph.content import Research, Sketch, Topic, codes, look, note, rescue, research, said


@node
def perhaps(f: Failure | None, t: Topic) -> Research:
    return Research(research="?")


@node
def twice(f: Failure, g: Failure) -> Research:
    return Research(research="?")


def test_a_handler_reads_the_failure_beside_its_slices() -> None:
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, rescue, when=(TimeoutError, ValueError))
    sketch.chain(rescue, look)
    assert said(sketch) == []


def test_an_error_edge_behind_a_wider_one_is_never_taken() -> None:
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, rescue)
    sketch.on_error(research, look, when=TimeoutError)
    assert said(sketch) == [
        "ERROR_SHADOWED at on_error 'research' → 'look': it is never taken: Exception, declared before, already leads to 'rescue'\n"
        "    fix: declare the narrower exceptions first"
    ]


def test_an_error_edge_before_a_wider_one_is_fine() -> None:
    sketch = Sketch()
    sketch.chain(research, look)
    sketch.on_error(research, look, when=TimeoutError)
    sketch.on_error(research, rescue)
    assert said(sketch) == []


def test_a_failure_that_another_edge_does_not_bring_is_refused_unless_it_may_be_none() -> None:
    sketch = Sketch()
    sketch.chain(look, rescue)
    assert said(sketch) == [
        "FAILURE_READ at node 'rescue': it reads a Failure, but 'look' → 'rescue' does not bring one\n"
        "    fix: lead to it by on_error() only, or read `Failure | None`"
    ]
    optional = Sketch()
    optional.chain(look, perhaps)
    assert said(optional) == []


def test_a_failure_that_is_read_twice_is_refused() -> None:
    sketch = Sketch()
    sketch.chain(look)
    sketch.on_error(look, twice)
    assert said(sketch) == [
        "FAILURE_READ at node 'twice': it reads the Failure twice\n    fix: keep one of the parameters"
    ]


def test_what_is_no_exception_or_no_node_is_refused_by_name() -> None:
    sketch = Sketch()
    sketch.chain(look)
    sketch.on_error(look, note, when=KeyboardInterrupt)  # type: ignore[arg-type]
    sketch.on_error(look, "ntoe")  # type: ignore[arg-type]
    assert said(sketch) == [
        "ERROR_TYPE at on_error 'look' → 'note': when=KeyboardInterrupt is not a subclass of Exception\n"
        "    fix: name classes that derive from Exception, such as TimeoutError",
        "NOT_A_NODE at on_error(handler): 'ntoe' is a name, not a node\n"
        "    fix: pass the node itself. Did you mean 'note'? Known: look, note.",
    ]


def test_a_node_with_only_an_error_edge_still_leads_to_end() -> None:
    sketch = Sketch()
    sketch.chain(look)
    sketch.on_error(look, note)
    assert codes(sketch) == []
