"""Charts: drawn by the plotting library, the same bytes for the same figures, and no text of a user's that acts."""

from __future__ import annotations

from xml.etree import ElementTree

from graphorch.render.charts import Series, bar_chart, distribution_chart, line_chart


def test_the_same_figures_give_the_same_bytes() -> None:
    text = bar_chart(["a", "b"], [1.0, 2.0], title="cost", unit="usd")
    assert text == bar_chart(["a", "b"], [1.0, 2.0], title="cost", unit="usd")
    assert ">cost</" in text
    ElementTree.fromstring(text)


def test_names_of_any_kind_are_text() -> None:
    svg = bar_chart(
        ["$x^2$", "<script>", "\ud800", "n" * 300, ""],
        [1, 2, 3, 4, 5],
        title="a $b$ <c>",
        unit="usd",
    )
    ElementTree.fromstring(svg)
    assert "<script>" not in svg


def test_many_bars_are_added_up() -> None:
    svg = bar_chart([f"n{number}" for number in range(50)], [1.0] * 50, title="t", unit="u")
    assert ">31 others<" in svg


def test_lines_and_distributions_are_drawn_and_nothing_is_said_to_be_nothing() -> None:
    assert "a" in line_chart(
        [Series("a", [1, 2], [0.0, 86_400.0]), Series("b", [1], [0.0])], title="t", unit="u"
    )
    assert "(3)" in distribution_chart([Series("a", [1, 2, 3])], title="t", unit="s")
    for empty in (
        bar_chart([], [], title="t", unit="u"),
        line_chart([], title="t", unit="u"),
        distribution_chart([], title="t", unit="s"),
    ):
        assert "no data in this window" in empty
