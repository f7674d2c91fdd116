"""Comparison as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from tests.cli.shell import Shell


def test_picture_has_figures_of_table(bench: Shell) -> None:
    """The picture is SVG with the figures of the table."""
    ended = bench(
        "compare",
        "flows.py:a",
        "flows.py:b",
        "--inputs",
        "cases.jsonl",
        "--score",
        "flows.py:right",
        "--svg",
        "out.svg",
    )
    assert "written to out.svg" in ended.err
    picture = ElementTree.parse(bench.here / "out.svg").getroot()
    words = " ".join(picture.itertext())
    assert picture.tag.endswith("svg")
    assert all(
        word in words
        for word in ("quality", "seconds, P90", "A is better", "20 cases, 16 answered by both")
    )


def test_failing_flows_exit_with_1(bench: Shell) -> None:
    """Flows that never succeed exit with 1, and the picture says that nothing can be compared."""
    ended = bench(
        "compare",
        "flows.py:c",
        "flows.py:c",
        "--inputs",
        "cases.jsonl",
        "--score",
        "flows.py:right",
        "--svg",
        "out.svg",
    )
    assert ended.code == 1
    assert "nothing to compare" in bench.here.joinpath("out.svg").read_text("utf-8")


def test_unwritable_picture_is_refused_before_run(bench: Shell) -> None:
    """A picture that cannot be written is refused before anything runs."""
    ended = bench(
        "compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl", "--svg", "nowhere/out.svg"
    )
    assert ended.code == 2
    assert "80 runs" not in ended.err
