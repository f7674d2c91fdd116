"""Nodes in worker processes: values that cross or are refused, and the end of a process."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from graphorch import Graph, ModelError, Node, NodeError, RunFailed, WrongOutput, node
from graphorch.cli.flow_loader import load_flow
from graphorch.engine.invocation.invoker import NodeTimedOut
from graphorch.engine.invocation.process_protocol import ProcessError, Unportable
from graphorch.engine.invocation.processes import INSIDE, ProcessPool, WorkerDied, build_address
from graphorch.errors import ExitRefused
from graphorch.graph.payloads import Failure
from graphorch.state.identity import is_identical
from graphorch.testing.virtual_clock import run_virtual
from graphorch.text import format_error, name_error
from tests.engine.crunching import (
    Blob,
    Flaky,
    Luggage,
    Number,
    Place,
    Report,
    Square,
    Work,
    change,
    deaf,
    die,
    echo,
    fail,
    handle,
    hang,
    lossy,
    maybe,
    pair,
    silent,
    skip,
    square,
    stubborn,
    talk,
    travel,
    triple,
    unpack,
    who,
    wrong,
)

ROOT = Path(__file__).parents[3]


class Shared:
    """Share a pool with a single process among the tests of this file that leave it alive."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.pool = ProcessPool(1)

    def call(
        self, node: Node[Any], *slices: Any, declared: tuple[type[Exception], ...] = ()
    ) -> Any:
        return self.runner.run(self.pool.call(node, slices, declared))

    def raised(
        self, node: Node[Any], *slices: Any, declared: tuple[type[Exception], ...] = ()
    ) -> Exception:
        with pytest.raises(Exception) as caught:  # noqa: PT011  (which one is what the tests ask)
            self.call(node, *slices, declared=declared)
        return caught.value


@pytest.fixture(scope="module")
def shared() -> Generator[Shared]:
    with asyncio.Runner() as runner:
        made = Shared(runner)
        yield made
        runner.run(made.pool.close())


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    """Return whether a process ends within ten seconds, when its own parent reaps it."""
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return not is_alive(pid)


# ---- what crosses --------------------------------------------------------------------------------
def test_calls_share_worker_process(shared: Shared) -> None:
    assert shared.call(square, Number(n=7)) == Square(square=49)
    first, second = shared.call(who, Number()), shared.call(who, Number())
    assert first == second
    assert first.pids != [os.getpid()]


def test_fields_set_are_those_of_node(shared: Shared) -> None:
    assert shared.call(square, Number(n=7)).model_fields_set == {"square"}
    assert shared.call(echo, Blob(blob=b"ab")).model_fields_set == {"blob", "ratio"}


def test_node_has_no_protocol_streams(shared: Shared) -> None:
    """Printing goes to standard error, and standard input is empty."""
    assert shared.call(talk, Number()) == Square(square=1)
    assert shared.call(square, Number(n=2)) == Square(square=4)


def test_binary_and_nan_are_restored(shared: Shared) -> None:
    made = shared.call(echo, Blob(blob=b"\xff\x00", ratio=math.inf))
    assert made.blob == b"\x00\xff"
    assert math.isnan(made.ratio)


def test_values_travel_as_they_are(shared: Shared) -> None:
    """Zones, secrets, bounds, aliases and masked fields are the same as in a thread."""
    given = Luggage()
    assert shared.call(travel, given) == travel.fn(given)
    assert "key-123 2026-03-29T12:00:00+02:00" in travel.fn(given).report
    back, expected = shared.call(unpack, given), unpack.fn(given)
    assert is_identical(back, expected)
    assert back.model_fields_set == {"when", "key", "recent", "masked"}


def test_returned_argument_keeps_identity(
    shared: Shared,
) -> None:
    """An argument that a node returns keeps its identity and the changes of the node."""
    given = Number.model_construct(set(), n=1)
    assert shared.call(change, given) is given
    assert given.n == 2
    assert given.model_fields_set == {"n"}


def test_outputs_of_all_shapes_return(shared: Shared) -> None:
    """Outputs are two slices, None, and nothing at all."""
    assert shared.call(pair, Number(n=1), Square(square=2)) == (Number(n=2), Square(square=1))
    assert shared.call(skip, Number()) is None
    assert shared.call(silent, Number()) is None


