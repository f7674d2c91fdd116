"""The first model call of a process: what it loads holds nothing up, and costs no node its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, os, sys, threading, time
from pydantic import BaseModel
from graphorch import Graph, agent
from tests.models.servers import completion, replies, serve

HEAVY = ("openai", "httpx2", "graphorch.models.config.router", "graphorch.runs.payers")
loaded = {}

class Watch:
    '''Notes which thread loads a module, and makes the openai package slower than the node.'''

    def find_spec(self, name, path=None, target=None):
        if name in HEAVY:
            loaded[name] = threading.current_thread() is threading.main_thread()
        if name == "openai":
            time.sleep(1.5)

sys.meta_path.insert(0, Watch())

class Ask(BaseModel):
    ask: str

class Answer(BaseModel):
    answer: str = ""

class State(Ask, Answer): ...

@agent(output=Answer, timeout=1.0)
def respond(ask: Ask) -> str:
    return ask.ask

flow = Graph("cold", State, input=Ask, output=Answer).chain(respond).build()

async def main():
    async with serve(replies(completion("hi"))) as server:
        os.environ.update(
            OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k", GRAPHORCH_MODEL="m"
        )
        result = await flow.run(Ask(ask="why?"))
    print(result.output.answer, sorted(loaded) == sorted(HEAVY), any(loaded.values()))

asyncio.run(main())
"""

# The same with a client of the caller's.
OWN_CLIENT = PROGRAM.replace(
    'flow.run(Ask(ask="why?"))', 'flow.run(Ask(ask="why?"), client=OpenAIClient(server.url, "k"))'
).replace(
    "from graphorch import", "from graphorch.models import OpenAIClient\nfrom graphorch import", 1
)
# The embedded model needs no endpoint, and no package for one.
OFFLINE = PROGRAM.replace("        os.environ.update(", "        dict(")


def run_fresh(program: str, folder: Path) -> tuple[list[str], str]:
    """Return the words and the errors that a program prints in a fresh interpreter."""
    (folder / "cold.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "cold.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("program", [PROGRAM, OWN_CLIENT], ids=["environment", "own client"])
def test_first_call_loads_in_threads(program: str, tmp_path: Path) -> None:
    """Load the client in threads, before the time of the first node begins."""
    assert run_fresh(program, tmp_path) == (["hi", "True", "False"], "")


def test_embedded_model_loads_no_client(tmp_path: Path) -> None:
    """Load no client of endpoints for the embedded model."""
    words, _ = run_fresh(OFFLINE, tmp_path)
    assert words[-2:] == ["False", "False"]
