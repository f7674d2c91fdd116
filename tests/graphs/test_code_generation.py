"""The coding workflow: its loop, and a sandbox that survives bad code and explains it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphorch import Usage
from graphorch.cli.flow_loader import load_flow, load_module
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response

GRAPHS = Path(__file__).parents[2] / "graphs"
loaded = load_flow(str(GRAPHS / "code_generation.py"))
from sandboxed import Limits, Report, run_tests  # pyright: ignore[reportMissingImports] # noqa: E402  (the folder is on the path once the workflow was loaded)

code_in = load_module(str(GRAPHS / "code_generation.py"))[0].code_in

TESTS = """\
from solution import double

def test_two():
    assert double(2) == 4

def test_three():
    assert double(3) == 6, 'three'
"""
RIGHT = "def double(n):\n    return 2 * n\n"
LIMITS = Limits(seconds=0.6, megabytes=200)


def tried(code: str, tests: str = TESTS) -> Report:
    return asyncio.run(run_tests(code, tests, LIMITS))


class Coder:
    """Answers with the codes of a list, one after the other."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = list(codes)
        self.prompts: list[str] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.prompts.append(request.messages[-1].content)
        return Response(self.codes.pop(0), "fake", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None)


def solved(codes: Sequence[str], **given: Any) -> tuple[Any, Coder]:
    coder = Coder(codes)
    task = loaded.flow.plan.input(task="Double a number.", tests=TESTS, seconds=0.6, **given)
    return loaded.flow.run_sync(task, client=coder), coder


def test_passing_code_is_taken_at_once() -> None:
    result, coder = solved([f"Here it is:\n```python\n{RIGHT}```\nDone."])
    assert (result.output.code, result.output.by, result.output.score) == (RIGHT, "the model", 10)
    assert len(coder.prompts) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (f"```python\n{RIGHT}```\nTry it:\n```python\ndef demo(): ...\n```", RIGHT),
        (f"Not like this:\n```py\ndef x(): 0\n```\nbut:\n```\n{RIGHT}```", RIGHT),
        (f"```\npip install a-package-that-is-not-needed\n```\n```\n{RIGHT}```", RIGHT),
        (f"```\nprint('a longer block that defines nothing')\n```\n```\n{RIGHT}```", RIGHT),
        (RIGHT, RIGHT),
        (
            f'"""Use:\n```\ndef x(): 0\n```\n"""\n{RIGHT}',
            f'"""Use:\n```\ndef x(): 0\n```\n"""\n{RIGHT}',
        ),
        ("```\nasync def double(n): ...\n```", "async def double(n): ...\n"),
        ("```\ndef double(n:\n```", ""),
        ("Sorry.", ""),
    ],
)
def test_code_in_takes_longest_module(answer: str, expected: str) -> None:
    """The longest block that defines something is the code, and not an example beside it."""
    assert code_in(answer) == expected


def test_failures_go_back_with_attempt() -> None:
    wrong = "def double(n):\n    return n + 2\n"
    result, coder = solved([wrong, RIGHT])
    assert result.output.round == 2
    for given in (
        "Double a number.",
        wrong,
        "1 of 2 tests passed.",
        "test_three: AssertionError: three [tests.py:7: assert double(3) == 6, 'three']",
    ):
        assert given in coder.prompts[1]


def test_best_attempt_is_kept() -> None:
    """That holds even if no attempt passes."""
    half, none = "def double(n):\n    return 4\n", "def double(n):\n    return 0\n"
    result, _ = solved([half, none, none + "#\n", none + "##\n"])
    assert (result.output.code, result.output.score) == (half, 4.5)


def test_answers_without_code_are_replaced() -> None:
    """Prepared attempts stand in for them, and the report mentions it."""
    result, _ = solved(
        ["I cannot write code.", "Sorry."], attempts=["def double(n):\n    return 0\n", RIGHT]
    )
    assert (result.output.code, result.output.by) == (
        RIGHT,
        "prepared attempt 2: the model's answer held no code",
    )


def test_offline_sample_fails_hangs_and_passes() -> None:
    result = loaded.flow.run_sync(loaded.sample)
    assert (result.output.round, result.output.score) == (3, 10)
    assert result.output.failures == ""
    assert "prepared attempt 3" in result.output.by


