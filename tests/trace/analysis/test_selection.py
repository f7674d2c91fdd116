"""Selections: words and tags as SQL, filters, and windows of time."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import (
    Clause,
    Selection,
    build_conditions,
    build_groups,
    list_columns,
)
from tests.trace.sample_spans import make_call, make_index, make_trace


def test_tags_group_and_filter() -> None:
    """Any tag groups and filters."""
    traces = [
        make_trace(make_call(1), run_id="a", tags={"team": "x", 'a"b.c': "1"}),
        make_trace(make_call(2), run_id="b", tags={"team": "y"}),
    ]
    with make_index(*traces) as index:
        assert {row.key: row.calls for row in statistics.calls(index, ["team"])} == {
            ("x",): 1,
            ("y",): 1,
        }
        assert [
            row.calls for row in statistics.calls(index, ["agent"], Selection(where={"team": "x"}))
        ] == [1]
        assert {row.key for row in statistics.calls(index, ['a"b.c'])} == {("1",), ("",)}
        assert {row.key for row in statistics.runs(index, ["tag:team"])} == {("x",), ("y",)}


@pytest.mark.parametrize(
    "evil", ["model; DROP TABLE spans", "x' OR 1=1 --", '"', "$.x", "s.model", "\0", "ü" * 300]
)
def test_words_never_become_sql(evil: str) -> None:
    """A word of any kind is a tag and never SQL."""
    with make_index(make_trace(make_call(1))) as index:
        assert [row.key for row in statistics.calls(index, [evil])] == [("",)]
        assert not list(statistics.calls(index, ["agent"], Selection(where={"model": evil})))
        assert not list(statistics.calls(index, ["agent"], Selection(where={evil: "x"})))
        assert len(index.query("SELECT * FROM spans")) == 1


def test_runs_refuse_words_of_spans() -> None:
    """Runs cannot be grouped by words of their spans."""
    with make_index(make_trace(make_call(1))) as index:
        with pytest.raises(InputError, match="Runs have no 'model'"):
            statistics.runs(index, ["model"])
        with pytest.raises(InputError, match="names nothing to group by"):
            statistics.calls(index, ["tag:"])


def test_window_before() -> None:
    with make_index(make_trace(make_call(1), make_call(2), make_call(11))) as index:
        now = Selection(since=1010.0, until=1020.0)
        assert [row.calls for row in statistics.calls(index, ["agent"], now)] == [1]
        assert [row.calls for row in statistics.calls(index, ["agent"], now.before())] == [2]
    with pytest.raises(InputError, match="a beginning and an end"):
        Selection(since=3.0).before()


def test_conditions_bind_all_values() -> None:
    """Every value of a caller is bound in the order of its place in the SQL."""
    selection = Selection(since=1.0, until=2.0, where={"model": "m", "team": "x", "level": "1"})
    clause = build_conditions(selection)
    assert clause.values == (1.0, 2.0, "m", '$."team"', "x", "1")
    assert clause.sql.count("?") == len(clause.values)
    assert build_conditions(Selection()) == Clause("")


def test_conditions_of_runs_use_run_times() -> None:
    """The window of a table of runs is that of their beginning."""
    window = Selection(since=1.0, until=2.0)
    assert build_conditions(window, of_runs=True).sql == " AND t.began >= ? AND t.began < ?"
    assert build_conditions(window).sql == " AND s.began >= ? AND s.began < ?"


def test_window_excludes_its_end() -> None:
    """A window holds its beginning and not its end, so that windows in a row count all once."""
    with make_index(make_trace(*(make_call(number) for number in range(10)))) as index:
        window = Selection(since=1003.0, until=1006.0)
        windows = (window.before(), window, Selection(since=1006.0, until=1009.0))
        rows = [statistics.calls(index, ["agent"], chosen) for chosen in windows]
    assert [row.calls for table in rows for row in table] == [3, 3, 3]


def test_groups_have_a_column_each() -> None:
    """Groups and their columns have equal numbers, also without any group."""
    for by in ([], ["model"], ["model", "team", "day"]):
        names = list_columns(by).split(", ")
        sql = build_groups(by).sql
        assert [f" AS {name}" in sql for name in names] == [True] * max(1, len(by))


def test_tag_may_have_name_of_word() -> None:
    """With `tag:` before it, the name of a word is that of a tag."""
    with make_index(make_trace(make_call(1), tags={"model": "blue"})) as index:
        keys = [row.key for row in statistics.calls(index, ["model", "tag:model"])]
    assert keys == [("m", "blue")]