def test_none_and_failure_are_sent(shared: Shared) -> None:
    assert shared.call(maybe, Number(), None) == Square(square=0)
    assert shared.call(maybe, Number(), Report(report="abc")) == Square(square=3)
    assert shared.call(
        handle, Failure(node="a", path="a", error="E", message="m"), Number()
    ) == Report(report="E: m")


def test_method_is_found_by_qualified_name(shared: Shared) -> None:
    assert shared.call(triple, Number(n=2)) == Square(square=6)


def test_renamed_node_keeps_function(shared: Shared) -> None:
    assert shared.call(square.named("other"), Number(n=3)) == Square(square=9)


@pytest.mark.parametrize(
    "node_and_slice", [(lossy, Number()), (echo, Blob(anything=Number(n=1)))], ids=["out", "in"]
)
def test_lossy_value_is_refused_by_name(shared: Shared, node_and_slice: tuple[Any, Any]) -> None:
    error = shared.raised(*node_and_slice)
    assert isinstance(error, Unportable)
    assert str(error) == (
        "Blob cannot be sent to another process: 'anything' = Number(n=1): it comes back as "
        "{'n': 1}. "
        "Use types that survive JSON, give them a serializer and a validator, "
        "or run the node in a thread."
    )


@pytest.mark.parametrize(
    "n, message",
    [
        (0, "It returned int 3, but declares Square. Return a Square."),
        (1, "It returned Number Number(n=1), but declares Square. Return a Square."),
        (
            2,
            "It returned Square with 'square' = str 'many': Input should be a valid integer, "
            "unable to parse string as an integer.",
        ),
    ],
)
def test_wrong_output_reads_as_in_thread(shared: Shared, n: int, message: str) -> None:
    error = shared.raised(wrong, Number(n=n))
    assert isinstance(error, WrongOutput)
    assert str(error) == message


# ---- errors --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "n, kind, name, message",
    [
        (0, ValueError, "ValueError", "seven"),
        (1, ValueError, "TooSmall", "eight"),
        (2, ProcessError, "Flaky", "code 9: tired"),
        (3, KeyError, "KeyError", "'ten'"),
        (4, ModelError, "ModelError", "busy"),
        (5, FileNotFoundError, "FileNotFoundError", "[Errno 2] No such file: 'x'"),
        (6, ZeroDivisionError, "ZeroDivisionError", ""),
        (
            7,
            UnicodeError,
            "UnicodeDecodeError",
            "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (
            8,
            ExitRefused,
            "ExitRefused",
            "It called sys.exit(3), which would end the program for all runs. Return, or raise an "
            "exception that says what is wrong.",
        ),
        (9, ExceptionGroup, "ExceptionGroup", "two (2 sub-exceptions)"),
    ],
)
def test_exception_has_nearest_known_class(
    shared: Shared, n: int, kind: type[Exception], name: str, message: str
) -> None:
    error = shared.raised(fail, Number(n=n))
    assert type(error) is kind
    assert name_error(error) == name
    assert str(error) == message
    assert "in fail\n" in error.__notes__[0]


def test_group_has_its_parts(shared: Shared) -> None:
    """The exceptions in a group keep their classes, so that `except*` finds them."""
    error = shared.raised(fail, Number(n=9))
    assert isinstance(error, ExceptionGroup)
    assert [format_error(part) for part in error.exceptions] == ["ValueError: a", "ValueError: b"]
    assert format_error(error) == (
        "ExceptionGroup: two (2 sub-exceptions): ValueError: a; ValueError: b"
    )


def test_declared_exception_keeps_attributes(shared: Shared) -> None:
    error = shared.raised(fail, Number(n=2), declared=(Flaky,))
    assert isinstance(error, Flaky)
    assert (error.code, str(error)) == (9, "code 9: tired")


def test_model_error_stays_retryable(shared: Shared) -> None:
    error = shared.raised(fail, Number(n=4))
    assert isinstance(error, ModelError)
    assert (error.retryable, error.status, error.model) == (True, 429, "m")


