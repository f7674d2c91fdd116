"""The timeline's arithmetic, in the browser that draws it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.browser import needs_browser, open_page, serve

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of the server without anything on it, that can import its modules."""
    folder: Path = tmp_path_factory.mktemp("journal")
    with serve(folder) as server, open_page(browser, server.url) as opened:
        opened.page.goto(f"{server.url}icon.svg")
        yield opened.page


def bar(id: str, path: str, begin: float, end: float, parent: str = "", **more: Any) -> Any:
    return {
        "id": id,
        "parent": parent,
        "path": path,
        "activation": id,
        "name": path.removeprefix(more.pop("around", "")).lstrip("/"),
        "kind": "node",
        "begin": begin,
        "end": end,
        "status": "done",
        "is_open": False,
        "hint": path,
        "remark": "",
        "requests": [],
        "attempts": [],
        **more,
    }


def run_in(page: Any, module: str, body: str, argument: Any) -> Any:
    """Run a function body with a module `m` and an argument `given`."""
    return page.evaluate(
        f"async (given) => {{ const m = await import('/views/run/timeline/{module}.js'); {body} }}",
        argument,
    )


def test_wait_of_days_is_cut(page: Any) -> None:
    """Two days in which only a person was waited for take no more room than a moment."""
    two_days = 172_800.0
    bars = [
        bar("a", "draft", 0, 10),
        bar("q", "approve", 10, 10 + two_days, kind="ask", status="waiting"),
        bar("b", "send", 10 + two_days, 20 + two_days),
    ]
    body = (
        "const s = m.buildScale(given, 0); return [s.length, s.pieces, s.toTime(s.toX(172805.5))];"
    )
    length, pieces, back = run_in(page, "scale", body, bars)
    assert 20 < length < 22
    assert [piece["isCut"] for piece in pieces] == [False, True, False]
    assert back == pytest.approx(172_805.5)


def test_wait_beside_work_stays(page: Any) -> None:
    """A wait is not cut while something else runs, nor a pause in which nobody is waited for."""
    bars = [
        bar("q", "approve", 0, 100, kind="ask", status="waiting"),
        bar("a", "crawl", 0, 100),
        bar("b", "send", 160, 170),
    ]
    pieces = run_in(page, "scale", "return m.buildScale(given, 0).pieces;", bars)
    assert not any(piece["isCut"] for piece in pieces)


def test_rounds_share_a_row(page: Any) -> None:
    """Rounds of a loop are bars of one row, and what is inside of a sub-flow lies below it."""
    bars = [
        bar("w1", "write", 0, 1),
        bar("j1", "judge", 1, 2),
        bar("w2", "write", 2, 3),
        bar("t", "team", 3, 6),
        bar("t1", "team/plan", 3, 4, "t", around="team"),
    ]
    body = "return m.buildRows(given, new Map()).map(r => [r.name, r.level, r.bars.length]);"
    assert run_in(page, "rows", body, bars) == [
        ["write", 0, 2],
        ["judge", 0, 1],
        ["team", 0, 1],
        ["plan", 1, 1],
    ]


@pytest.mark.parametrize("items, shown", [(20, 21), (21, 1)])
def test_large_maps_begin_closed(page: Any, items: int, shown: int) -> None:
    """A map of more than 20 items is one row until it is opened; then an item is a row."""
    bars = [bar("m", "each", 0, items)]
    for item in range(items):
        for name in ("dig", "sift"):
            path = f"each[{item}]/{name}"
            bars.append(bar(path, path, item, item + 1, "m", around="each"))
    body = "return m.buildRows(given, new Map()).map(r => [r.name, r.items, r.inner.length]);"
    rows = run_in(page, "rows", body, bars)
    assert len(rows) == shown
    assert rows[0] == ["each", items, 0 if shown > 1 else 2 * items]
    assert shown == 1 or rows[10] == ["[9]", 0, 2]


def test_close_bars_are_drawn_together(page: Any) -> None:
    """Ten thousand bars of a row are no more strips than pixels, and a failed one is still seen."""
    bars = [bar(str(at), "tick", at, at + 0.5) for at in range(10_000)]
    bars[7_000]["status"] = "failed"
    body = "return m.mergeBars(given, (time) => time / 20, 0, 500).map(s => s.status);"
    strips = run_in(page, "strips", body, bars)
    assert len(strips) < 500
    assert "failed" in strips
