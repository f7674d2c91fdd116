"""Comparison as a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from tests.cli.shell import Shell


def test_the_picture_is_svg_and_says_what_the_table_says(bench: Shell) -> None:
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


def test_flows_that_never_succeed_end_with_1(bench: Shell) -> None:
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


def test_a_file_that_cannot_be_written_is_said_before_anything_runs(bench: Shell) -> None:
    ended = bench(
        "compare", "flows.py:a", "flows.py:b", "--inputs", "cases.jsonl", "--svg", "nowhere/out.svg"
    )
    assert ended.code == 2
    assert "80 runs" not in ended.err
