"""Rows of the timeline: the items of a map are one row, which opens to a list."""

from __future__ import annotations

from typing import Any

from graphorch.debugger.notebook.timeline import (
    build_rows,
    describe_items,
    list_maps,
    summarize_step,
)
from graphorch.debugger.steps import DebugStep, StepKind
from tests.debugger.stepping import opened


def step(path: str, kind: StepKind = "done", **more: Any) -> DebugStep:
    return DebugStep(path, path.rpartition("/")[2], kind, activation="", **more)


HISTORY = [
    step("plan"),
    step("each", "entered"),
    step("each[0]/dig", changed={"n": (0, 7)}),
    step("each[0]/note"),
    step("each[1]/dig", "skipped", error="ValueError: no\n  stone"),
    step("each"),
    step("each[0]/dig", seconds=0.5),
]


def test_items_are_one_row() -> None:
    """The items of a map are folded into a row with their number and failures, visit by visit."""
    rows = build_rows(HISTORY)
    assert [(row["at"], row.get("path") or row["map"]) for row in rows] == [
        (0, "plan"),
        (1, "each"),
        (2, "each"),
        (5, "each"),
        (6, "each"),
    ]
    folded = rows[2]
    assert (folded["last"], folded["items"], folded["failed"], folded["kind"]) == (
        4,
        2,
        1,
        "skipped",
    )
    assert rows[4]["seconds"] == 0.5
    assert list_maps(HISTORY) == [(2, 4), (6, 6)]


def test_items_have_previews() -> None:
    """An item is listed with what it wrote last, or with its error, in one line."""
    first, second = describe_items(HISTORY, 2, 4)
    assert (first["item"], first["text"], first["hasFailed"]) == (0, "n: 7", False)
    assert (second["item"], second["text"], second["hasFailed"]) == (
        1,
        "ValueError: no stone",
        True,
    )
    assert [row["at"] for row in first["steps"]] == [2, 3]


def test_items_outside_history_are_none() -> None:
    """A page may ask for steps that were taken back meanwhile."""
    assert describe_items(HISTORY, -3, 1) == []
    assert describe_items(HISTORY, 90, 95) == []


def test_nested_maps_fold_at_outermost() -> None:
    """A map inside an item of a map belongs to that item."""
    history = [step("t/a[0]/b[1]/c"), step("t/a[0]/b[2]/c"), step("t/a[1]/b[0]/c"), step("t/z")]
    rows = build_rows(history)
    assert [(row.get("map"), row["at"]) for row in rows] == [("t/a", 0), (None, 3)]
    assert rows[0]["items"] == 2
    assert [item["item"] for item in describe_items(history, 0, 2)] == [0, 1]


def test_thousand_items_are_few_rows() -> None:
    """A large map does not push other steps out of the list, and long histories are cut."""
    many = [step("first"), *(step(f"each[{index}]/dig") for index in range(1000)), step("last")]
    assert [row["at"] for row in build_rows(many)] == [0, 1, 1001]
    assert build_rows([step("n")] * 500)[0]["at"] == 100


def test_session_rows_cover_history() -> None:
    """Every step of a real session with a map stands in exactly one row."""
    with opened("mapped_flows") as session:
        session.run_until()
        history = session.history
        rows = build_rows(history)
        covered = [at for row in rows for at in range(row["at"], row.get("last", row["at"]) + 1)]
        assert covered == list(range(len(history)))
        (row,) = (row for row in rows if "map" in row)
        items = describe_items(history, row["at"], row["last"])
        shown = [entry for item in items for entry in item["steps"]]
        assert shown == [
            summarize_step(history[at], at) for at in range(row["at"], row["last"] + 1)
        ]
