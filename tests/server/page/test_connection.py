"""What the page reads from the server or from a file, in the browser that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.browser import needs_browser, open_page, serve

pytestmark = [needs_browser, pytest.mark.slow]

STREAM = 'id: 7\r\nevent: run\r\ndata: {"a":\r\ndata: 1}\r\n\r\n: alive\n\ndata:é\n\ndata: cut'
EXPORTED = """async ([about, groups]) => {
  const { Exported } = await import("/connection/exported.js");
  const sources = Object.entries(groups).map(([name, all]) => [name, JSON.stringify(all)]);
  const exported = new Exported(about, new Map(sources));
  const refused = async (act) => {
    try { return await act(); } catch ({ kind, message }) { return [kind, message]; }
  };
  const { post } = exported;
  const get = (path, query) => refused(() => exported.get(`/runs/one${path}`, query));
  return {
    state: await get("/state", { at: 3, path: "" }),
    early: await get("/state", { at: 1 }),
    late: await get("/state", { at: 9 }),
    other: await refused(() => exported.get("/runs/two")),
    post: await refused(() => post("/runs/one/stop")),
    picture: await get("/picture.svg", { overlay: "run", heat: "", at: 2 }),
    begun: await get("/conversation", { after: 0, limit: 60 }),
    ended: await get("/conversation", { after: 4, limit: 60 }),
    text: await get("/text", { seq: 1, pointer: "/a b", begin: 0 }),
    records: await get("/records", { after: 1, limit: 2 }),
    calls: await get("/calls", { path: "", after: 0, limit: 2 }),
    inside: await get("/calls", { path: "each/ask", after: 0, limit: 9 }),
  };
}"""


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of the server without anything on it, that can import its modules."""
    folder: Path = tmp_path_factory.mktemp("journal")
    with serve(folder) as server, open_page(browser, server.url) as opened:
        opened.page.goto(f"{server.url}icon.svg")
        yield opened.page


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_survive_every_cut(page: Any, size: int) -> None:
    """Events are the same in however many pieces they come; half of one is none."""
    events = page.evaluate(
        """async ([text, size]) => {
          const { EventParser } = await import("/connection/event_reader.js");
          const events = [];
          const parser = new EventParser((event) => events.push(event));
          for (let at = 0; at < text.length; at += size) parser.take(text.slice(at, at + size));
          return events;
        }""",
        [STREAM, size],
    )
    assert events == [
        {"id": "7", "event": "run", "data": '{"a":\n1}'},
        {"id": "7", "event": "message", "data": "é"},
    ]


def test_file_is_read_in_place_of_a_server(page: Any) -> None:
    """A file answers the same paths, says why an answer is missing, and changes nothing."""
    calls = [{"seq": seq, "path": path} for seq, path in ((2, "a"), (3, "each[4]/ask"), (3, "b"))]
    groups = {
        "state": {"3": {"seq": 3}},
        "problems": {"state 1": {"type": "urn:graphorch:problem:journal", "detail": "Broken."}},
        "picture.svg": {" 1": "<svg/>", " 2": 1},
        "conversation": {"0": {"turns": [1], "next": 4}, "4": {"turns": [2], "next": 9}},
        "text": {"1 /a b 0": {"text": "a", "next": 200_000}},
        "records": {
            "0": {"records": [{"seq": 1}, {"seq": 2}], "next": 2},
            "2": {"records": [{"seq": 3}, {"seq": 4}], "next": None},
        },
        "calls": {"0": {"models": calls, "tools": [{"seq": 9, "path": "b"}], "next": None}},
    }
    about = {"run": "one", "absent": {"state": {"type": "left-out", "detail": "Too many."}}}
    found = page.evaluate(EXPORTED, [about, groups])
    assert found["state"] == {"seq": 3}
    assert found["early"] == ["refused", "Broken."]
    assert found["late"] == ["refused", "Too many."]
    assert (found["other"][0], found["post"][0]) == ("missing", "refused")
    assert found["picture"] == "<svg/>"
    assert found["begun"]["next"] == 4
    assert found["ended"] == {"turns": [2], "next": None}  # what follows was left out
    assert found["text"]["next"] == 200_000
    assert found["records"] == {"records": [{"seq": 2}, {"seq": 3}], "next": 3, "seq": 4}
    assert found["calls"] == {"models": calls, "tools": [], "next": 3}
    assert found["inside"]["models"] == [{"seq": 3, "path": "each[4]/ask"}]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0004, "0 ms"),
        (1.25, "1.3 s"),
        (99.96, "1 min 40 s"),
        (7_500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_written_as_elsewhere(page: Any, value: float, text: str) -> None:
    """Seconds are written as pictures and the command line write them."""
    body = "async (value) => (await import('/parts/elements.js')).seconds(value)"
    assert page.evaluate(body, value) == text


@pytest.mark.parametrize(
    "usd, unpriced, text",
    [
        (0.0, 0, "$0"),
        (0.00001, 0, "<$0.0001"),
        (0.0123, 0, "$0.012"),
        (1234.5, 0, "$1,234.50"),
        (0.0, 2, "unknown"),
        (0.5, 1, "$0.500 + unknown"),
    ],
)
def test_unknown_price_is_never_zero(page: Any, usd: float, unpriced: int, text: str) -> None:
    """A cost with requests of unknown price says so."""
    body = "async (entry) => (await import('/parts/figures.js')).price(entry)"
    assert page.evaluate(body, {"usd": usd, "unpriced": unpriced}) == text