@pytest.mark.parametrize("code, expected", [
    ("while True: pass\n", "the code did not end within 0.6 s"),
    ("def double(n):\n    while n: pass\n",
     "test_two did not end within 0.6 s. Look for a loop that never ends."),
    ("def double(n:\n", "loading the code: SyntaxError"),
    ("import nothing_of_the_kind\n",
     "loading the code: ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    ("def double(n):\n    return double(n)\n", "RecursionError"),
    ("import os\nos.fork()\n",
     "it tried to use another process (os.fork), which is not allowed here"),
    ("import os\ndef double(n):\n    while True: os.fork()\n",
     "it tried to use another process (os.fork)"),
    ("import subprocess\nsubprocess.run(['true'])\n",
     "it tried to use another process (subprocess.Popen)"),
    ("import os\nos.system('true')\n", "it tried to use another process (os.system)"),
    ("import socket\nsocket.create_connection(('127.0.0.1', 9))\n",
     "it tried to use the network (socket."),
    ("import os\nos.kill(os.getppid(), 9)\n", "it tried to use a signal to a process (os.kill)"),
    ("import os\nos.remove(__file__ + '/../../../etc/hostname')\n", "outside of its folder"),
    ("import ctypes\n", "it tried to use foreign code (ctypes.dlopen)"),
    ("open('/etc/passwd').read()\n", "it tried to read /etc/passwd, outside of its folder"),
    ("import os\nos.mkdir('../beside')\n", "outside of its folder"),
    ("import sys\nsys.exit(0)\n", "it called exit(0). Code must return or raise"),
    ("import os\nos._exit(0)\n", "no tests ran"),
    ("import os\ndef double(n):\n    os._exit(3)\n", "test_two ended the process (exit code 3)"),
    ("x = [0] * 10**9\n", "it needs more memory than is allowed"),
    ("while True: print('x' * 1000)\n", "the code wrote more than 1 MB. Print and write less."),
    ("def double(n):\n    raise KeyboardInterrupt\n",
     "test_two: KeyboardInterrupt [solution.py:2: raise KeyboardInterrupt]"),
    ("", "loading the code: ImportError: cannot import name 'double'"),
])  # fmt: skip
def test_bad_code_is_stopped_and_explained(code: str, expected: str) -> None:
    report = tried(code)
    assert report.passed == 0
    assert any(expected in failure for failure in report.failures), report.failures


def test_code_writes_into_own_folder(tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = (
        "open('mine.txt', 'w').write('x')\n"
        f"try:\n    open({str(target)!r}, 'w')\nexcept Exception:\n    pass\n{RIGHT}"
    )
    report = tried(code)
    assert f"it tried to write {target}, outside of its folder" in report.failures[0]
    assert not target.exists()
    assert tried(f"open('mine.txt', 'w').write('x')\n{RIGHT}") == Report(2, 2, ())


def test_code_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_WORD", "x")
    assert tried(f"import os\nassert 'SECRET_WORD' not in os.environ\n{RIGHT}").passed == 2


def test_printed_output_is_not_result() -> None:
    forged = json.dumps({"passed": "test_two"})
    report = tried(f"print({forged!r})\ndef double(n):\n    return 0\n")
    assert (report.passed, report.total) == (0, 2)
    assert report.printed == forged


def test_thread_ends_with_process() -> None:
    started = "import threading, time\nthreading.Thread(target=lambda: time.sleep(60)).start()\n"
    report = tried(started + RIGHT)
    assert report.passed == 2
    assert any("did not end within" in failure for failure in report.failures)


def test_empty_tests_are_not_success() -> None:
    assert tried(RIGHT, "x = 1\n").failures == ("no tests ran.",)


def test_guard_explains_without_reading_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project need not be on the path of the interpreter, as it is where it is installed."""
    copy = tmp_path / "guard.py"
    copy.write_bytes((GRAPHS / "sandboxed" / "guard.py").read_bytes())
    monkeypatch.setattr("sandboxed.GUARD", copy)
    report = tried("def double(n):\n    return 4\n")
    assert (report.passed, report.total) == (1, 2)
    assert "test_three: AssertionError: three [tests.py:" in report.failures[0]


@pytest.mark.skipif(sys.platform == "win32", reason="limits need a Unix system")
def test_temporary_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the folder of an attempt."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert tried(RIGHT).passed == 2
    assert list(tmp_path.iterdir()) == []
