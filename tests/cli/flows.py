"""Files with flows for the tests of the commands that work on a journal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
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

DESK = "from tests.trace.acting import desk\n\nflow = desk()\n"
SHOP = "from tests.trace.flows import shop\n\nflow = shop()\n"


def run_json(shell: Shell, *arguments: str) -> dict[str, Any]:
    """Run a command with `--json`, and return the object that it prints."""
    return json.loads(shell(*arguments, "--json").out)


def start_waiting_run(shell: Shell, *options: str) -> str:
    """Start a run that waits for an answer, in `r.sqlite`, and return its id."""
    shell.write("ask.py", ASKING)
    run = ("run", "ask.py", "--topic", "tides", "--db", "r.sqlite")
    return run_json(shell, *run, *options)["run_id"]


def finish_run(shell: Shell, *options: str) -> str:
    """Start a run in `r.sqlite`, answer its question with yes, and return its id."""
    run_id = start_waiting_run(shell, *options)
    assert shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite", "-q").code == 0
    return run_id


def start_desk(shell: Shell) -> str:
    """Start a run of an agent that acts, whose two letters wait for a person; return its id."""
    shell.write("desk.py", DESK, preamble="")
    return run_json(shell, "run", "desk.py", "--db", "r.sqlite")["run_id"]


def list_run_ids(shell: Shell, *options: str) -> list[str]:
    """Return the ids of the runs in `r.sqlite` that `graphorch runs` lists."""
    return [
        head["run_id"] for head in run_json(shell, "runs", "--db", "r.sqlite", *options)["runs"]
    ]


def copy_crashed_run(shell: Shell) -> str:
    """Copy the journal of a killed process to `r.sqlite`, with its flow; return the run's id."""
    folder = Path(__file__).parents[1] / "golden" / "format_1"
    shutil.copyfile(folder / "crashed.golden", shell.here / "r.sqlite")
    body = "from tests.golden.flows import crashing\nflow = crashing()\n"
    shell.write("crashing.py", body, preamble="")
    return "crashed"
