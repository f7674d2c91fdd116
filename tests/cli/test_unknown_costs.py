"""A cost that is not known is shown as unknown by every command, and never as an amount of 0."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.shell import Shell
from tests.models.servers import completion

FLOW = """
@agent(output=Draft, model="own/model")
def ask(topic: Topic) -> str:
    return topic.topic

flow = Graph("essay", Essay, input=Topic, output=Draft).chain(ask).build()
"""

PRICED = """
[endpoints.own]
base_url = "{url}"
key_env = "OWN_KEY"
dialect = "generic"

[prices."own/model"]
input = 1000
output = 1000
"""


@contextmanager
def endpoint(*answers: tuple[int, str]) -> Iterator[str]:
    """Serve these answers, the last one from then on, in a thread of their own."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            content = body.encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def without_usage() -> str:
    answer = completion("fine")
    del answer["usage"]
    return json.dumps(answer)


READERS = (
    ("runs", "show", "last"),
    ("conversation", "last"),
    ("stats", "calls"),
    ("stats", "runs"),
)


@pytest.mark.parametrize(
    "answer", [(200, without_usage()), (500, "{}")], ids=["answered", "failed"]
)
def test_unknown_cost_is_never_an_amount(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]
) -> None:
    """A run whose only cost is not known says so, while it runs, at its end and afterwards."""
    shell.write("asks.py", FLOW)
    monkeypatch.setenv("OWN_KEY", "k")
    with endpoint(answer) as url:
        shell.configure(PRICED.format(url=url))
        ran = shell("run", "asks.py", "--topic", "tides", "--db", "runs.sqlite")
        printed = shell("run", "asks.py", "--topic", "tides", "--db", "runs.sqlite", "--json")
    assert "price unknown" in ran.err
    assert "$0.00" not in ran.err
    report = json.loads(printed.out)
    assert (report["cost"], report["unpriced"] > 0) == (0, True)
    assert report["steps"][0]["unpriced"] == report["unpriced"]
    for command in READERS:
        ended = shell(*command, "--db", "runs.sqlite")
        assert "unknown" in ended.out, command
        assert "0.000" not in ended.out, (command, ended.out)
    why = shell("why", "asks.py", "last", "ask", "--db", "runs.sqlite")
    assert "price unknown" in why.out
    heat = shell("heat", "asks.py", "--db", "runs.sqlite", "-o", "heat.svg")
    assert heat.code == 0
    assert "$ ?" in shell.here.joinpath("heat.svg").read_text("utf-8")


def test_known_part_of_cost_is_shown(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of a cost is shown beside what is not."""
    shell.write("asks.py", FLOW)
    monkeypatch.setenv("OWN_KEY", "k")
    with endpoint((500, "{}"), (200, json.dumps(completion("fine")))) as url:
        shell.configure(PRICED.format(url=url))
        ran = shell("run", "asks.py", "--topic", "tides", "--db", "runs.sqlite")
        again = shell("resume", "asks.py", "last", "--db", "runs.sqlite")
    assert "and calls of unknown price" in (again.err if ran.code else ran.err)
    assert "$0.0100" in (again.err if ran.code else ran.err)
    shown = shell("runs", "show", "last", "--db", "runs.sqlite")
    assert "0.0100+?" in shown.out


def test_failed_run_says_its_cost(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that failed of an answer it paid for says what it cost."""
    shell.write("asks.py", FLOW)
    monkeypatch.setenv("OWN_KEY", "k")
    with endpoint((200, json.dumps(completion("fi", "length")))) as url:
        shell.configure(PRICED.format(url=url))
        ran = shell("run", "asks.py", "--topic", "tides")
        printed = shell("run", "asks.py", "--topic", "tides", "--json")
    assert ran.code == 1
    assert "It made 1 model call, 10 tokens, $0.0100." in ran.err
    assert json.loads(printed.out)["cost"] == pytest.approx(0.01)