# ---- what is refused -----------------------------------------------------------------------------
def test_unimportable_node_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each refusal gives its reason."""

    @node(isolation="process")
    def inside(n: Number) -> Square:
        return Square()

    with pytest.raises(
        Unportable,
        match=r"Node 'inside' has isolation=\"process\", and another process cannot import it: "
        r".*<locals>.inside has no name",
    ):
        build_address(inside)
    twin = square.named("twin")
    twin.fn = functools.wraps(square.fn)(lambda n: square.fn(n))
    with pytest.raises(Unportable, match=r"tests\.engine\.crunching\.square is not its function"):
        build_address(twin)
    monkeypatch.setenv(INSIDE, "1")
    with pytest.raises(
        Unportable,
        match=r"this is a worker process itself\. "
        r"Put what runs flows under `if __name__ == '__main__':`",
    ):
        build_address(square)


# ---- processes that end --------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize(
    "n, code, reason",
    [
        (0, 3, "it ended with exit code 3. Return from the function, or raise."),
        (1, -signal.SIGSEGV, "it was killed by SIGSEGV, a crash in compiled code."),
        (
            int(signal.SIGKILL),
            -signal.SIGKILL,
            "it was killed by SIGKILL, perhaps it needed more memory than there was.",
        ),
    ],
)
def test_worker_death_is_explained(n: int, code: int, reason: str) -> None:
    """After a death, the next call gets another process."""

    async def main() -> None:
        pool = ProcessPool(1)
        try:
            with pytest.raises(WorkerDied) as caught:
                await pool.call(die, [Number(n=n)])
            assert (caught.value.exit_code, str(caught.value)) == (
                code,
                f"The worker process of 'die' died before it answered: {reason}",
            )
            assert await pool.call(square, [Number(n=2)]) == Square(square=4)
        finally:
            await pool.close()

    asyncio.run(main())


async def read_when_there(path: Path) -> list[int]:
    """Return the process ids in a file that another process writes."""

    def read() -> list[int]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if path.exists() and (text := path.read_text()):
                return [int(word) for word in text.split()]
            os.sched_yield()
        raise TimeoutError(path)

    return await asyncio.to_thread(read)


@pytest.mark.slow
@pytest.mark.parametrize("node, unwinds", [(hang, True), (deaf, False)], ids=["listens", "deaf"])
def test_cancelled_call_awaits_process_group(
    node: Node[Any], unwinds: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        pool = ProcessPool(1)
        call = asyncio.create_task(pool.call(node, [Place(place=str(tmp_path / "pids"))]))
        pids = await read_when_there(tmp_path / "pids")
        assert [is_alive(pid) for pid in pids] == [True] * len(pids)
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()  # an impatient caller does not leave the process behind
        await asyncio.wait([call])
        assert call.cancelled()
        assert not is_alive(pids[0])
        assert all(gone(pid) for pid in pids)
        assert (tmp_path / "pids.unwound").exists() == unwinds
        await pool.close()

    asyncio.run(main())


@pytest.mark.slow
def test_call_cancelled_early_leaves_no_process() -> None:
    async def main() -> None:
        pool = ProcessPool(1)
        for steps in range(6):
            call = asyncio.create_task(pool.call(square, [Number()]))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
        await pool.close()

    asyncio.run(main())
    assert children() == []


@pytest.mark.slow
def test_processes_are_limited() -> None:
    async def main() -> None:
        pool = ProcessPool(2)
        pids = {
            made.pids[0]
            for made in await asyncio.gather(*(pool.call(who, [Number()]) for _ in range(12)))
        }
        assert len(pids) <= 2
        await pool.close()
        assert [pid for pid in pids if is_alive(pid)] == []

    asyncio.run(main())


@pytest.mark.slow
def test_cancelled_close_finishes() -> None:
    async def main() -> None:
        pool = ProcessPool(2)
        pids = {
            made.pids[0]
            for made in await asyncio.gather(*(pool.call(who, [Number()]) for _ in range(4)))
        }
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert [pid for pid in pids if is_alive(pid)] == []

    asyncio.run(main())


def children() -> list[str]:
    """Return the command lines of this process's workers."""
    listing = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "args="],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [line for line in listing.splitlines() if "process_worker" in line]


