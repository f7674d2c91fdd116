"""Charts: equal figures give equal bytes, and no text of a user acts."""

from __future__ import annotations

from xml.etree import ElementTree

from graphorch.render.charts import Series, bar_chart, distribution_chart, line_chart


def test_chart_is_deterministic() -> None:
    """The same figures give the same bytes."""
    text = bar_chart(["a", "b"], [1.0, 2.0], title="cost", unit="usd")
    assert text == bar_chart(["a", "b"], [1.0, 2.0], title="cost", unit="usd")
    assert ">cost</" in text
    ElementTree.fromstring(text)


def test_chart_names_are_text() -> None:
    """Names of any kind are text."""
    svg = bar_chart(
        ["$x^2$", "<script>", "\ud800", "n" * 300, ""],
        [1, 2, 3, 4, 5],
        title="a $b$ <c>",
        unit="usd",
    )
    ElementTree.fromstring(svg)
    assert "<script>" not in svg


def test_chart_adds_up_many_bars() -> None:
    """Many bars are added up."""
    svg = bar_chart([f"n{number}" for number in range(50)], [1.0] * 50, title="t", unit="u")
    assert ">31 others<" in svg


def test_chart_of_lines_and_distributions() -> None:
    """Lines and distributions are drawn, and an empty chart says that it is empty."""
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
