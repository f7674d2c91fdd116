"""The sandbox: a wall that the system enforces, with reports that explain what went wrong."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from graphorch.cli.flow_loader import load_flow

GRAPHS = Path(__file__).parents[2] / "graphs"
load_flow(str(GRAPHS / "code_generation.py"))  # puts the folder of the workflow on the path
from sandboxed import Limits, Report, SandboxMissing, check_isolation, run_tests  # pyright: ignore[reportMissingImports] # noqa: E402

pytestmark = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (apt install bubblewrap)"
)

TESTS = """\
from solution import double

def test_two():
    assert double(2) == 4

def test_three():
    assert double(3) == 6, 'three'
"""
RIGHT = "def double(n):\n    return 2 * n\n"
LIMITS = Limits(seconds=0.6, megabytes=200)
SCRIPT = f"""\
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from sandboxed import run_tests
print(asyncio.run(run_tests({RIGHT!r}, {TESTS!r})))
"""


def tried(code: str, tests: str = TESTS, limits: Limits = LIMITS, **given: Any) -> Report:
    return asyncio.run(run_tests(code, tests, limits, **given))


@pytest.mark.parametrize("code, expected", [
    ("while True: pass\n", "the code did not end within 0.6 s"),
    ("def double(n):\n    while n: pass\n",
     "test_two did not end within 0.6 s. Look for a loop that never ends."),
    ("def double(n:\n", "loading the code: SyntaxError"),
    ("import nothing_of_the_kind\n",
     "loading the code: ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    ("def double(n):\n    return double(n)\n", "RecursionError"),
    ("import os\nwhile True: os.fork()\n",
     "BlockingIOError: [Errno 11] Resource temporarily unavailable"),
    ("import subprocess\nsubprocess.run(['cat', '/etc/passwd'], check=True)\n",
     "returned non-zero exit status 1"),
    ("import socket\nsocket.create_connection(('127.0.0.1', 9))\n",
     "ConnectionRefusedError: [Errno 111] Connection refused"),
    ("import socket\nsocket.create_connection(('192.0.2.1', 80))\n",
     "Network is unreachable"),
    ("import os\nos.kill(os.getppid(), 9)\n", "PermissionError: [Errno 1] Operation not permitted"),
    ("import os\nos.setuid(0)\n", "PermissionError"),
    ("open('/etc/passwd').read()\n", "No such file or directory: '/etc/passwd'"),
    ("open('/proc/self/environ').read()\n", "No such file or directory: '/proc/self/environ'"),
    ("import os\nos.mkdir('../beside')\n", "Read-only file system: '../beside'"),
    ("import os\nos.remove(__file__)\n", "Read-only file system"),
    ("open('/dev/shm/mine', 'w')\n", "Read-only file system"),
    ("import sqlite3\nsqlite3.connect('/tmp/mine.db')\n", "unable to open database file"),
    ("open('mine', 'w').write('x' * 3_000_000)\n", "File too large"),
    ("for i in range(100): open(str(i), 'w').write('x' * 900_000)\n", "No space left on device"),
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
    """Its folder is a new one each time; no other can be written or seen."""
    target = tmp_path / "written"
    report = tried(f"open({str(target)!r}, 'w')\n{RIGHT}")
    assert f"No such file or directory: '{target}'" in report.failures[0]
    assert report.failures[0].endswith(
        "The sandbox has no network and no files of yours; "
        "only its own empty folder can be written."
    )
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


WALKS_OUT = """\
import os, signal, subprocess, sys
for command in (
    [sys.executable, '-c', 'open("{target}", "w")'],
    [sys.executable, '-c', 'import multiprocessing as m; m.get_context("spawn").Process('
        'target=open, args=("{target}", "w")).start()'],
):
    child = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert 'No such file or directory' in child.stderr, child
try:
    signal.pidfd_send_signal(os.pidfd_open({pid}), signal.SIGKILL)
except OSError as error:
    assert isinstance(error, ProcessLookupError), error
