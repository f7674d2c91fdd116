"""A shell for the tests: it calls the command line in this process, or starts it as a program."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from graphorch.cli.app import main
from tests.models.config.files import trust_config, write_config

PROGRAM = (sys.executable, "-c", "from graphorch.cli.app import main; main()")

PREAMBLE = """
from typing import Literal
from pydantic import BaseModel, Field
from graphorch import Context, Graph, agent, node

class Topic(BaseModel):
    topic: str
    count: int = 1

class Draft(BaseModel):
    draft: str = ""

class Essay(Topic, Draft): ...

@node
def write(topic: Topic) -> Draft:
    return Draft(draft=f"{topic.count} words on {topic.topic}")
"""

FLOW = 'flow = Graph("essay", Essay, input=Topic, output=Draft).chain(write).build()'


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it captured."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Shell:
    """An empty directory, and the command line in it."""

    here: Path
    capsys: pytest.CaptureFixture[str]

    def list_files(self) -> list[str]:
        """Return the names of the files, in order, without what Python compiled."""
        names = [path.name for path in self.here.iterdir()]
        return sorted(name for name in names if name != "__pycache__")

    def write(self, name: str, body: str = FLOW, preamble: str = PREAMBLE) -> None:
        """Write a file with a flow."""
        self.here.joinpath(name).write_text(preamble + dedent(body), "utf-8")

    def configure(self, text: str) -> None:
        """Write the configuration of the directory, and trust it."""
        trust_config(write_config(self.here, text))

    def __call__(self, *arguments: str) -> Ended:
        """Run a command in this process."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        captured = self.capsys.readouterr()
        return Ended(int(exit.value.code or 0), captured.out, captured.err)


async def start_program(
    *arguments: str,
    here: Path,
    environment: Mapping[str, str] | None = None,
    stdin_data: bytes | None = None,
) -> asyncio.subprocess.Process:
    """Start the command line as a process, without settings from the environment of the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI_", "GRAPHORCH_", "TERM", "NO_COLOR"))
    }
    pipe = asyncio.subprocess.PIPE
    stdin = pipe if stdin_data is not None else asyncio.subprocess.DEVNULL
    settings = {**kept, **(environment or {})}
    return await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, cwd=here, env=settings, stdin=stdin, stdout=pipe, stderr=pipe
    )


async def run_program(
    *arguments: str,
    here: Path,
    environment: Mapping[str, str] | None = None,
    stdin_data: bytes | None = None,
) -> Ended:
    """Run a command as a process of its own."""
    process = await start_program(
        *arguments, here=here, environment=environment, stdin_data=stdin_data
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin_data)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())
