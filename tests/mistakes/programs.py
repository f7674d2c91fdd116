"""Programs with one mistake each, and what a newcomer reads when one of them runs.

`mistakes.md` holds both: under each heading stand the program and, behind it, the text. A program
may be followed by a command (`sh`), for which it is the file `flow.py`.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import re
import shlex
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from graphorch.cli.app import main

PAGE = Path(__file__).with_name("mistakes.md")
_SECTION = re.compile(
    r"### (?P<title>[^\n]+)\n\n"
    r"```python\n(?P<program>.*?)```\n\n"
    r"(?:```sh\n(?P<command>[^\n]+)\n```\n\n)?"
    r"```text\n(?P<text>.*?)```\n",
    re.DOTALL,
)
_PREAMBLE = re.compile(r"```python\n(?P<program>.*?)```\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One program with a mistake: what is wrong, and the text that a newcomer reads."""

    title: str
    program: str
    command: str
    text: str
    preamble: str

    @property
    def name(self) -> str:
        """Title as the id of a test."""
        return re.sub(r"\W+", "_", self.title).strip("_").lower()


def read_mistakes(page: str) -> list[Mistake]:
    """Return the mistakes of a page; its first program is the beginning of all others."""
    head, _, _ = page.partition("\n### ")
    first = _PREAMBLE.search(head)
    preamble = first["program"] if first else ""
    return [
        Mistake(part["title"], part["program"], part["command"] or "", part["text"], preamble)
        for part in _SECTION.finditer(page)
    ]


def write_page(page: str, mistakes: list[Mistake]) -> str:
    """Return a page with the texts of these mistakes."""
    texts = iter(mistakes)

    def put(match: re.Match[str]) -> str:
        start, end = match.span("text")
        offset = match.start()
        section = match.group()
        return section[: start - offset] + next(texts).text + section[end - offset :]

    return _SECTION.sub(put, page)


def run_mistake(mistake: Mistake) -> Mistake:
    """Run a program, and return it with the text that it prints, its error included."""
    with tempfile.TemporaryDirectory() as folder, _captured() as printed:
        before = Path.cwd()
        os.chdir(folder)
        try:
            if mistake.command:
                Path("flow.py").write_text(f"{mistake.preamble}\n\n{mistake.program}", "utf-8")
                _run_command(mistake.command)
            else:
                _run_program(mistake)
        finally:
            os.chdir(before)
        if "coroutine" in printed.getvalue():
            gc.collect()  # of a coroutine that was not awaited, Python reports so when it is gone
    text = printed.getvalue().replace(f"{os.path.realpath(folder)}/", "").replace(folder, ".")
    # What differs from run to run: ids and seconds.
    text = re.sub(r"\b(?:[0-9a-f]{32}|(?<=run )[0-9a-f]{8})\b", "1d", text)
    text = re.sub(r"\b\d+\.\d+ s\b", "0.1 s", text)
    return replace(mistake, text="".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def _run_command(command: str) -> None:
    """Run a command line in this process."""
    path, modules = list(sys.path), set(sys.modules)
    try:
        main(shlex.split(command)[1:])
    except SystemExit:
        pass
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if name.startswith("flow_"):
                del sys.modules[name]


def _run_program(mistake: Mistake) -> None:
    module = types.ModuleType(mistake.name)
    sys.modules[mistake.name] = module
    source = f"{mistake.preamble}\n\n{mistake.program}"
    try:
        exec(compile(source, "program.py", "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    finally:
        del sys.modules[mistake.name]
        module.__dict__.clear()


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Yield what is printed, logged and warned of, as a terminal shows it."""
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("graphorch")
    propagates = logger.propagate

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        print(f"{category.__name__}: {message}", file=printed)

    logger.addHandler(handler)
    logger.propagate = False
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield printed
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