"""


def test_other_processes_stay_inside(tmp_path: Path) -> None:
    """A child that is started anew is behind the same wall, and no process outside is seen."""
    target = tmp_path / "written"
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        code = WALKS_OUT.format(target=str(target), pid=bystander.pid) + RIGHT
        report = tried(code, limits=Limits(seconds=10))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.communicate()
    assert not target.exists()
    assert (report.passed, report.failures) == (2, ())


def test_guard_without_its_tables_is_a_failure() -> None:
    """Code that empties the module of the guard ends the process, and passes no test."""
    report = tried("import sys\nsys.modules['__main__'].__dict__.clear()\n" + RIGHT)
    assert report.passed == 0
    assert "the code ended the process" in report.failures[0]


def test_daemon_ends_with_the_tests() -> None:
    """A process that leaves its group and session is gone when the report is there."""
    mark = f"daemon-{os.getpid()}"
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    sys.stderr.close()\n"
        f"    os.execv(sys.executable, [{mark!r}, '-c', 'import time; time.sleep(60)'])\n"
    )
    assert tried(code + RIGHT).passed in (0, 2)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert mark not in listing.stdout


def test_nothing_of_the_project_is_readable() -> None:
    """The packages of the environment and the home of the user are out of sight."""
    code = (
        "import os\n"
        "def see(path):\n"
        "    try: return os.listdir(path)\n"
        "    except OSError: return []\n"
        f"assert not see({str(GRAPHS)!r}), see({str(GRAPHS)!r})\n"
        f"assert not see({tempfile.gettempdir()!r})\n"
        "assert os.getuid() != 0\n"
    )
    assert tried(code + RIGHT) == Report(2, 2, ())
    assert "ModuleNotFoundError" in tried("import pydantic\n" + RIGHT).failures[0]


@pytest.mark.parametrize("isolation", ["bubblewrap", "container"])
def test_missing_tool_is_refused(isolation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unread code is not run without a wall; the message names the ways out."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxMissing, match="Unread code is not run without a sandbox"):
        tried(RIGHT, isolation=isolation)
    with pytest.raises(SandboxMissing, match="'none' runs the code with your own rights"):
        check_isolation(isolation, "image")


def test_forbidden_tool_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is installed and not allowed to work is quoted, and the code does not run."""
    tool = tmp_path / "bwrap"
    tool.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for refused in (lambda: tried(RIGHT), lambda: check_isolation("bubblewrap", "")):
        with pytest.raises(SandboxMissing, match="bwrap: No permissions to create new namespace"):
            refused()


def test_isolation_none_still_limits() -> None:
    """Without a wall, limits on time and memory are all that is kept."""
    assert tried(RIGHT, isolation="none") == Report(2, 2, ())
    assert "did not end within 0.6 s" in tried("while True: pass\n", isolation="none").failures[0]
    leaves = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(5)\n    os._exit(0)\n"
    )
    assert tried(leaves + RIGHT, isolation="none").passed == 2


def test_container_gets_every_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is asked for each thing that the text promises, and the image is not fetched."""
    record = tmp_path / "arguments"
    engine = tmp_path / "podman"
    engine.write_text(f'#!/bin/sh\necho "$@" >> {record}\nexit 125\n')
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SandboxMissing, match="'container' cannot be had"):
        tried(RIGHT, isolation="container", image="own/python:3")
    started = record.read_text().splitlines()[0]
    for option in (
        "--network none", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges",
        "--user 65534:65534", "--pids-limit 16", "--memory 200m", "--pull never",
        "--tmpfs /work:size=16777216,mode=1777", "own/python:3 -I -S -B /code/guard.py",
    ):  # fmt: skip
        assert option in started


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="changes the user")
def test_wall_needs_no_root() -> None:
    """Another user than root has the same wall, in a user namespace."""
    python = "/usr/bin/python3"
    if not os.path.exists(python) or "\n3.1" not in subprocess.check_output(
        [python, "-c", "import sys; print(); print('%d.%d' % sys.version_info[:2])"], text=True
    ):
        pytest.skip("the system has no Python that another user can run")
    with tempfile.TemporaryDirectory() as name:
        copy = shutil.copytree(GRAPHS / "sandboxed", Path(name) / "sandboxed")
        os.chmod(name, 0o755)
        done = subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
             python, "-c", SCRIPT, str(copy.parent)],
            capture_output=True, text=True, check=False, cwd="/", env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
    assert done.stdout.strip() == str(Report(2, 2, ())), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="limits need a Unix system")
def test_temporary_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the folder of an attempt."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert tried(RIGHT).passed == 2
    assert list(tmp_path.iterdir()) == []
