"""Mistakes about signals, times, regions and growing maps, as the command line tells them."""

from __future__ import annotations

import time

import pytest

from tests.cli.commands.runs.signal_flows import start_old_run, start_signal_run
from tests.cli.flows import run_json
from tests.cli.shell import Shell

WRONG = """
from datetime import datetime, timedelta
from typing import Any

@node
def ship(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)

@node
def load(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)

class State(Topic, Draft): ...

g: Any = Graph("wrong", State, input=Topic, output=Draft)
"""

GROWING = """
from collections.abc import Sequence

class Many(BaseModel):
    topics: list[Topic] = []

class Found(BaseModel):
    drafts: list[str] = []

class State(Many, Found): ...
class One(Topic, Draft): ...

@node
def look(topic: Topic) -> Draft:
    return Draft(draft=topic.topic)

def list_topics(many: Many) -> Sequence[Topic]:
    return many.topics or [Topic(topic="a")]

def gather(drafts: list[Draft]) -> Found:
    return Found(drafts=[draft.draft for draft in drafts])

def add(draft: Draft) -> list[Topic]:
    return [Topic(topic=draft.draft + "x")]

inner = Graph("one", One, input=Topic, output=Draft).chain(look).build()
g = Graph("many", State, input=Many, output=Found)
flow = g.chain(g.map("each", inner, over=list_topics, gather=gather, grow=add, max_items=3)).build()
"""


LETTERS = """
from graphorch import agent, tool

@tool(approve=True, expires=0.2)
def send(to: str) -> str:
    return f"sent to {to}"

@agent(output=Draft, tools=[send])
def write(topic: Topic) -> str:
    return topic.topic + chr(10) + "Steps:" + chr(10) + 'send {"to": "ann"}'

class State(Topic, Draft): ...

flow = Graph("letters", State, input=Topic, output=Draft).chain(write).build()
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("g.chain(g.timer('t', after=timedelta(seconds=-1)), ship)", "timer 't'"),
        ("g.chain(g.timer('t', at=datetime(2030, 1, 1)), ship)", "timer 't'"),
        ("g.chain(g.timer('t'), ship)", "it needs one of `after` and `at`"),
        ("g.chain(g.ask('a', question=str, answer=Draft, expires=-5.0), ship)", "expires=-5.0"),
        ("g.chain(g.signal('s', Draft, expires=-1.0), ship)", "expires=-1.0 is not a duration"),
        ("g.chain(g.signal('s', Draft, keep=-1), ship)", "keep=-1 is not a count"),
        (
            "g.chain(load, ship).exclusive('a', [load, ship]).exclusive('b', [ship, load])",
            "it has the same nodes as region 'a'",
        ),
        (
            "g.chain(load, ship).exclusive('a', [load]).exclusive('a', [ship])",
            "it is declared twice in this graph",
        ),
    ],
    ids=[
        "negative timer",
        "no time zone",
        "no time",
        "negative patience",
        "negative signal",
        "negative keep",
        "two names of a region",
        "one name twice",
    ],
)
def test_wrong_event_does_not_build(shell: Shell, line: str, message: str) -> None:
    """A wrong time or region is told as a graph that does not build, before a journal is made."""
    shell.write("wrong.py", f"{WRONG}\n{line}\nflow = g.build()\n")
    ended = shell("run", "wrong.py", "--topic", "tea", "--db", "r.sqlite")
    assert (ended.code, ended.out) == (3, "")
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not (shell.here / "r.sqlite").exists()


def test_growth_beyond_bound_is_named(shell: Shell) -> None:
    """A map that grows beyond its bound fails its run by name, and nothing of it is lost."""
    shell.write("grow.py", GROWING)
    ended = shell("run", "grow.py", "--db", "r.sqlite", "-q")
    assert ended.code == 1
    assert "more than 3 items" in ended.err
    assert "Traceback" not in ended.err
    shown = run_json(shell, "runs", "show", "last", "--db", "r.sqlite")
    done = [step["path"] for step in shown["steps"] if step["status"] == "done"]
    assert [path for path in done if path.endswith("/look")] == [
        "each[0]/look",
        "each[0.0]/look",
        "each[0.0.0]/look",
    ]


def test_signal_of_run_that_is_over_is_refused(shell: Shell) -> None:
    """A signal to a run that is over, or to none, is one message and exit code 2."""
    run_id = start_signal_run(shell)
    words = ("send", "paid.py", run_id, "paid", "--db", "r.sqlite", "-q", "--key", "tea")
    assert shell(*words, "--amount=1").code == 0
    for ended, message in [
        (shell(*words, "--amount=1"), "is succeeded: there is nothing left to signal"),
        (shell(*words, "--amount=1", "--no-wait"), "succeeded"),
        (shell("send", "paid.py", "none", "paid", "--amount=1", "--db", "r.sqlite"), "none"),
    ]:
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
        assert "Traceback" not in ended.err


def test_timer_of_clock_that_jumped_is_due(shell: Shell) -> None:
    """A run whose time passed while the clock jumped is due; one of a later time waits."""
    start_old_run(shell, "old", "paid.py:later")
    new = start_signal_run(shell, flow="paid.py:later")
    resumed = shell("resume", "paid.py:later", "--due", "--db", "r.sqlite")
    assert (resumed.code, resumed.out) == (0, "run old succeeded\n")
    early = shell("resume", "paid.py:later", new, "--db", "r.sqlite", "-q")
    assert (early.code, "Traceback" in early.err) == (4, False)


@pytest.mark.parametrize("by", ["resume", "answer"])
def test_late_approval_sends_nothing(shell: Shell, by: str) -> None:
    """A call that was not approved in time is refused, by what is due and by a late approval."""
    shell.write("letters.py", LETTERS)
    waiting = shell("run", "letters.py", "--topic", "tea", "--db", "r.sqlite")
    assert (waiting.code, "\n  until 20" in waiting.err) == (4, True)
    time.sleep(0.25)
    words = {
        "resume": ("resume", "letters.py", "--due"),
        "answer": ("answer", "letters.py", "last", "write/r1/send#0", "yes"),
    }
    ended = shell(*words[by], "--db", "r.sqlite")
    assert (ended.code, "Traceback" in ended.err) == (0, False)
    shown = run_json(shell, "runs", "show", "last", "--db", "r.sqlite")
    (call,) = [step for step in shown["steps"] if step["tool"] == "send"]
    assert call["status"] == "refused"
    assert "no person decided about this call of 'send' within 0.2 s" in call["result"]
    again = shell("answer", "letters.py", "last", "write/r1/send#0", "yes", "--db", "r.sqlite")
    assert (again.code, "its time is over" in again.err) == (2, True)
    assert "Traceback" not in again.err
