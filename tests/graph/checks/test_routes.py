"""Routes that are open, that know other labels than their selector, or whose labels nobody can know."""

from __future__ import annotations

import pytest

from tests.graph.content import (
    Sketch,
    Tone,
    any_kind,
    classify,
    codes,
    kind_of,
    kinds_of,
    look,
    note,
    said,
    tone_of,
)


def test_a_route_that_is_not_closed_says_what_would_be_missing() -> None:
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look)
    assert said(sketch) == [
        "ROUTE_OPEN at route of 'classify': it is not closed ('prose' would have no target)\n"
        "    fix: end it in .exhaustive(), or in .otherwise(node) for the rest"
    ]


def test_a_label_that_is_never_returned_is_named_with_the_nearest_one() -> None:
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("porse", note).exhaustive()  # type: ignore[misc]
    assert said(sketch) == [
        "ROUTE_LABEL at route of 'classify': 'kind_of' never returns 'porse'\n    fix: "
        "Did you mean 'prose'? Known: math, prose.",
        "ROUTE_INCOMPLETE at route of 'classify': it is called exhaustive, but label "
        "'prose' has no target\n"
        "    fix: add .when('prose', node), or end it in .otherwise(node)",
    ]


def test_an_enum_member_without_a_target_is_named() -> None:
    sketch = Sketch()
    sketch.route(classify, tone_of).when(Tone.WARM, look).exhaustive()
    assert said(sketch) == [
        "ROUTE_INCOMPLETE at route of 'classify': it is called exhaustive, but label "
        "'Tone.COLD' has no target\n"
        "    fix: add .when(Tone.COLD, node), or end it in .otherwise(node)"
    ]


@pytest.mark.parametrize("selector", [any_kind, lambda state: "math"], ids=["a string", "a lambda"])
def test_a_selector_must_list_its_labels(selector: object) -> None:
    sketch = Sketch()
    sketch.route(classify, selector).when("math", look).otherwise(note)  # type: ignore[arg-type]
    name = getattr(selector, "__name__", "")
    assert said(sketch) == [
        f"ROUTE_SELECTOR at route of 'classify': the return type of '{name}' does not "
        "list its labels\n"
        '    fix: annotate it: def selector(…) -> Literal["a", "b"], an Enum, or a set of these'
    ]


def test_two_routes_on_one_node_are_refused() -> None:
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).otherwise(note)
    sketch.route(classify, kind_of).when("prose", look).otherwise(note)
    assert said(sketch) == [
        "ROUTE_TWICE at route of 'classify': node 'classify' has two routes\n"
        "    fix: write all cases into one route, or let a node after it decide the rest"
    ]


def test_a_label_with_two_cases_is_refused() -> None:
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("math", note).otherwise(note)
    assert said(sketch) == [
        "ROUTE_LABEL_TWICE at route of 'classify': label 'math' has two cases\n    fix: "
        "give one list: .when('math', [first, second])"
    ]


def test_otherwise_without_a_label_left_is_refused() -> None:
    """Its target would start at once, as a node that nothing leads to."""
    sketch = Sketch()
    sketch.route(classify, kind_of).when("math", look).when("prose", note).otherwise(
        note.named("rest")
    )
    assert said(sketch) == [
        "ROUTE_NO_LABEL_LEFT at route of 'classify': every label has a case, so "
        "otherwise() can never be taken\n"
        "    fix: end it in .exhaustive(), or drop the case that otherwise() should cover"
    ]


def test_routes_that_cover_their_labels_are_fine() -> None:
    sketch = Sketch()
    sketch.route(classify, kinds_of).when("math", look).when("prose", [note, look]).exhaustive()
    sketch.route(look, tone_of).when(Tone.WARM, note).otherwise(note.named("cold"))
    assert codes(sketch) == []
