"""Files of runs that wait, go on, failed, were erased, or are of another version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.test_golden import FORMATS
from tests.server.export.exporting import (
    check_alone,
    export,
    open_file,
    read_about,
    read_groups,
    write_file,
)
from tests.server.export.unusual_runs import KINDS, RUN, copy_golden, keep_run
from tests.server.page.browser import needs_browser
from tests.server.page.test_page import TABS


def read_file(kind: str, folder: Path) -> dict[str, dict[str, Any]]:
    return read_groups(export(folder, RUN, keep_run(kind, folder)).content)


def test_waiting_run_holds_its_questions(tmp_path: Path) -> None:
    """What a person was asked, and with which arguments, is in the file."""
    page = read_file("waiting", tmp_path)["run"][""]
    assert page["row"]["status"] == "waiting"
    assert [question["path"] for question in page["questions"]] == [
        "write/r2/send#0",
        "write/r2/send#1",
    ]


def test_run_under_way_is_of_one_moment(tmp_path: Path) -> None:
    """All answers are about as many records, and the state of the end is that of the last."""
    groups = read_file("running", tmp_path)
    assert groups["run"][""]["row"]["is_under_way"] is True
    seen = {groups[name]["0"]["seq"] for name in ("moments", "records", "conversation", "calls")}
    assert seen | {groups["run"][""]["seq"], groups["timeline"][""]["seq"]} == {6}
    assert groups["state"][""] == groups["state"]["6"]


def test_erased_run_holds_nothing_of_it(tmp_path: Path) -> None:
    """Of an erased run only that it was there is in the file."""
    flow = keep_run("erased", tmp_path)
    content = export(tmp_path, RUN, flow).content
    groups = read_groups(content)
    assert groups["run"][""]["row"]["status"] == "erased"
    assert all(record["is_erased"] for record in groups["records"]["0"]["records"])
    assert "Plan: tides" not in content
    assert "state" not in groups
    assert "erased" in read_about(content)["absent"]["state"]["detail"]


def test_secrets_are_in_no_file(tmp_path: Path) -> None:
    """What is secret by its mark or its form is nowhere in a file, with or without the flow."""
    flow = keep_run("secret", tmp_path)
    for flows in ((), (flow,)):
        content = export(tmp_path, RUN, *flows).content
        assert "hush" not in content
        assert "abcdefghij0123" not in content
        assert "[hidden]" in content
        assert str(tmp_path) not in content  # nor where the journal is


def test_rerun_names_the_run_before(tmp_path: Path) -> None:
    """A file of a rerun says what it is a fork of, and holds nothing else of that run."""
    page = read_file("rerun", tmp_path)["run"][""]
    assert (page["row"]["parent"], page["forked_at"]) == ("before", "answer")


def test_items_of_a_map_are_explained(tmp_path: Path) -> None:
    """Every path of a map that can be selected has its reasons."""
    groups = read_file("map", tmp_path)
    assert {"each", "each/dig", "each[3]/dig", "each[3]/sift"} <= groups["why"].keys()


def test_newer_run_is_held_as_far_as_known(tmp_path: Path) -> None:
    """Records of an unknown kind are named, and why there is no state."""
    flow = keep_run("newer", tmp_path)
    exported = export(tmp_path, RUN, flow)
    groups = read_groups(exported.content)
    assert "unknown kind 'dreamt'" in groups["run"][""]["faults"][0]
    assert "Update graphorch" in exported.problem
    assert "Update graphorch" in read_about(exported.content)["absent"]["why"]["detail"]


def test_run_without_records_is_held(tmp_path: Path) -> None:
    """A run that has not begun is a file without moments."""
    groups = read_file("empty", tmp_path)
    assert groups["run"][""]["seq"] == 0
    assert groups["moments"]["0"]["moments"] == []


GOLDEN = [
    pytest.param(
        folder.name,
        name,
        marks=[] if folder in (FORMATS[0], FORMATS[-1]) and name == "crashed" else pytest.mark.slow,
        id=f"{folder.name}-{name}",
    )
    for folder in FORMATS
    for name in ("finished", "waiting", "failed", "crashed")
]


@pytest.mark.parametrize("format_name, name", GOLDEN)
def test_old_journal_is_exported_whole(format_name: str, name: str, tmp_path: Path) -> None:
    """A run of an earlier version has all parts, with its flow and without."""
    flow = copy_golden(format_name, name, tmp_path)
    for flows in ((), (flow,)):
        exported = export(tmp_path, name, *flows)
        groups = read_groups(exported.content)
        assert exported.problem == ""
        assert not [key for key in groups.get("problems", {}) if not key.startswith("why ")]
        assert len(groups["records"]["0"]["records"]) == groups["run"][""]["seq"]
        assert (str(groups["run"][""]["seq"]) in groups.get("state", {})) == bool(flows)


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("has_flow", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_file_of_every_kind_opens(browser: Any, tmp_path: Path, kind: str, has_flow: bool) -> None:
    """Every tab of every kind of run shows something, without an error and without a request."""
    flow = keep_run(kind, tmp_path)
    path = write_file(tmp_path, RUN, *([flow] if has_flow else []))
    with open_file(browser, path) as opened:
        page = opened.page
        assert "This is a copy of a run as of" in page.inner_text(".copy-note")
        for number, _ in enumerate(TABS, 1):
            page.keyboard.press(str(number))
            page.wait_for_selector(".panel:not(:has(.loading)):not(.is-late) > *")
            page.keyboard.press("]")
            page.wait_for_selector(".panel:not(:has(.loading)):not(.is-late) > *")
            assert page.inner_text(".tab-panel").strip()
        assert opened.find_axe_violations() == []
        check_alone(opened, path)