# ---- in runs -------------------------------------------------------------------------------------
def flow_of(*nodes: Any) -> Any:
    return Graph("crunching", Work).chain(*nodes).build()


@pytest.mark.slow
def test_run_ends_its_process() -> None:
    """All nodes of a chain share a process, which ends with the run."""
    result = flow_of(who, square, change).run_sync(Work(n=3))
    assert (result.state.n, result.state.square) == (4, 9)
    assert not is_alive(result.state.pids[0])
    assert children() == []


@pytest.mark.slow
def test_virtual_timeout_kills_process(tmp_path: Path) -> None:
    @node
    def caught(f: Failure, p: Place) -> Report:
        return Report(report=f.error)

    slow = hang.named("slow")
    slow.options = type(slow.options)(isolation="process", timeout=5.0)
    graph = Graph("timed", Work).chain(slow)
    graph.on_error(slow, caught, when=NodeTimedOut)
    result = run_virtual(graph.build().run(Work(place=str(tmp_path / "pids"))))
    assert result.state.report == "NodeTimedOut"
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


@pytest.mark.slow
def test_retries_and_edges_see_named_exceptions(tmp_path: Path) -> None:
    result = flow_of(stubborn).run_sync(Work(place=str(tmp_path / "tries")))
    assert result.state.square == 2

    graph = Graph("handled", Work).chain(fail)
    graph.on_error(fail, handle, when=Flaky)
    assert graph.build().run_sync(Work(n=2)).state.report == "Flaky: code 9: tired"


@pytest.mark.slow
def test_failed_run_shows_worker_traceback() -> None:
    with pytest.raises(RunFailed) as caught:
        flow_of(fail).run_sync(Work(n=1))
    error = caught.value.exceptions[0]
    assert isinstance(error, NodeError)
    assert error.__cause__ is not None
    assert "crunching.py" in error.__cause__.__notes__[0]
    assert children() == []


def run_script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder of its own, which sees this checkout."""
    (folder / "program.py").write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


SCRIPT = """
    from __future__ import annotations
    from pydantic import BaseModel
    from graphorch import Graph, node

    class Number(BaseModel): n: int = 0

    class Odd(Exception): ...

    @node(isolation="process")
    def halve(x: Number) -> Number:
        if x.n % 2:
            raise Odd(f"{x.n} is odd")
        return Number(n=x.n // 2)

    @node
    def repair(x: Number) -> Number:
        return Number(n=-1)

    graph = Graph("halves", Number).chain(halve)
    graph.on_error(halve, repair, when=Odd)
    flow = graph.build()
"""


@pytest.mark.slow
def test_main_module_is_loaded_from_file(tmp_path: Path) -> None:
    main = """
    if __name__ == '__main__':
        print([flow.run_sync(Number(n=n)).output.n for n in (8, 7)])
"""
    ran = run_script(SCRIPT + main, tmp_path)
    assert (ran.stdout, ran.stderr) == ("[4, -1]\n", "")


@pytest.mark.slow
def test_unguarded_program_does_not_recurse(
    tmp_path: Path,
) -> None:
    ran = run_script(SCRIPT + "\n    flow.run_sync(Number(n=8))\n", tmp_path)
    assert ran.returncode == 1
    assert "Put what runs flows under `if __name__ == '__main__':`" in ran.stderr


@pytest.mark.slow
def test_flow_file_of_command_line_runs(tmp_path: Path) -> None:
    file = tmp_path / "halves.py"
    file.write_text(textwrap.dedent(SCRIPT))
    flow = load_flow(str(file)).flow
    assert flow.run_sync(flow.plan.input(n=8)).output.n == 4  # type: ignore[call-arg]


@pytest.mark.slow
def test_busy_worker_ends_with_engine(tmp_path: Path) -> None:
    program = f"""
        from tests.engine.crunching import Place, Work, hang
        from graphorch import Graph
        Graph("g", Work).chain(hang).build().run_sync(Work(place={str(tmp_path / "pids")!r}))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    engine = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        pids = asyncio.run(read_when_there(tmp_path / "pids"))
    finally:
        engine.kill()
        engine.wait()
    assert all(gone(pid) for pid in pids)
