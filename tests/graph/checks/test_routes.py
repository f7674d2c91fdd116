"""Routes that are open, or whose cases do not fit the labels of their selector."""

from __future__ import annotations

import pytest

from tests.graph.content import (
    Sketch,
    Tone,
    any_kind,
    classify,
    kind_of,
    kinds_of,
    list_codes,
    list_problems,
    look,
    note,
    tone_of,
)


def test_open_route_lists_missing_labels() -> None:
    """A route that is not closed is refused with the labels that have no target."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look)
    assert list_problems(sketch) == [
        "ROUTE_OPEN at route of 'classify': it is not closed ('prose' would have no target)\n"
        "    fix: end it in .exhaustive(), or in .otherwise(node) for the rest"
    ]


def test_unknown_label_suggests_nearest() -> None:
    """A label that the selector never returns is named with the nearest one."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("porse", note).exhaustive()  # type: ignore[misc]
    assert list_problems(sketch) == [
        "ROUTE_LABEL at route of 'classify': 'kind_of' never returns 'porse'\n    fix: "
        "Did you mean 'prose'? Known: math, prose.",
    ]


def test_unknown_label_without_nearest_leaves_others_open() -> None:
    """A label that is like none explains no label without a target."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("x", note).exhaustive()  # type: ignore[misc]
    assert [problem.split(" at ")[0] for problem in list_problems(sketch)] == [
        "ROUTE_LABEL",
        "ROUTE_INCOMPLETE",
    ]


def test_missing_enum_member_is_named() -> None:
    """A member of an enum without a target is named."""
    sketch = Sketch()
    sketch.route(classify, tone_of).when(Tone.WARM, look).exhaustive()
    assert list_problems(sketch) == [
        "ROUTE_INCOMPLETE at route of 'classify': it is called exhaustive, but label "
        "'Tone.COLD' has no target\n"
        "    fix: add .when(Tone.COLD, node), or end it in .otherwise(node)"
    ]


@pytest.mark.parametrize("selector", [any_kind, lambda state: "math"], ids=["a string", "a lambda"])
def test_selector_must_list_labels(selector: object) -> None:
    """A return type that does not list the labels is refused."""
    sketch = Sketch()
    sketch.route(classify, selector).when("math", look).otherwise(note)  # type: ignore[arg-type]
    name = getattr(selector, "__name__", "")
    assert list_problems(sketch) == [
        f"ROUTE_SELECTOR at route of 'classify': the return type of '{name}' does not "
        "list its labels\n"
        '    fix: annotate it: def selector(…) -> Literal["math", …], an Enum, or a set of these'
    ]


def test_second_route_of_node_is_refused() -> None:
    """A second route of a node is refused."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).otherwise(note)
    sketch.route(classify, kind_of).when("prose", look).otherwise(note)
    assert list_problems(sketch) == [
        "ROUTE_TWICE at route of 'classify': node 'classify' has two routes\n"
        "    fix: write all cases into one route, or let a node after it decide the rest"
    ]


def test_label_with_two_cases_is_refused() -> None:
    """A second case of a label is refused."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("math", note).otherwise(note)
    assert list_problems(sketch) == [
        "ROUTE_LABEL_TWICE at route of 'classify': label 'math' has two cases\n    fix: "
        "give one list: .when('math', [first, second])"
    ]


def test_otherwise_without_label_is_refused() -> None:
    """The target of such a case would start at once, as a node that nothing leads to."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("prose", note).otherwise(
        note.named("rest")
    )
    assert list_problems(sketch) == [
        "ROUTE_NO_LABEL_LEFT at route of 'classify': every label has a case, so "
        "otherwise() can never be taken\n"
        "    fix: end it in .exhaustive(), or drop the case that otherwise() should cover"
    ]


def test_covered_labels_are_fine() -> None:
    """A route that covers its labels has no problem."""
    sketch = Sketch()
    sketch.route(classify, kinds_of).when("math", look).when("prose", [note, look]).exhaustive()
    sketch.route(look, tone_of).when(Tone.WARM, note).otherwise(note.named("cold"))
    assert list_codes(sketch) == []
