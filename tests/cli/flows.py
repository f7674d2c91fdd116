"""Files with flows for the tests of the commands that work on a journal."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.shell import Shell

ASKING = """
class Ok(BaseModel):
    approved: bool = False
    reason: str = ""

class Talk(BaseModel):
    talk: list[str] = []

class State(Topic, Draft, Ok, Talk): ...

@node
def end(draft: Draft, ok: Ok) -> Draft:
    return Draft(draft=f"{draft.draft}, {'yes' if ok.approved else 'no'} {ok.reason}".strip())

g = Graph("asking", State, input=Topic, output=Draft)
g.chain(write, g.ask("approve", question=lambda s: f"Publish {s.draft}?", answer=Ok), end)
flow = g.build()
"""

FLAKY = """
import pathlib

@node
def flaky(draft: Draft) -> Draft:
    if not pathlib.Path("repaired").exists():
        raise RuntimeError("it is broken")
    return Draft(draft=draft.draft + "!")

flow = Graph("flaky", Essay, input=Topic, output=Draft).chain(write, flaky).build()
"""


def told(shell: Shell, *arguments: str) -> dict[str, Any]:
    """What a command tells a program."""
    return json.loads(shell(*arguments, "--json").out)


def waiting(shell: Shell, *more: str) -> str:
    """Begin a run that waits for an answer, in `r.sqlite`; its id."""
    shell.write("ask.py", ASKING)
    return told(shell, "run", "ask.py", "--topic", "tides", "--db", "r.sqlite", *more)["run_id"]


def finished(shell: Shell, *more: str) -> str:
    """The same, answered with yes."""
    run_id = waiting(shell, *more)
    assert shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite", "-q").code == 0
    return run_id
